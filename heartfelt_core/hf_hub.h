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

#endif
