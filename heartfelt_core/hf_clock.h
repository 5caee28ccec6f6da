// SPDX-License-Identifier: MIT
// Clocks in nanoseconds. A hub reads one of them; a manual clock moves only by hf_clock_set.
// Any thread may read any clock. hf_clock_set is for the one thread that drives a manual clock.
#ifndef HF_CLOCK_H
#define HF_CLOCK_H

#include "hf_atomic.h"
#include "hf_base.h"

#if !defined(_WIN32)
#include <time.h>
#endif

typedef enum {
  HF_CLOCK_MONOTONIC = 0,  // stands still while the machine is suspended (not on Windows)
  HF_CLOCK_BOOTTIME,       // counts suspend
  HF_CLOCK_MANUAL,
} hf_clock_kind;

typedef struct {
  hf_clock_kind kind;
  hf_atomic_i64 manual_ns;
} hf_clock;

#if defined(__APPLE__)
#define HF_CLOCKID_MONOTONIC CLOCK_UPTIME_RAW
#define HF_CLOCKID_BOOTTIME CLOCK_MONOTONIC_RAW
#elif defined(__linux__)
#define HF_CLOCKID_MONOTONIC CLOCK_MONOTONIC
#define HF_CLOCKID_BOOTTIME CLOCK_BOOTTIME
#elif !defined(_WIN32)
#define HF_CLOCKID_MONOTONIC CLOCK_MONOTONIC
#define HF_CLOCKID_BOOTTIME CLOCK_MONOTONIC
#endif

#if defined(_WIN32)
int64_t hf_clock_system_ns(hf_clock_kind kind);
#else
static inline int64_t hf_clock_system_ns(hf_clock_kind kind) {
  struct timespec ts;
  clock_gettime(kind == HF_CLOCK_BOOTTIME ? HF_CLOCKID_BOOTTIME : HF_CLOCKID_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * HF_NS_PER_S + (int64_t)ts.tv_nsec;
}
#endif

static inline int64_t hf_clock_now(const hf_clock *clock) {
  if (HF_UNLIKELY(clock->kind == HF_CLOCK_MANUAL))
    return HF_LOAD_ACQ(&((hf_clock *)(uintptr_t)clock)->manual_ns);  // partner: hf_clock_set
  return hf_clock_system_ns(clock->kind);
}

static inline void hf_clock_set(hf_clock *clock, int64_t now_ns) { HF_STORE_REL(&clock->manual_ns, now_ns); }

// The monotonic clock as of the last tick of the kernel: a few ns to read. It lags by up to two steps.
// hf_clock_coarse_step_ns returns the length of a step, 0 where the system has no such clock.
#if defined(__linux__)
static inline int64_t hf_clock_coarse_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
  return (int64_t)ts.tv_sec * HF_NS_PER_S + (int64_t)ts.tv_nsec;
}
#else
static inline int64_t hf_clock_coarse_ns(void) { return hf_clock_system_ns(HF_CLOCK_MONOTONIC); }
#endif
int64_t hf_clock_coarse_step_ns(void);

// Wall clock, ns since the epoch.
int64_t hf_clock_wall_ns(void);
// The difference to add to a time of `clock` to get ns since the epoch: 0 for a manual clock, whose times are taken as
// they are. Reads wall and clock as a pair: the clock before and after the wall, the closest of a few tries.
int64_t hf_clock_wall_offset_ns(const hf_clock *clock);

#endif
