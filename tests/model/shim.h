// SPDX-License-Identifier: MIT
// Included before everything else when a file of the core is compiled for the model checker: takes the place of
// hf_atomic.h, and puts the model's locks, threads, memory and system calls in the place of the system's. The files
// of the core themselves are compiled as they are.
#ifndef HF_SHIM_H
#define HF_SHIM_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "model.h"

// -- in place of hf_atomic.h
#define HF_ATOMIC_H
typedef int64_t hf_atomic_i64;
typedef uint64_t hf_atomic_u64;
typedef uint32_t hf_atomic_u32;
typedef uintptr_t hf_atomic_ptr;

#define MODEL_HERE __FILE__, __LINE__
#define MODEL_LOAD(p, order) ((__typeof__(*(p)))model_load((p), sizeof *(p), (order), MODEL_HERE))
#define MODEL_STORE(p, v, order) model_store((p), sizeof *(p), (uint64_t)(__typeof__(*(p)))(v), (order), MODEL_HERE)
#define MODEL_RMW(f, p, v, order) \
  ((__typeof__(*(p)))f((p), sizeof *(p), (uint64_t)(__typeof__(*(p)))(v), (order), MODEL_HERE))
#define HF_LOAD_RLX(p) MODEL_LOAD((p), MODEL_RLX)
#define HF_LOAD_ACQ(p) MODEL_LOAD((p), MODEL_ACQ)
#define HF_LOAD_SC(p) MODEL_LOAD((p), MODEL_SC)
#define HF_STORE_RLX(p, v) MODEL_STORE((p), (v), MODEL_RLX)
#define HF_STORE_REL(p, v) MODEL_STORE((p), (v), MODEL_REL)
#define HF_STORE_SC(p, v) MODEL_STORE((p), (v), MODEL_SC)
#define HF_XCHG(p, v) MODEL_RMW(model_exchange, (p), (v), MODEL_ACQ_REL)
#define HF_ADD_RLX(p, v) MODEL_RMW(model_add, (p), (v), MODEL_RLX)
#define HF_ADD_SC(p, v) MODEL_RMW(model_add, (p), (v), MODEL_SC)
#define HF_CAS_SC(p, expected, desired)                                                                           \
  __extension__({                                                                                                 \
    uint64_t hf_expected_ = (uint64_t)*(expected);                                                                \
    bool hf_won_ = model_cas((p), sizeof *(p), &hf_expected_, (uint64_t)(__typeof__(*(p)))(desired), MODEL_HERE); \
    *(expected) = (__typeof__(*(p)))hf_expected_;                                                                 \
    hf_won_;                                                                                                      \
  })
#define HF_COMPILER_BARRIER() ((void)0)  // a thread's operations take place in its own order here

// -- in place of the system
#define calloc(n, size) model_alloc((size_t)(n) * (size))
#define malloc(size) model_alloc(size)
#define realloc(p, size) model_realloc((p), (size))
#define free(p) model_free(p)

#define pthread_mutex_t model_mutex
#define pthread_cond_t model_cond
#define pthread_t model_thread
#define pthread_mutex_init(m, attributes) model_mutex_init(m)
#define pthread_mutex_destroy(m) model_mutex_destroy(m)
#define pthread_mutex_lock(m) model_mutex_lock(m)
#define pthread_mutex_trylock(m) model_mutex_trylock(m)
#define pthread_mutex_unlock(m) model_mutex_unlock(m)
#define pthread_cond_init(c, attributes) ((void)(attributes), model_cond_init(c))
#define pthread_cond_destroy(c) model_cond_destroy(c)
#define pthread_cond_wait(c, m) model_cond_wait((c), (m), -1)
#define pthread_cond_timedwait(c, m, t) model_cond_wait((c), (m), (t)->tv_sec *INT64_C(1000000000) + (t)->tv_nsec)
#define pthread_cond_signal(c) model_cond_signal(c)
#define pthread_create(t, attributes, run, argument) model_thread_create((t), (run), (argument))
#define pthread_join(t, result) model_thread_join(t)
#define pthread_sigmask(how, set, before) ((void)(before), 0)
#define pthread_setname_np(t, name) ((void)(name), 0)
#define prctl(...) 0
#define sched_yield() model_yield()

// membarrier is the one system call that the core makes by its number. Registering it says whether it is there.
#define syscall(number, command, ...) model_syscall_membarrier(command)
static inline long model_syscall_membarrier(int command) {
#if HF_MODEL_LIGHT
  if (command == 1 << 3) model_heavy_barrier();
  return 0;
#else
  (void)command;
  return -1;
#endif
}

#define eventfd(n, flags) model_eventfd()
#define read(fd, buffer, size) ((void)(buffer), model_read(fd))
#define write(fd, buffer, size) ((void)(buffer), model_write(fd))
#define close(fd) model_close(fd)
#define ppoll(fds, n, limit, mask) ((void)(limit), model_poll((fds)->fd, (limit) == NULL))

#define clock_gettime(id, ts) model_clock_gettime(ts)
#define clock_getres(id, ts) ((ts)->tv_sec = 0, (ts)->tv_nsec = 4000000, 0)
static inline int model_clock_gettime(struct timespec *ts) {
  int64_t now_ns = model_clock();
  ts->tv_sec = (time_t)(now_ns / INT64_C(1000000000));
  ts->tv_nsec = (long)(now_ns % INT64_C(1000000000));
  return 0;
}

// -- sizes: as small as they can be, so that what happens at their ends happens soon
#define HF_SLAB_BITS 6
#define HF_SLABS_MAX 4u
#if HF_PARALLEL
#define HF_MAP_MIN_CAPACITY 4u
#endif
#define HF_STEP_VERDICTS 4u

#endif
