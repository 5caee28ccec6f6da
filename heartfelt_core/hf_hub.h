// SPDX-License-Identifier: MIT
// The core's C API: a hub of shards, each with its worker. This is all that the layer above includes.
//
// Objects (keys, extras) are opaque; the caller's functions retain, release, hash and compare them.
// Threads  With a GIL: functions that take or give objects are called by threads that hold it, which
//          serialises them. Parallel builds: any thread, any time. Without objects (stop, stats): any thread.
//          No function holds a lock while it calls `release`. Lock order: shards by index, then a ring.
// Blocking Nothing here waits for a reader or for the clock; cold functions wait for a shard's lock, which
//          is held for one bounded step at most. The inline beats take no lock.
#ifndef HF_HUB_H
#define HF_HUB_H

#include "hf_shard.h"
#include "hf_worker.h"

typedef struct {
  uint32_t n_shards;  // 1 to HF_SHARDS_MAX
  int64_t default_timeout_ns;
  bool disposable;
  uint32_t subscribed;  // bits of hf_event_type
  uint32_t to_callbacks;
  uint32_t ring_limit;
  hf_on_full on_full;
  hf_clock_kind clock_kind;
  hf_clock *manual_clock;        // with HF_CLOCK_MANUAL: outlives the hub; no worker is started
  hf_bell *bells[HF_N_STREAMS];  // outlive the hub
  hf_guard_kind guard;           // with a manual clock: none
  hf_bell *canary_bell;          // with HF_GUARD_GIL; outlives the hub
  hf_object_ops ops;
} hf_hub_config;

typedef struct {
  // const after create
  hf_shard_config config;
  hf_clock own_clock;
  const hf_clock *clock;
  uint32_t n_shards;  // 0: never opened
  hf_shard *shards;
  hf_worker *workers;
  void *allocation;
  // shared
  hf_atomic_i64 coarse_round_up_ns;  // 0: beats read the hub's own clock
  hf_atomic_u32 closed;              // no beats any more
  hf_atomic_u32 ended;               // and the workers are gone: no verdict will come any more
  char apart[HF_CACHE_LINE];         // beats read what is above; readers of events write below
  hf_streams streams;
  hf_guard guard;
  hf_lock close_lock;  // held by who ends the hub; taken with no other lock
} hf_hub;

typedef struct {
  uint32_t n_keys, n_lost, n_pending, n_dead;
  uint64_t n_wakeups;
  int64_t cpu_ns;
  hf_counters counters;
} hf_shard_stats;

typedef struct {
  uint32_t n_waiting[HF_N_STREAMS];
  uint64_t n_dropped, n_overflows;
  uint64_t n_stalls;
  int64_t stalled_ns;
} hf_stream_stats;

hf_status hf_hub_create(const hf_hub_config *config, hf_hub **hub);  // starts the workers
void hf_hub_close(hf_hub *hub);    // idempotent; waits for the workers, one step at most; on return it has ended
void hf_hub_destroy(hf_hub *hub);  // closes; releases every object; the last call

// In the child after a fork, whose only thread this is: the workers are not there, and any lock may be held by a thread
// that is not either. So the hub is closed and empty from now on, and what it held is left alone.
void hf_hub_abandon(hf_hub *hub);

// Cold beats. See hf_shard_touch. All return HF_CLOSED after close.
hf_status hf_hub_touch(hf_hub *hub, void *key, uint64_t hash, const hf_terms *terms, int mode, uint64_t *id);
hf_status hf_hub_touch_id(hf_hub *hub, uint64_t id, const hf_terms *terms, int mode);
hf_status hf_hub_remove(hf_hub *hub, const void *key, uint64_t hash);
// See hf_shard_restore: into a hub that nobody else beats yet.
hf_status hf_hub_restore(hf_hub *hub, void *key, uint64_t hash, const hf_past *past);

// These answer after close too.
hf_status hf_hub_get(hf_hub *hub, const void *key, uint64_t hash, hf_row *row);  // row may be NULL
// Watched keys, shard by shard: start with *cursor 0, it is 0 again at the end. Returns how many rows.
uint32_t hf_hub_list(hf_hub *hub, uint64_t *cursor, hf_row *rows, uint32_t max);
uint32_t hf_hub_count(hf_hub *hub);
void hf_hub_stats(hf_hub *hub, uint32_t shard, hf_shard_stats *stats);
void hf_hub_stream_stats(hf_hub *hub, hf_stream_stats *stats);

// Up to `max` events of the stream in the order in which they happened; their objects are the caller's. Works on
// a locked hub: keep `max` at a few hundred. When it has given the last one the bell is silent.
uint32_t hf_hub_drain(hf_hub *hub, hf_stream stream, hf_event *events, uint32_t max);
uint32_t hf_hub_waiting(hf_hub *hub, hf_stream stream);
// Closed, and nothing more will come than what waits now.
bool hf_hub_has_ended(const hf_hub *hub);
// More types are wanted, and all of `types` go to callbacks from now on.
void hf_hub_subscribe_callbacks(hf_hub *hub, uint32_t types);

// With HF_GUARD_GIL: what the canary does each time its bell rings, and at the latest after the ns that the last call
// returned. Negative: the hub has ended. One thread; takes the shards' locks, one after the other.
int64_t hf_hub_canary_beat(hf_hub *hub);

// Moves a manual clock and lets its hubs take every verdict on the way, each at its own deadline. One thread.
void hf_hub_advance(hf_hub *const *hubs, uint32_t n_hubs, hf_clock *clock, int64_t target_ns);

// NULL, or what is wrong. O(keys). For tests and debug builds.
const char *hf_hub_check(hf_hub *hub);

