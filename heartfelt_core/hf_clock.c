// SPDX-License-Identifier: MIT
#include "hf_clock.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

int64_t hf_clock_system_ns(hf_clock_kind kind) {
  (void)kind;  // the performance counter counts suspend, as does every cheap clock of Windows
  LARGE_INTEGER ticks, frequency;
  QueryPerformanceFrequency(&frequency);
  QueryPerformanceCounter(&ticks);
  int64_t seconds = ticks.QuadPart / frequency.QuadPart;
  int64_t rest = ticks.QuadPart % frequency.QuadPart;
  return seconds * HF_NS_PER_S + rest * HF_NS_PER_S / frequency.QuadPart;
}

int64_t hf_clock_wall_ns(void) {
  FILETIME ft;
  GetSystemTimePreciseAsFileTime(&ft);
  int64_t hundred_ns = ((int64_t)ft.dwHighDateTime << 32) | (int64_t)ft.dwLowDateTime;
  return (hundred_ns - INT64_C(116444736000000000)) * 100;
}
#else
int64_t hf_clock_wall_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return (int64_t)ts.tv_sec * HF_NS_PER_S + (int64_t)ts.tv_nsec;
}
#endif

int64_t hf_clock_coarse_step_ns(void) {
#if defined(__linux__)
  struct timespec ts;
  if (clock_getres(CLOCK_MONOTONIC_COARSE, &ts) == 0) return (int64_t)ts.tv_sec * HF_NS_PER_S + (int64_t)ts.tv_nsec;
#endif
  return 0;
}

int64_t hf_clock_wall_offset_ns(const hf_clock *clock) {
  if (clock->kind == HF_CLOCK_MANUAL) return 0;
  int64_t best_gap = HF_NEVER, offset = 0;
  for (int i = 0; i < 3; i++) {
    int64_t before = hf_clock_now(clock);
    int64_t wall = hf_clock_wall_ns();
    int64_t after = hf_clock_now(clock);
    if (after - before < best_gap) {
      best_gap = after - before;
      offset = wall - (before + best_gap / 2);
    }
  }
  return offset;
}
