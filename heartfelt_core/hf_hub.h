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
  hf_streams streams;
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

static inline hf_status hf_hub_beat(hf_hub *hub, const void *key, uint64_t hash, int64_t now_ns) {
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  hf_shard *shard = &hub->shards[hf_hash_shard(hash, hub->n_shards)];
  return hf_shard_beat(shard, key, hf_hash_tag(hash), now_ns, hub->config.light);
}

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

// Beats a group of keys, their cache misses side by side: first all places in the maps, then all slots, then all beats.
// Returns a bit for each key that is for the cold function; a NULL key is one.
#define HF_BEAT_GROUP 32u
static inline uint64_t hf_hub_beat_group(hf_hub *hub, const void *const *keys, const uint64_t *hashes, uint32_t n,
                                         int64_t now_ns) {
#if HF_PARALLEL
  uint64_t cold = 0;
  for (uint32_t k = 0; k < n; k++)
    if (!keys[k] || hf_hub_beat(hub, keys[k], hashes[k], now_ns) != HF_OK) cold |= UINT64_C(1) << k;
  return cold;
#else
  const hf_map_entry *lines[HF_BEAT_GROUP];
  uint32_t slots[HF_BEAT_GROUP];
  uint64_t cold = 0;
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return ~UINT64_C(0) >> (64 - n);
  for (uint32_t k = 0; k < n; k++) {
    const hf_map_table *table = hf_map_get_table(&hub->shards[hf_hash_shard(hashes[k], hub->n_shards)].map);
    lines[k] = &table->entries[hf_map_home(hf_hash_tag(hashes[k]), table->capacity) & ~(HF_MAP_LINE - 1)];
    HF_PREFETCH(lines[k]);
  }
  for (uint32_t k = 0; k < n; k++) {
    hf_shard *shard = &hub->shards[hf_hash_shard(hashes[k], hub->n_shards)];
    int in_line = hf_map_in_line(lines[k], keys[k] ? keys[k] : hub);  // no key is the hub
    if (HF_LIKELY(in_line >= 0))
      slots[k] = (uint32_t)HF_LOAD_RLX(&((hf_map_entry *)(uintptr_t)lines[k])[in_line].meta);
    else
      slots[k] = keys[k] ? hf_map_find(&shard->map, keys[k], hf_hash_tag(hashes[k]), shard->config->ops.equal) : 0;
    if (HF_UNLIKELY(slots[k] == HF_NO_SLOT)) continue;
    HF_PREFETCH(hf_slots_hot(&shard->slots, slots[k]));
  }
  for (uint32_t k = 0; k < n; k++) {
    hf_shard *shard = &hub->shards[hf_hash_shard(hashes[k], hub->n_shards)];
    hf_hot *hot = hf_slots_hot(&shard->slots, slots[k]);
    bool done = slots[k] != HF_NO_SLOT;
    if (HF_LIKELY(done)) {
      uint32_t word = hf_hot_beat(hot, now_ns, hub->config.light);
      done = hf_word_state(word) == HF_ALIVE || hf_hot_undoom(hot, word) == HF_OK;
    }
    cold |= (uint64_t)!done << k;
  }
  return cold;
#endif
}

// Asks for the cache lines of ids that will be beaten soon.
static inline void hf_hub_prefetch_ids(const hf_hub *hub, const int64_t *ids, size_t from, size_t end) {
  for (; from < end; from++) {
    uint64_t id = (uint64_t)ids[from];
    if (hf_id_shard(id) >= hub->n_shards) continue;
    const hf_slots *slots = &hub->shards[hf_id_shard(id)].slots;
    if (hf_id_slot(id) >= HF_LOAD_RLX(&((hf_slots *)(uintptr_t)slots)->n_slots)) continue;
    HF_PREFETCH(hf_slots_hot(slots, hf_id_slot(id)));
  }
}

// Beats ids from `from` on, and stops at the first that is for the cold function. Returns its index, n at the end.
static inline size_t hf_hub_beat_ids(hf_hub *hub, const int64_t *ids, size_t from, size_t n) {
  while (from < n) {
    int64_t now_ns = hf_hub_beat_time(hub);  // looked at again with each group
    size_t end = n - from > HF_BEAT_GROUP ? from + HF_BEAT_GROUP : n;
    hf_hub_prefetch_ids(hub, ids, from, end);
    for (; from < end; from++)
      if (HF_UNLIKELY(hf_hub_beat_id(hub, (uint64_t)ids[from], now_ns) != HF_OK)) return from;
  }
  return n;
}

#endif
