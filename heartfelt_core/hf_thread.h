// SPDX-License-Identifier: MIT
// Threads, locks, and a sleeper that waits for an absolute time or a wake. POSIX and Windows.
//
// Lock      A plain mutex that counts its waiters, so that a worker in a long run can let others in.
// Sleeper   One thread waits, any thread wakes. A wake before the wait is kept: the wait then returns at once. Wakes do
//           not add up. Waiting takes no other lock.
// Barrier   hf_heavy_barrier makes every thread of the process pass a full memory barrier, so that the other side of
//           the pair needs only a compiler barrier (Linux: membarrier, Windows: FlushProcessWriteBuffers). On systems
//           without it hf_heavy_barrier_available is false, and both sides use seq_cst operations instead.
#ifndef HF_THREAD_H
#define HF_THREAD_H

#include "hf_atomic.h"
#include "hf_base.h"
#include "hf_clock.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
typedef SRWLOCK hf_raw_mutex;
#else
#include <pthread.h>
typedef pthread_mutex_t hf_raw_mutex;
#endif

typedef struct {
  hf_raw_mutex raw;
  hf_atomic_u32 n_waiting;
} hf_lock;

hf_status hf_lock_init(hf_lock *lock);
void hf_lock_deinit(hf_lock *lock);
void hf_lock_acquire(hf_lock *lock);
void hf_lock_release(hf_lock *lock);
// Lets waiters run between two pieces of the holder's work: releases, lets a waiter run, acquires again.
void hf_lock_yield(hf_lock *lock);

typedef struct {
#if defined(_WIN32)
  HANDLE event, timer;
#else
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool woken;  // under mutex
#if defined(__linux__)
  int wake_fd, timer_fd;  // boottime only: a condition variable cannot wait on that clock
#endif
#endif
  hf_clock_kind clock;
} hf_sleeper;

hf_status hf_sleeper_init(hf_sleeper *sleeper, hf_clock_kind clock);
void hf_sleeper_deinit(hf_sleeper *sleeper);
// Blocks until a wake or until deadline_ns of the sleeper's clock (HF_NEVER: no limit). May return for no reason, but
// never early because of rounding.
void hf_sleeper_wait(hf_sleeper *sleeper, int64_t deadline_ns);
void hf_sleeper_wake(hf_sleeper *sleeper);

typedef struct {
#if defined(_WIN32)
  HANDLE handle;
#else
  pthread_t handle;
#endif
  void (*run)(void *);
  void *argument;
} hf_thread;

// Starts a thread. It blocks all signals, so that they reach the program's own threads.
hf_status hf_thread_start(hf_thread *thread, const char *name, void (*run)(void *), void *argument);
void hf_thread_join(hf_thread *thread);
// The CPU time that the calling thread has used, ns.
int64_t hf_thread_cpu_ns(void);

// Call once before the first hub starts; any thread, any number of times.
bool hf_heavy_barrier_available(void);
void hf_heavy_barrier(void);

#endif