// A hub that was never opened: closed, empty, static.
extern hf_hub hf_hub_unopened;

// The hot beats. HF_OK, or HF_SLOW / HF_STALE_ID / HF_CLOSED: then call the cold function, which says what it is.
static inline int64_t hf_hub_now(const hf_hub *hub) { return hf_clock_now(hub->clock); }

// The time that a beat is given: never earlier than now. Where every timeout of the hub is so long that the steps of
// the coarse clock lie within what is promised of a verdict's promptness, that clock is read and rounded up.
static inline int64_t hf_hub_beat_time(const hf_hub *hub) {
  int64_t round_up_ns = HF_LOAD_RLX(&((hf_hub *)(uintptr_t)hub)->coarse_round_up_ns);
  return HF_LIKELY(round_up_ns != 0) ? hf_clock_coarse_ns() + round_up_ns : hf_clock_now(hub->clock);
}

static inline hf_shard *hf_hub_shard_of(const hf_hub *hub, uint64_t hash) {
  return HF_LIKELY(hub->n_shards == 1) ? hub->shards : &hub->shards[hf_hash_shard(hash, hub->n_shards)];
}

// `equal` is the hub's own, named here so that it can be compiled in.
static inline hf_status hf_hub_beat(hf_hub *hub, const void *key, uint64_t hash, hf_map_equal equal, int64_t now_ns) {
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  hf_shard *shard = hf_hub_shard_of(hub, hash);
  return hf_shard_beat(shard, key, hf_hash_tag(hash), equal, now_ns, hub->config.light);
}

// Whether a beat may follow a hint (hf_map.h): where look-ups hold the GIL, and no hash is needed to pick a shard.
static inline bool hf_hub_has_hints(const hf_hub *hub) { return !HF_PARALLEL && HF_LIKELY(hub->n_shards == 1); }

#if !HF_PARALLEL
// The slot that the hint for an object names; slot 0, which has no key, if there is none. Only if hf_hub_has_hints.
static inline hf_hot *hf_hub_hinted(const hf_hub *hub, const void *object) {
  const hf_shard *shard = hub->shards;
  return hf_slots_hot(&shard->slots, hf_map_hint(hf_map_get_table(&shard->map), object));
}

// An object other than the one that stands for its key has beaten slot i. The first time it gets a hint; some later
// time it stands for the key in place of the other, so that its beats find it by its hint. Not at once: two objects
// that beat by turns would change places each time.
#define HF_NOTICES_A_CHANGE 4u
static inline void hf_hub_notice(hf_hub *hub, void *key, uint32_t i) {
  hf_shard *shard = hub->shards;
  hf_map_table *table = hf_map_get_table(&shard->map);
  void *stands = hf_slots_key(&shard->slots, i);
  bool change = ++shard->n_noticed % HF_NOTICES_A_CHANGE == 0;
  if (hf_map_hint(table, key) != i) {
    hf_map_set_hint(table, key, i, change);
  } else if (change && stands != key) {
    hf_map_forget_hint(table, stands, i);
    hub->config.ops.retain(key);
    HF_STORE_REL(&hf_slots_hot(&shard->slots, i)->key, (uintptr_t)key);
    hub->config.ops.release(stands);
  }
}

// As hf_hub_beat, for an object whose hint did not lead to itself. `lasts`: more beats by it may come.
static inline hf_status hf_hub_beat_past_hint(hf_hub *hub, void *key, uint64_t hash, hf_map_equal equal, bool lasts,
                                              int64_t now_ns) {
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  hf_shard *shard = hub->shards;
  uint32_t i = hf_map_find(&shard->map, &shard->slots, key, hf_hash_tag(hash), equal);
  if (HF_UNLIKELY(i == HF_NO_SLOT)) return HF_SLOW;
  hf_status status = hf_hot_beat_alive(hf_slots_hot(&shard->slots, i), now_ns, hub->config.light);
  if (lasts && HF_LIKELY(status == HF_OK)) hf_hub_notice(hub, key, i);
  return status;
}
#endif

static inline hf_status hf_hub_beat_id(hf_hub *hub, uint64_t id, int64_t now_ns) {
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  if (HF_UNLIKELY(hf_id_shard(id) >= hub->n_shards)) return HF_STALE_ID;
  return hf_shard_beat_id(&hub->shards[hf_id_shard(id)], id, now_ns, hub->config.light);
}

// An id with its way to the slot behind it: the record, and the word that it has while the id is good. In a parallel
// build the id alone, since a handle may be set while another thread beats by it.
typedef struct {
#if HF_PARALLEL
  hf_atomic_u64 id;
#else
  hf_hot *hot;
  uint32_t expected;
#endif
} hf_handle;

// `id` was given by this hub; no memory behind it is ever given back while the hub lives.
static inline void hf_handle_set(hf_handle *handle, const hf_hub *hub, uint64_t id) {
#if HF_PARALLEL
  (void)hub;
  HF_STORE_RLX(&handle->id, id);
#else
  handle->hot = hf_slots_hot(&hub->shards[hf_id_shard(id)].slots, hf_id_slot(id));
  handle->expected = hf_word_make(hf_id_generation(id), HF_ALIVE);
#endif
}

static inline hf_status hf_hub_beat_handle(hf_hub *hub, hf_handle *handle, int64_t now_ns) {
#if HF_PARALLEL
  return hf_hub_beat_id(hub, HF_LOAD_RLX(&handle->id), now_ns);
#else
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  return hf_hot_beat_expected(handle->hot, handle->expected, now_ns, hub->config.light);
#endif
}

#endif
