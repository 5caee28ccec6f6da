// SPDX-License-Identifier: MIT
// Stalls: stretches of time in which the watcher, or the keys that it watches, could not run. Time in a stall does not
// count against a key: its last beat is taken to be that much later, but no later than the stall's end.
//
// So a deadline moves by the stall's length at most, and a dead key is found one timeout after the stall's end at the
// latest. Nothing is written to any slot: a deadline is computed again when it seems to have passed. (Eureka calls this
// compensation time.)
// Threads: under the shard's lock.
#ifndef HF_STALL_H
#define HF_STALL_H

#include "hf_base.h"

typedef struct {
  int64_t start_ns, end_ns;
} hf_stall;

#define HF_STALLS_MAX 16u

typedef struct {
  uint32_t n;
  hf_stall stalls[HF_STALLS_MAX];  // oldest first; they do not overlap
} hf_stalls;

// Adds a stall: from now on deadlines are moved by it as well. One that overlaps the last one extends that one. If
// there are too many, the two oldest become one, which moves a deadline at least as far as both.
static inline void hf_stalls_add(hf_stalls *stalls, hf_stall stall) {
  if (stalls->n && stall.start_ns <= stalls->stalls[stalls->n - 1].end_ns) {
    hf_stall *last = &stalls->stalls[stalls->n - 1];
    last->start_ns = hf_min_i64(last->start_ns, stall.start_ns);
    last->end_ns = hf_max_i64(last->end_ns, stall.end_ns);
    return;
  }
  if (stalls->n == HF_STALLS_MAX) {
    hf_stall *two = stalls->stalls;
    two[1].start_ns -= two[0].end_ns - two[0].start_ns;
    for (uint32_t n = 1; n < HF_STALLS_MAX; n++) stalls->stalls[n - 1] = stalls->stalls[n];
    stalls->n--;
  }
  stalls->stalls[stalls->n++] = stall;
}

static inline int64_t hf_stalls_end(const hf_stalls *stalls) {
  return stalls->n ? stalls->stalls[stalls->n - 1].end_ns : INT64_MIN;
}

// A beat time as it counts, moved by the n oldest stalls only.
static inline int64_t hf_stalls_move_by(const hf_stalls *stalls, uint32_t n_oldest, int64_t beat_ns) {
  for (uint32_t n = 0; n < n_oldest; n++) {
    hf_stall stall = stalls->stalls[n];
    if (beat_ns < stall.end_ns) beat_ns = hf_min_i64(beat_ns + stall.end_ns - stall.start_ns, stall.end_ns);
  }
  return beat_ns;
}

static inline int64_t hf_stalls_move(const hf_stalls *stalls, int64_t beat_ns) {
  return hf_stalls_move_by(stalls, stalls->n, beat_ns);
}

#endif
