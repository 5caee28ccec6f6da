// SPDX-License-Identifier: MIT
// The base of the core: status codes, limits, small helpers. Knows nothing of Python.
#ifndef HF_BASE_H
#define HF_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_NS_PER_S INT64_C(1000000000)
#define HF_NS_PER_MS INT64_C(1000000)
#define HF_NEVER INT64_MAX
#define HF_CACHE_LINE 64

// The longest timeout: 100 years. Twice that added to any clock still fits 64 bits of nanoseconds.
#define HF_TIMEOUT_MAX_NS (INT64_C(100) * 366 * 86400 * HF_NS_PER_S)
#define HF_SHARDS_MAX 64

// 1: callers are threads without a GIL, which may beat one hub at the same time; 0: a GIL serializes the callers of the
// functions that take objects. Set by whoever compiles, to the same value for all files, since layouts depend on it:
// setup.py takes it from the interpreter, and the core's own tests compile both. hf_pykey.h, which knows Python,
// refuses the wrong one.
#ifndef HF_PARALLEL
#define HF_PARALLEL 0
#endif

typedef enum {
  HF_OK = 0,
  HF_SLOW,  // a beat that the hot path cannot finish: call the cold function
  HF_NO_MEMORY,
  HF_CLOSED,       // the hub is closed
  HF_NOT_WATCHED,  // no such key, or it timed out
  HF_STALE_ID,     // the id's key was removed, or the number never was an id
  HF_NO_TIMEOUT,   // a key joins, and neither the call nor the hub gives it a timeout
  HF_FULL,         // a shard holds as many slots as it can number
  HF_NO_THREAD,    // the system gave no thread
  HF_N_STATUSES,   // how many there are
} hf_status;

#if defined(__GNUC__)
#define HF_LIKELY(x) __builtin_expect(!!(x), 1)
#define HF_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HF_PREFETCH(p) __builtin_prefetch((p), 1)
#define HF_NOINLINE __attribute__((noinline))
#define HF_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define HF_LIKELY(x) (x)
#define HF_UNLIKELY(x) (x)
#define HF_PREFETCH(p) ((void)(p))
#define HF_NOINLINE
#define HF_ALWAYS_INLINE inline
#endif

static inline uintptr_t hf_align_to_line(const void *p) {
  return ((uintptr_t)p + HF_CACHE_LINE - 1) & ~(uintptr_t)(HF_CACHE_LINE - 1);
}

// The number of the lowest bit that is set; at least one must be.
static inline int hf_lowest_bit(uint64_t bits) {
#if defined(__GNUC__)
  return __builtin_ctzll(bits);
#else
  int n = 0;
  while (!(bits & 1)) {
    bits >>= 1;
    n++;
  }
  return n;
#endif
}

static inline int64_t hf_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t hf_max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
