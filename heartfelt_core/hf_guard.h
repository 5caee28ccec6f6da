// SPDX-License-Identifier: MIT
// The stall guard of a hub: time in which the watcher, or Python, could not run does not count against a key.
//
// A worker that watches any key runs at least every hf_guard_tick, an eighth of the shortest timeout. If it comes later
// than planned by more than hf_guard_tolerance it was stopped, starved or suspended, and so, as far as it can know,
// were those it watches. It does not know when that began, only that it began after it last ran. That stretch is the
// stall (hf_stall.h). Every shard looks at what passed in it; then one note reports it.
//
// With HF_GUARD_GIL there is also a canary: a Python thread that beats here every tick. A worker takes a verdict only
// on deadlines that the canary has outlived, and asks it to beat when there are any. If the canary comes late it was
// starved, and that stretch is a stall for all shards.
//
// Threads: `lock` is taken under a shard's lock, and no lock is taken under it.
#ifndef HF_GUARD_H
#define HF_GUARD_H

#include "hf_bell.h"
#include "hf_clock.h"
#include "hf_event.h"
#include "hf_stall.h"
#include "hf_thread.h"

typedef enum { HF_GUARD_OFF = 0, HF_GUARD_ON, HF_GUARD_GIL, HF_N_GUARDS } hf_guard_kind;

// The report of a stall.
typedef struct {
  hf_stall stall;      // from when it last ran to when it ran again
  int64_t planned_ns;  // when it should have run
  uint64_t n_moved;    // deadlines that passed in it, and were moved
} hf_stall_note;

#define HF_STALL_NOTES 16u

typedef struct {
  hf_guard_kind kind;                   // const
  hf_bell *canary_bell;                 // const; outlives the hub
  hf_sleeper *sleepers[HF_SHARDS_MAX];  // const: the workers'; NULL: none
  hf_atomic_i64 canary_planned_ns;      // when the canary should beat again at the latest
  hf_atomic_i64 canary_ns;              // when the canary last beat
  hf_atomic_u64 armed;                  // bits of the shards that have something to watch
  hf_atomic_u32 looks_open;             // a stall is not reported yet: some shard has not looked at what passed in it
  hf_atomic_i64 shortest_ns;            // timeout of all shards
  // under lock
  hf_lock lock;
  hf_stall_note open;
  uint64_t not_looked;  // bits of shards
  uint32_t n_notes;
  hf_stall_note notes[HF_STALL_NOTES];  // not read yet, oldest first
  uint64_t n_stalls;
  int64_t stalled_ns;
} hf_guard;

// A share of the shortest timeout, within bounds.
static inline int64_t hf_guard_tick(int64_t shortest_ns) {
  return hf_max_i64(5 * HF_NS_PER_MS, hf_min_i64(shortest_ns / 8, 10 * HF_NS_PER_S));
}
static inline int64_t hf_guard_tolerance(int64_t shortest_ns) {
  return hf_max_i64(10 * HF_NS_PER_MS, hf_min_i64(shortest_ns / 16, HF_NS_PER_S));
}

hf_status hf_guard_init(hf_guard *guard, hf_guard_kind kind, hf_bell *canary_bell, int64_t now_ns);
void hf_guard_deinit(hf_guard *guard);

// Asks the canary to beat now, and sets the time after which it is late.
void hf_guard_hurry_canary(hf_guard *guard, int64_t planned_ns);

// Reports that a shard did not run. It will look at what passed in the stall, and so must all others.
void hf_guard_stalled(hf_guard *guard, uint32_t shard, hf_stall stall, int64_t planned_ns);
// Reports that the shard has nothing due now, and how many deadlines it has moved since its last report. True: the note
// of a stall is complete. `wanted`: somebody reads notes; otherwise they are only counted.
bool hf_guard_looked(hf_guard *guard, uint32_t shard, uint64_t n_moved, bool wanted);

// Reports that a shard has a key with this timeout. If it is the shortest so far, the canary must beat more often from
// now on.
static inline void hf_guard_notice_timeout(hf_guard *guard, int64_t timeout_ns, const hf_clock *clock) {
  int64_t shortest_ns = HF_LOAD_RLX(&guard->shortest_ns);
  while (timeout_ns < shortest_ns)
    if (HF_CAS_SC(&guard->shortest_ns, &shortest_ns, timeout_ns)) {
      if (guard->kind == HF_GUARD_GIL) hf_guard_hurry_canary(guard, hf_clock_now(clock) + hf_guard_tick(timeout_ns));
      return;
    }
}
static inline void hf_guard_arm(hf_guard *guard, uint32_t shard, bool armed) {
  uint64_t bit = UINT64_C(1) << shard, was = HF_LOAD_RLX(&guard->armed);
  if (((was & bit) != 0) == armed) return;
  while (!HF_CAS_SC(&guard->armed, &was, armed ? was | bit : was & ~bit)) {
  }
}

// The notes that wait: the time of the first (HF_NEVER: none waits), and taking it as an event without objects.
int64_t hf_guard_peek_ns(hf_guard *guard);
hf_event hf_guard_take(hf_guard *guard);
uint32_t hf_guard_count(hf_guard *guard);

#endif
