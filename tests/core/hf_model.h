// SPDX-License-Identifier: MIT
// What a shard should do, as a plain table: the simulator's other side. Every call is O(keys), and obvious.
#ifndef HF_MODEL_H
#define HF_MODEL_H

#include "hf_test.h"

enum { MODEL_KEYS = 120, MODEL_EVENTS = 4096, MODEL_STALLS = HF_STALLS_MAX };

typedef struct {
  bool waits, disposable;
  uint32_t missed;
  int64_t join_ns, beat_ns, timeout_ns, deadline_ns, event_ns;
  hf_object *extra;  // not owned here: all extras live until the end of the run
} model_verdict;

typedef struct {
  bool watched, lost, pinned, has_slot, disposable;
  uint32_t missed, merged;  // timeouts since the last beat; of an earlier life, unread with them
  int64_t timeout_ns, beat_ns, join_ns, floor_ns;
  hf_object *extra;
  model_verdict verdict;
  uint64_t id, stale_id;  // 0: not known
} model_key;

typedef struct {
  hf_event_type type;
  uint32_t key, missed;
  hf_object *extra;
  int64_t timeout_ns, join_ns, beat_ns, event_ns;
} model_event;

typedef struct {
  int64_t stall_start_ns[MODEL_STALLS], stall_end_ns[MODEL_STALLS];
  uint32_t n_stalls;
  model_key keys[MODEL_KEYS];
  int64_t default_timeout_ns;
  bool disposable, loud;
  uint64_t n_verdicts, n_joins, n_recoveries, n_removals;
  model_event events[MODEL_EVENTS];
  uint32_t n_events;
} model;

// Time in a stall does not count, but no deadline moves farther than one timeout after the stall's end.
static inline int64_t model_deadline(const model *m, const model_key *key) {
  int64_t deadline_ns = hf_max_i64(key->beat_ns + key->timeout_ns, key->floor_ns);
  for (uint32_t n = 0; n < m->n_stalls; n++) {
    int64_t moved_ns = deadline_ns + m->stall_end_ns[n] - m->stall_start_ns[n];
    int64_t latest_ns = m->stall_end_ns[n] + key->timeout_ns;
    if (deadline_ns < latest_ns) deadline_ns = hf_min_i64(moved_ns, latest_ns);
  }
  return deadline_ns;
}

static inline void model_tell(model *m, hf_event_type type, uint32_t k, int64_t now_ns) {
  const model_key *key = &m->keys[k];
  if (type == HF_HEART_BEAT && !m->loud) return;
  m->events[m->n_events++] = (model_event){.type = type,
                                           .key = k,
                                           .missed = key->lost ? key->missed : 0,
                                           .extra = key->extra,
                                           .timeout_ns = key->timeout_ns,
                                           .join_ns = key->join_ns,
                                           .beat_ns = key->beat_ns,
                                           .event_ns = now_ns};
}

static inline void model_apply(model_key *key, const hf_terms *terms) {
  if (terms->timeout_ns) key->timeout_ns = terms->timeout_ns;
  if (terms->disposable >= 0) key->disposable = terms->disposable != 0;
  if (terms->has_extra) key->extra = terms->extra;
}

static inline hf_status model_touch(model *m, uint32_t k, const hf_terms *terms, int mode, int64_t now_ns) {
  model_key *key = &m->keys[k];
  if (!key->watched) {
    bool own = (mode & HF_TOUCH_OWN_TERMS) && key->has_slot;
    int64_t timeout_ns = own ? key->timeout_ns : m->default_timeout_ns;
    if (!terms->timeout_ns && !timeout_ns) return HF_NO_TIMEOUT;
    key->timeout_ns = timeout_ns;
    if (!own) key->disposable = m->disposable;
    key->extra = NULL;
    model_apply(key, terms);
    key->watched = key->has_slot = true;
    key->lost = false;
    key->missed = key->merged = 0;
    key->join_ns = key->beat_ns = now_ns;
    key->floor_ns = 0;
    m->n_joins++;
    model_tell(m, HF_JOIN, k, now_ns);
    model_tell(m, HF_HEART_BEAT, k, now_ns);
  } else if (mode & HF_TOUCH_BEAT) {
    if (!(mode & HF_TOUCH_TERMS_TO_JOIN)) model_apply(key, terms);
    key->beat_ns = now_ns;
    key->floor_ns = 0;
    if (key->lost) {
      model_tell(m, HF_RECOVER, k, now_ns);
      m->n_recoveries++;
      key->lost = false;
    }
    key->missed = key->merged = 0;
    model_tell(m, HF_HEART_BEAT, k, now_ns);
  }
  if (mode & HF_TOUCH_PIN) key->pinned = true;
  return HF_OK;
}

