// SPDX-License-Identifier: MIT
#include "hf_thread.h"

#if defined(_WIN32)

hf_status hf_lock_init(hf_lock *lock) {
  InitializeSRWLock(&lock->raw);
  HF_STORE_RLX(&lock->n_waiting, 0);
  return HF_OK;
}
void hf_lock_deinit(hf_lock *lock) { (void)lock; }
static bool raw_try(hf_lock *lock) { return TryAcquireSRWLockExclusive(&lock->raw) != 0; }
static void raw_acquire(hf_lock *lock) { AcquireSRWLockExclusive(&lock->raw); }
static void raw_release(hf_lock *lock) { ReleaseSRWLockExclusive(&lock->raw); }
static void yield_now(void) { SwitchToThread(); }

#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 0x00000002
#endif

hf_status hf_sleeper_init(hf_sleeper *sleeper, hf_clock_kind clock) {
  sleeper->clock = clock;
  sleeper->event = CreateEventW(NULL, FALSE, FALSE, NULL);
  sleeper->timer = CreateWaitableTimerExW(NULL, NULL, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, TIMER_ALL_ACCESS);
  if (!sleeper->timer) sleeper->timer = CreateWaitableTimerExW(NULL, NULL, 0, TIMER_ALL_ACCESS);
  if (sleeper->event && sleeper->timer) return HF_OK;
  hf_sleeper_deinit(sleeper);
  return HF_NO_MEMORY;
}
void hf_sleeper_deinit(hf_sleeper *sleeper) {
  if (sleeper->event) CloseHandle(sleeper->event);
  if (sleeper->timer) CloseHandle(sleeper->timer);
  sleeper->event = sleeper->timer = NULL;
}
void hf_sleeper_wait(hf_sleeper *sleeper, int64_t deadline_ns) {
  HANDLE both[2] = {sleeper->event, sleeper->timer};
  DWORD n_handles = 1;
  if (deadline_ns != HF_NEVER) {
    int64_t wait_ns = hf_max_i64(0, deadline_ns - hf_clock_system_ns(sleeper->clock));
    LARGE_INTEGER due;
    due.QuadPart = -((wait_ns + 99) / 100);  // relative, in units of 100 ns, rounded up
    if (due.QuadPart == 0) due.QuadPart = -1;
    SetWaitableTimer(sleeper->timer, &due, 0, NULL, NULL, FALSE);
    n_handles = 2;
  }
  WaitForMultipleObjects(n_handles, both, FALSE, INFINITE);
}
void hf_sleeper_wake(hf_sleeper *sleeper) { SetEvent(sleeper->event); }

static DWORD WINAPI thread_entry(LPVOID self) {
  hf_thread *thread = self;
  thread->run(thread->argument);
  return 0;
}
hf_status hf_thread_start(hf_thread *thread, const char *name, void (*run)(void *), void *argument) {
  (void)name;
  thread->run = run;
  thread->argument = argument;
  thread->handle = CreateThread(NULL, 0, thread_entry, thread, 0, NULL);
  return thread->handle ? HF_OK : HF_NO_THREAD;
}
void hf_thread_join(hf_thread *thread) {
  WaitForSingleObject(thread->handle, INFINITE);
  CloseHandle(thread->handle);
}
int64_t hf_thread_cpu_ns(void) {
  FILETIME created, ended, kernel, user;
  if (!GetThreadTimes(GetCurrentThread(), &created, &ended, &kernel, &user)) return 0;
  int64_t k = ((int64_t)kernel.dwHighDateTime << 32) | (int64_t)kernel.dwLowDateTime;
  int64_t u = ((int64_t)user.dwHighDateTime << 32) | (int64_t)user.dwLowDateTime;
  return (k + u) * 100;
}

bool hf_heavy_barrier_available(void) { return true; }
void hf_heavy_barrier(void) { FlushProcessWriteBuffers(); }

#else  // POSIX

#include <errno.h>
#include <sched.h>
#include <signal.h>
#if defined(__linux__)
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>
#endif

hf_status hf_lock_init(hf_lock *lock) {
  HF_STORE_RLX(&lock->n_waiting, 0);
  return pthread_mutex_init(&lock->raw, NULL) == 0 ? HF_OK : HF_NO_MEMORY;
}
void hf_lock_deinit(hf_lock *lock) { pthread_mutex_destroy(&lock->raw); }
static bool raw_try(hf_lock *lock) { return pthread_mutex_trylock(&lock->raw) == 0; }
static void raw_acquire(hf_lock *lock) { pthread_mutex_lock(&lock->raw); }
static void raw_release(hf_lock *lock) { pthread_mutex_unlock(&lock->raw); }
static void yield_now(void) { sched_yield(); }

