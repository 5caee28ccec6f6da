// SPDX-License-Identifier: MIT
// What a thread of ours is like, and what it leaves as its creator had it.
#include <signal.h>
#include <string.h>

#include "hf_test.h"
#include "hf_thread.h"

static void run(hf_thread *thread, void (*work)(void *), void *argument) {
  CHECK_EQ(hf_thread_start(thread, "test", work, argument), HF_OK);
  hf_thread_join(thread);
}

static void read_mask(void *mask) { pthread_sigmask(SIG_SETMASK, NULL, mask); }

static void signals_go_to_other_threads(void) {
  hf_thread thread;
  sigset_t before, after, inside;
  read_mask(&before);
  run(&thread, read_mask, &inside);
  read_mask(&after);
  CHECK(sigismember(&inside, SIGINT) == 1 && sigismember(&inside, SIGTERM) == 1 && sigismember(&inside, SIGCHLD) == 1);
  for (int n = 1; n < 32; n++) CHECK_EQ(sigismember(&after, n), sigismember(&before, n));
}

static void count_cpu(void *used_ns) {
  volatile uint64_t n = 0;
  int64_t from_ns = hf_thread_cpu_ns();
  while (hf_thread_cpu_ns() - from_ns < 2000000) n++;
  *(int64_t *)used_ns = hf_thread_cpu_ns();
}

static void cpu_time_is_the_thread_s_own(void) {
  hf_thread thread;
  int64_t inside_ns, before_ns = hf_thread_cpu_ns();
  run(&thread, count_cpu, &inside_ns);
  CHECK(inside_ns >= 2000000);
  CHECK(hf_thread_cpu_ns() - before_ns < inside_ns);
}

#if defined(__linux__)
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns, deadline_ns, period_ns;
} attributes;

typedef struct {
  attributes attributes;
  int slack_ns;
} scheduling;

static void read_scheduling(void *found) {
  scheduling *s = found;
  memset(s, 0, sizeof *s);
  CHECK_EQ(syscall(SYS_sched_getattr, 0, &s->attributes, (unsigned)sizeof s->attributes, 0u), 0);
  s->slack_ns = prctl(PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
}

static void it_is_served_soon_and_as_nice_as_its_creator(void) {
  hf_thread thread;
  scheduling before, after, inside;
  CHECK_EQ(setpriority(PRIO_PROCESS, 0, 3), 0);
  read_scheduling(&before);
  run(&thread, read_scheduling, &inside);
  read_scheduling(&after);
  CHECK_EQ(inside.attributes.policy, before.attributes.policy);
  CHECK_EQ(inside.attributes.flags, before.attributes.flags);
  CHECK_EQ(inside.attributes.nice, 3);
  CHECK_EQ(inside.slack_ns, 1);
  CHECK_EQ(memcmp(&after, &before, sizeof before), 0);
  // Kernels before 6.12 tell no slice, and have none to choose.
  if (before.attributes.policy == SCHED_OTHER && before.attributes.runtime_ns != 0)
    CHECK_EQ(inside.attributes.runtime_ns, 100000);
}
#endif

int main(void) {
  RUN(signals_go_to_other_threads);
  RUN(cpu_time_is_the_thread_s_own);
#if defined(__linux__)
  RUN(it_is_served_soon_and_as_nice_as_its_creator);
#endif
  return hf_test_end(__FILE__);
}
