// SPDX-License-Identifier: MIT
// The core's C API: a hub of shards, each with its worker. The layer above includes this header and hf_beat.h, and no
// other.
//
// Objects  Keys and extras are opaque; the caller's functions retain, release, hash and compare them.
// Threads  With a GIL: functions that take or give objects are called by threads that hold it, which serializes them.
//          Parallel builds: any thread, any time. Functions without objects (stop, stats): any thread. No function
//          holds a lock while it calls `release`. Lock order: shards by index, then a ring.
// Blocking Nothing here waits for a reader or for the clock. Cold functions wait for a shard's lock, which is held for
//          one bounded step at most. The hot beats (hf_beat.h) take no lock.
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
  hf_atomic_u32 closed;              // beats are refused
  hf_atomic_u32 ended;               // the workers are gone, too: no further verdict will come
  char apart[HF_CACHE_LINE];         // beats read what is above; readers of events write below
  hf_streams streams;
  hf_guard guard;
  hf_lock close_lock;  // held while the hub ends; taken with no other lock
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
void hf_hub_close(hf_hub *hub);    // idempotent; waits for the workers, one step at most; on return the hub has ended
void hf_hub_destroy(hf_hub *hub);  // closes; releases every object; the last call

// In the child after a fork, whose only thread this is: the workers do not exist, and any lock may be held by a thread
// that does not exist either. So the hub is closed and empty from now on, and the memory that it held is left alone.
void hf_hub_abandon(hf_hub *hub);

// Cold beats. See hf_shard_touch. All return HF_CLOSED after close.
hf_status hf_hub_touch(hf_hub *hub, void *key, uint64_t hash, const hf_terms *terms, int mode, uint64_t *id);
hf_status hf_hub_touch_id(hf_hub *hub, uint64_t id, const hf_terms *terms, int mode);
hf_status hf_hub_remove(hf_hub *hub, const void *key, uint64_t hash);
// See hf_shard_restore. No other thread may beat this hub yet.
hf_status hf_hub_restore(hf_hub *hub, void *key, uint64_t hash, const hf_past *past);

// These work after close, too.
hf_status hf_hub_get(hf_hub *hub, const void *key, uint64_t hash, hf_row *row);  // row may be NULL
// Lists watched keys, shard by shard: start with *cursor 0; it is 0 again at the end. Returns the number of rows.
uint32_t hf_hub_list(hf_hub *hub, uint64_t *cursor, hf_row *rows, uint32_t max);
uint32_t hf_hub_count(hf_hub *hub);
void hf_hub_stats(hf_hub *hub, uint32_t shard, hf_shard_stats *stats);
void hf_hub_stream_stats(hf_hub *hub, hf_stream_stats *stats);

// Takes up to `max` events of the stream, in the order in which they happened; their objects are then the caller's.
// Locks the whole hub: keep `max` at a few hundred. After the last event the bell is silent.
uint32_t hf_hub_drain(hf_hub *hub, hf_stream stream, hf_event *events, uint32_t max);
uint32_t hf_hub_waiting(hf_hub *hub, hf_stream stream);
// Whether the hub is closed, and no event will be added to those that wait now.
bool hf_hub_has_ended(const hf_hub *hub);
// Subscribes to `types`, and sends all of them to callbacks from now on.
void hf_hub_subscribe_callbacks(hf_hub *hub, uint32_t types);

// The beat of the canary, with HF_GUARD_GIL: call it each time the canary's bell rings, and at the latest after as many
// ns as the last call returned. Negative: the hub has ended. For one thread; takes the shards' locks, one after the
// other.
int64_t hf_hub_canary_beat(hf_hub *hub);

// Moves a manual clock, and takes every verdict of its hubs on the way, each at its own deadline. For one thread.
void hf_hub_advance(hf_hub *const *hubs, uint32_t n_hubs, hf_clock *clock, int64_t target_ns);

// NULL, or the name of the first broken invariant. O(keys). For tests and debug builds.
const char *hf_hub_check(hf_hub *hub);

// The hub that was never opened: closed, empty, static.
extern hf_hub hf_hub_unopened;

#endif