// The slot is no key's any more, or a new generation's: its id is stale.
static inline void model_end_id(model_key *key, bool slot_stays) {
  if (key->id) key->stale_id = key->id;
  key->id = 0;
  key->pinned = false;
  key->has_slot = slot_stays;
}

static inline hf_status model_remove(model *m, uint32_t k, int64_t now_ns) {
  model_key *key = &m->keys[k];
  bool watched = key->watched;
  if (!key->has_slot) return HF_NOT_WATCHED;
  if (watched) {
    model_tell(m, HF_REMOVE_KEY, k, now_ns);
    m->n_removals++;
  }
  key->watched = key->lost = false;
  model_end_id(key, key->verdict.waits);
  return watched ? HF_OK : HF_NOT_WATCHED;
}

// The worker looks at now_ns.
static inline void model_step(model *m, int64_t now_ns) {
  for (uint32_t k = 0; k < MODEL_KEYS; k++) {
    model_key *key = &m->keys[k];
    int64_t deadline_ns = model_deadline(m, key);
    if (!key->watched || deadline_ns > now_ns) continue;
    if (key->verdict.waits && !key->lost) key->merged = key->verdict.missed;  // an earlier life's
    for (uint32_t n = 0; n == 0 || (!key->disposable && deadline_ns + key->timeout_ns <= now_ns); n++) {
      if (n) deadline_ns += key->timeout_ns;
      key->missed++;
      m->n_verdicts++;
    }
    if (key->disposable) {
      key->watched = false;
    } else {
      key->lost = true;
      key->floor_ns = deadline_ns + key->timeout_ns;
    }
    key->verdict = (model_verdict){.waits = true,
                                   .disposable = key->disposable,
                                   .missed = key->missed + key->merged,
                                   .join_ns = key->join_ns,
                                   .beat_ns = key->beat_ns,
                                   .timeout_ns = key->timeout_ns,
                                   .deadline_ns = deadline_ns,
                                   .event_ns = now_ns,
                                   .extra = key->extra};
  }
}

// The worker looks at each deadline, on time.
static inline void model_advance(model *m, int64_t now_ns, int64_t target_ns) {
  for (;;) {
    int64_t next_ns = HF_NEVER;
    for (uint32_t k = 0; k < MODEL_KEYS; k++)
      if (m->keys[k].watched) next_ns = hf_min_i64(next_ns, model_deadline(m, &m->keys[k]));
    if (next_ns > target_ns) return;
    model_step(m, hf_max_i64(next_ns, now_ns));
  }
}

// k's verdict was read.
static inline void model_read(model *m, uint32_t k) {
  model_key *key = &m->keys[k];
  key->verdict.waits = false;
  key->merged = 0;
  if (!key->watched && !key->pinned) model_end_id(key, false);
}

static inline bool model_stands_first(const model *m, uint32_t k) {
  const model_verdict *verdict = &m->keys[k].verdict;
  for (uint32_t other = 0; other < MODEL_KEYS; other++) {
    const model_verdict *o = &m->keys[other].verdict;
    if (!o->waits) continue;
    if (o->event_ns < verdict->event_ns) return false;
    if (o->event_ns == verdict->event_ns && o->deadline_ns < verdict->deadline_ns) return false;
  }
  return verdict->waits;
}

#endif
