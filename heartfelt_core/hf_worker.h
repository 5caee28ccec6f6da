// SPDX-License-Identifier: MIT
// A worker: one native thread around one shard. It sleeps until the shard's next block may be due, or until someone
// files an earlier one; with nothing watched it sleeps until it is woken. It never touches a key or extra, so it needs
// no lock of the language above. While it watches any key it also makes sure to run every tick of the hub's guard
// (hf_guard.h).
// Threads: start, stop and join by the hub's owner, once each; notice by the holder of the shard's lock.
#ifndef HF_WORKER_H
#define HF_WORKER_H

#include "hf_guard.h"
#include "hf_shard.h"
#include "hf_thread.h"

// A wake-up also visits what will be due within this time, so that a million keys cost hundreds of wake-ups a second
// rather than tens of thousands. A key that really dies in between is visited again, on time.
#define HF_WORKER_AHEAD_NS (2 * HF_NS_PER_MS)

typedef struct {
  hf_shard *shard;  // const
  hf_guard *guard;  // const
  hf_thread thread;
  hf_sleeper sleeper;
  bool started;
  // the thread's own
  int64_t ran_ns;         // when it last ran
  int64_t planned_ns;     // when it should run again at the latest
  uint64_t n_moved_told;  // moved deadlines that were reported to the guard
  // under the shard's lock
  bool stopping;
  bool asks_canary;
  int64_t sleeps_until_ns;  // INT64_MIN while it is awake
  uint64_t n_wakeups;
  int64_t cpu_ns;  // as of its last sleep
} hf_worker;

hf_status hf_worker_init(hf_worker *worker, hf_shard *shard, hf_guard *guard);
hf_status hf_worker_start(hf_worker *worker);
void hf_worker_stop(hf_worker *worker);  // asks; takes the shard's lock
void hf_worker_join(hf_worker *worker);  // waits for at most one step; after stop
void hf_worker_deinit(hf_worker *worker);

// Files a stall in which Python was starved; call before the canary's beat is reported. And: reports that the canary
// has beaten. Each takes the shard's lock.
void hf_worker_starved(hf_worker *worker, hf_stall stall, int64_t planned_ns);
void hf_worker_hear_canary(hf_worker *worker);

// Wakes the worker if the shard's next block is due earlier than the worker knows. Under the shard's lock.
static inline void hf_worker_notice(hf_worker *worker) {
  int64_t next_ns = hf_heap_min(&worker->shard->heap);
  if (next_ns >= worker->sleeps_until_ns) return;
  worker->sleeps_until_ns = next_ns;
  hf_sleeper_wake(&worker->sleeper);
}

#endif