#if defined(__linux__)
static struct timespec to_timespec(int64_t ns) {
  struct timespec ts = {.tv_sec = (time_t)(ns / HF_NS_PER_S), .tv_nsec = (long)(ns % HF_NS_PER_S)};
  return ts;
}
#endif

static void cond_init(pthread_cond_t *cond) {
#if defined(__APPLE__)
  pthread_cond_init(cond, NULL);
#else
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(cond, &attributes);
  pthread_condattr_destroy(&attributes);
#endif
}

hf_status hf_sleeper_init(hf_sleeper *sleeper, hf_clock_kind clock) {
  sleeper->clock = clock;
  sleeper->woken = false;
#if defined(__linux__)
  sleeper->wake_fd = sleeper->timer_fd = -1;
  if (clock == HF_CLOCK_BOOTTIME) {
    sleeper->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    sleeper->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (sleeper->wake_fd < 0 || sleeper->timer_fd < 0) {
      if (sleeper->wake_fd >= 0) close(sleeper->wake_fd);
      if (sleeper->timer_fd >= 0) close(sleeper->timer_fd);
      return HF_NO_MEMORY;
    }
  }
#endif
  if (pthread_mutex_init(&sleeper->mutex, NULL) != 0) return HF_NO_MEMORY;
  cond_init(&sleeper->cond);
  return HF_OK;
}

void hf_sleeper_deinit(hf_sleeper *sleeper) {
#if defined(__linux__)
  if (sleeper->wake_fd >= 0) close(sleeper->wake_fd);
  if (sleeper->timer_fd >= 0) close(sleeper->timer_fd);
#endif
  pthread_cond_destroy(&sleeper->cond);
  pthread_mutex_destroy(&sleeper->mutex);
}

