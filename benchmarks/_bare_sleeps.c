// SPDX-License-Identifier: MIT
// The least that a thread can do to be on time: sleep until an instant, and look how late it is. lateness.py compares
// a hub with it. Linux.
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <time.h>

// instants_ns: of CLOCK_MONOTONIC, ascending. late_ns[i]: by how much the wake-up for instants_ns[i] was late.
void bare_sleeps(const int64_t *instants_ns, int64_t *late_ns, size_t n) {
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);  // as a hub's workers do
  for (size_t i = 0; i < n; i++) {
    struct timespec until = {.tv_sec = (time_t)(instants_ns[i] / 1000000000),
                             .tv_nsec = (long)(instants_ns[i] % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    late_ns[i] = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - instants_ns[i];
  }
}
