// SPDX-License-Identifier: MIT
// The wait before the next attempt to connect: first_ns, twice that, and so on up to most_ns; each with jitter, so that
// the agents of a backend that was restarted do not return in step. Deterministic for a seed. One thread at a time.
#ifndef HF_BACKOFF_H
#define HF_BACKOFF_H

#include "hf_base.h"

typedef struct {
  int64_t first_ns, most_ns;
  int64_t base_ns;  // the present wait without its jitter; 0: none yet
  uint64_t random;  // xorshift64*, never 0
} hf_backoff;

static inline hf_backoff hf_backoff_from(int64_t first_ns, int64_t most_ns, uint64_t seed) {
  seed = (seed + UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
  seed ^= seed >> 31;
  return (hf_backoff){.first_ns = first_ns, .most_ns = most_ns, .random = seed | 1};
}

static inline void hf_backoff_reset(hf_backoff *backoff) { backoff->base_ns = 0; }

// The next wait: uniform between half of it and all of it.
static inline int64_t hf_backoff_next(hf_backoff *backoff) {
  int64_t twice = backoff->base_ns > backoff->most_ns / 2 ? backoff->most_ns : backoff->base_ns * 2;
  backoff->base_ns = backoff->base_ns == 0 ? hf_min_i64(backoff->first_ns, backoff->most_ns) : twice;
  backoff->random ^= backoff->random >> 12;
  backoff->random ^= backoff->random << 25;
  backoff->random ^= backoff->random >> 27;
  uint64_t drawn = backoff->random * UINT64_C(0x2545f4914f6cdd1d) >> 44;  // 20 bits
  int64_t half = backoff->base_ns / 2;
  return backoff->base_ns - half + (int64_t)((double)half * ((double)drawn / 1048575.0));
}

#endif