#if defined(__linux__)
static void wait_boottime(hf_sleeper *sleeper, int64_t deadline_ns) {
  struct itimerspec when = {0};
  if (deadline_ns != HF_NEVER) when.it_value = to_timespec(hf_max_i64(deadline_ns, 1));
  timerfd_settime(sleeper->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
  struct pollfd both[2] = {{.fd = sleeper->wake_fd, .events = POLLIN}, {.fd = sleeper->timer_fd, .events = POLLIN}};
  poll(both, 2, -1);
  uint64_t n;
  while (read(sleeper->wake_fd, &n, sizeof n) > 0) {
  }
}
#endif

void hf_sleeper_wait(hf_sleeper *sleeper, int64_t deadline_ns) {
#if defined(__linux__)
  if (sleeper->clock == HF_CLOCK_BOOTTIME) {
    wait_boottime(sleeper, deadline_ns);
    return;
  }
#endif
  pthread_mutex_lock(&sleeper->mutex);
  int rc = 0;
  while (!sleeper->woken && rc == 0) {
    if (deadline_ns == HF_NEVER) {
      rc = pthread_cond_wait(&sleeper->cond, &sleeper->mutex);
      continue;
    }
#if defined(__linux__)
    struct timespec until = to_timespec(hf_max_i64(deadline_ns, 0));
    rc = pthread_cond_timedwait(&sleeper->cond, &sleeper->mutex, &until);
#else
    int64_t left_ns = deadline_ns - hf_clock_system_ns(sleeper->clock);
    if (left_ns <= 0) break;
    // No condition variable waits on a clock that counts suspend: sleep in pieces, so that a resume is noticed.
    if (sleeper->clock == HF_CLOCK_BOOTTIME) left_ns = hf_min_i64(left_ns, HF_NS_PER_S / 4);
    struct timespec part = {.tv_sec = (time_t)(left_ns / HF_NS_PER_S), .tv_nsec = (long)(left_ns % HF_NS_PER_S)};
#if defined(__APPLE__)
    rc = pthread_cond_timedwait_relative_np(&sleeper->cond, &sleeper->mutex, &part);
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t until_ns = (int64_t)now.tv_sec * HF_NS_PER_S + now.tv_nsec + left_ns;
    part.tv_sec = (time_t)(until_ns / HF_NS_PER_S);
    part.tv_nsec = (long)(until_ns % HF_NS_PER_S);
    rc = pthread_cond_timedwait(&sleeper->cond, &sleeper->mutex, &part);
#endif
#endif
  }
  sleeper->woken = false;
  pthread_mutex_unlock(&sleeper->mutex);
}

void hf_sleeper_wake(hf_sleeper *sleeper) {
#if defined(__linux__)
  if (sleeper->clock == HF_CLOCK_BOOTTIME) {
    uint64_t one = 1;
    ssize_t written = write(sleeper->wake_fd, &one, sizeof one);
    (void)written;  // fails only when the counter is full: then the sleeper is awake anyway
    return;
  }
#endif
  pthread_mutex_lock(&sleeper->mutex);
  sleeper->woken = true;
  pthread_cond_signal(&sleeper->cond);
  pthread_mutex_unlock(&sleeper->mutex);
}

#if defined(__linux__)
// Asks for short time slices. Since Linux 6.12 a thread may choose its slice (sched_runtime), and a thread with a
// shorter slice than the running one takes its place at a wake-up, at the same share of the processor. Otherwise the
// running thread may go on until the next tick, for milliseconds, even if another core is idle: the kernel does not
// always look for one. Older kernels ignore the request. Other settings of the thread stay.
#define HF_SLICE_NS 100000u  // the shortest that the kernel accepts
static void ask_for_short_slices(void) {
#if defined(__NR_sched_setattr) && defined(__NR_sched_getattr)
  struct {  // the first version of the kernel's struct sched_attr, which some C libraries lack
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
  } attributes = {.size = 0};
  if (syscall(__NR_sched_getattr, 0, &attributes, (unsigned)sizeof attributes, 0u) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.size = sizeof attributes;
  attributes.runtime_ns = HF_SLICE_NS;
  syscall(__NR_sched_setattr, 0, &attributes, 0u);
#endif
}
#endif

static void *thread_entry(void *self) {
  hf_thread *thread = self;
#if defined(__linux__)
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);  // the default lets the kernel wake us 50 us late
  ask_for_short_slices();
#endif
  thread->run(thread->argument);
  return NULL;
}

hf_status hf_thread_start(hf_thread *thread, const char *name, void (*run)(void *), void *argument) {
  sigset_t all, before;
  thread->run = run;
  thread->argument = argument;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = pthread_create(&thread->handle, NULL, thread_entry, thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (rc != 0) return HF_NO_THREAD;
#if defined(__linux__) && defined(_GNU_SOURCE)
  pthread_setname_np(thread->handle, name);
#else
  (void)name;
#endif
  return HF_OK;
}
void hf_thread_join(hf_thread *thread) { pthread_join(thread->handle, NULL); }

int64_t hf_thread_cpu_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return (int64_t)ts.tv_sec * HF_NS_PER_S + (int64_t)ts.tv_nsec;
}

#if defined(__linux__) && defined(__NR_membarrier)
#define HF_MEMBARRIER_PRIVATE_EXPEDITED (1 << 3)
#define HF_MEMBARRIER_REGISTER_PRIVATE_EXPEDITED (1 << 4)
bool hf_heavy_barrier_available(void) {
  // Registering again is harmless, and needed in a child after fork.
  return syscall(__NR_membarrier, HF_MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}
void hf_heavy_barrier(void) { syscall(__NR_membarrier, HF_MEMBARRIER_PRIVATE_EXPEDITED, 0, 0); }
#else
bool hf_heavy_barrier_available(void) { return false; }
void hf_heavy_barrier(void) {}
#endif

#endif

void hf_lock_acquire(hf_lock *lock) {
  if (raw_try(lock)) return;
  HF_ADD_RLX(&lock->n_waiting, 1u);
  raw_acquire(lock);
  HF_ADD_RLX(&lock->n_waiting, UINT32_MAX);
}

void hf_lock_release(hf_lock *lock) { raw_release(lock); }

void hf_lock_yield(hf_lock *lock) {
  uint32_t n_waiting = HF_LOAD_RLX(&lock->n_waiting);
  raw_release(lock);
  // A mutex is not fair: without this the holder wins each time. Bounded, so that no waiter's bad luck
  // with the scheduler stops the holder.
  for (int i = 0; n_waiting != 0 && HF_LOAD_RLX(&lock->n_waiting) >= n_waiting && i < 50; i++) yield_now();
  hf_lock_acquire(lock);
}
