// SPDX-License-Identifier: MIT
#include "hf_guard.h"

#include <string.h>

hf_status hf_guard_init(hf_guard *guard, hf_guard_kind kind, hf_bell *canary_bell, int64_t now_ns) {
  memset(guard, 0, sizeof *guard);
  guard->kind = kind;
  guard->canary_bell = canary_bell;
  HF_STORE_RLX(&guard->canary_ns, now_ns);
  HF_STORE_RLX(&guard->canary_planned_ns, HF_NEVER);
  HF_STORE_RLX(&guard->shortest_ns, HF_NEVER);
  return hf_lock_init(&guard->lock);
}

void hf_guard_deinit(hf_guard *guard) { hf_lock_deinit(&guard->lock); }

void hf_guard_hurry_canary(hf_guard *guard, int64_t planned_ns) {
  int64_t before_ns = HF_LOAD_RLX(&guard->canary_planned_ns);
  while (planned_ns < before_ns && !HF_CAS_SC(&guard->canary_planned_ns, &before_ns, planned_ns)) {
  }
  hf_bell_ring(guard->canary_bell);
}

void hf_guard_stalled(hf_guard *guard, uint32_t shard, hf_stall stall, int64_t planned_ns) {
  hf_lock_acquire(&guard->lock);
  if (HF_LOAD_RLX(&guard->looks_open)) {  // the same one, seen by another; or the next, before all have looked
    guard->open.stall.start_ns = hf_min_i64(guard->open.stall.start_ns, stall.start_ns);
    guard->open.stall.end_ns = hf_max_i64(guard->open.stall.end_ns, stall.end_ns);
    guard->open.planned_ns = hf_min_i64(guard->open.planned_ns, planned_ns);
  } else {
    guard->open = (hf_stall_note){.stall = stall, .planned_ns = planned_ns};
  }
  guard->not_looked = HF_LOAD_SC(&guard->armed) | UINT64_C(1) << shard;
  HF_STORE_SC(&guard->looks_open, 1u);
  hf_lock_release(&guard->lock);
  for (uint32_t s = 0; s < HF_SHARDS_MAX; s++)
    if (s != shard && guard->sleepers[s]) hf_sleeper_wake(guard->sleepers[s]);
}

// Under lock. If there is no room the note is merged into the last one.
static void tell(hf_guard *guard, hf_stall_note note) {
  if (guard->n_notes < HF_STALL_NOTES) {
    guard->notes[guard->n_notes++] = note;
    return;
  }
  hf_stall_note *last = &guard->notes[HF_STALL_NOTES - 1];
  int64_t length_ns = last->stall.end_ns - last->stall.start_ns;
  note.n_moved += last->n_moved;
  note.stall.start_ns -= length_ns;
  *last = note;
}

bool hf_guard_looked(hf_guard *guard, uint32_t shard, uint64_t n_moved, bool wanted) {
  hf_lock_acquire(&guard->lock);
  bool complete = false;
  if (HF_LOAD_RLX(&guard->looks_open)) {
    guard->open.n_moved += n_moved;
    // A shard that watches nothing any more will not look.
    guard->not_looked &= HF_LOAD_SC(&guard->armed) & ~(UINT64_C(1) << shard);
    complete = guard->not_looked == 0;
  }
  if (complete) {
    HF_STORE_SC(&guard->looks_open, 0u);
    guard->n_stalls++;
    guard->stalled_ns += guard->open.stall.end_ns - guard->open.stall.start_ns;
    if (wanted) tell(guard, guard->open);
  }
  hf_lock_release(&guard->lock);
  return complete;
}

int64_t hf_guard_peek_ns(hf_guard *guard) {
  hf_lock_acquire(&guard->lock);
  int64_t next_ns = guard->n_notes ? guard->notes[0].stall.end_ns : HF_NEVER;
  hf_lock_release(&guard->lock);
  return next_ns;
}

hf_event hf_guard_take(hf_guard *guard) {
  hf_lock_acquire(&guard->lock);
  hf_stall_note note = guard->notes[0];
  guard->n_notes--;
  memmove(&guard->notes[0], &guard->notes[1], guard->n_notes * sizeof note);
  hf_lock_release(&guard->lock);
  return (hf_event){.type = HF_STALL,
                    .missed = (uint32_t)(note.n_moved < UINT32_MAX ? note.n_moved : UINT32_MAX),
                    .timeout_ns = note.stall.end_ns - note.stall.start_ns,
                    .join_ns = note.stall.start_ns,
                    .beat_ns = note.stall.start_ns,
                    .deadline_ns = note.planned_ns,
                    .event_ns = note.stall.end_ns};
}

uint32_t hf_guard_count(hf_guard *guard) {
  hf_lock_acquire(&guard->lock);
  uint32_t n = guard->n_notes;
  hf_lock_release(&guard->lock);
  return n;
}
