// SPDX-License-Identifier: MIT
// Between the core and the model checker: what the core's atomics, locks, threads, memory, descriptors and clock are
// made of while it is checked. C on both sides; driver.cpp is the other one. No operation here is a fence.
#ifndef HF_MODEL_H
#define HF_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What is checked: some threads over what `before` made. A scenario is one program; each iteration runs it anew.
enum { MODEL_THREADS = 3, MODEL_STARTED_MAX = 1 };  // threads of its own, threads that the core may start
typedef struct {
  int n_threads;
  void (*before)(void);
  void (*thread)(int index);
  void (*after)(void);  // all threads have ended, and what they did is seen
} model_scenario;
extern const model_scenario scenario;

void model_fail(const char *what, const char *file, int line);  // ends the iteration
#define CHECK(x) ((x) ? (void)0 : model_fail(#x, __FILE__, __LINE__))
unsigned model_choose(unsigned n);  // any number below n

// Atomics. They live beside the memory, which keeps their latest value: so memset, initialisers and copies of whole
// structures work as they do in the core, and sizes and places are the real ones.
typedef enum { MODEL_RLX, MODEL_ACQ, MODEL_REL, MODEL_ACQ_REL, MODEL_SC } model_order;
uint64_t model_load(const void *p, size_t size, model_order order, const char *file, int line);
void model_store(void *p, size_t size, uint64_t value, model_order order, const char *file, int line);
uint64_t model_exchange(void *p, size_t size, uint64_t value, model_order order, const char *file, int line);
uint64_t model_add(void *p, size_t size, uint64_t value, model_order order, const char *file, int line);
bool model_cas(void *p, size_t size, uint64_t *expected, uint64_t desired, const char *file, int line);
// Every thread passes a full barrier now, wherever it is: what membarrier is documented to do.
void model_heavy_barrier(void);

typedef struct {
  int number;  // 0: not initialised
} model_mutex, model_cond;
int model_mutex_init(model_mutex *mutex);
int model_mutex_destroy(model_mutex *mutex);
int model_mutex_lock(model_mutex *mutex);
int model_mutex_trylock(model_mutex *mutex);
int model_mutex_unlock(model_mutex *mutex);
int model_cond_init(model_cond *cond);
int model_cond_destroy(model_cond *cond);
int model_cond_wait(model_cond *cond, model_mutex *mutex, int64_t until_ns);  // negative: no end
int model_cond_signal(model_cond *cond);

typedef void *model_thread;
int model_thread_create(model_thread *thread, void *(*run)(void *), void *argument);
int model_thread_join(model_thread thread);
int model_yield(void);

// Odd, and later with each reading, so that no two are the same. Who waits until a time may find that it
// has come.
int64_t model_clock(void);
int64_t model_clock_last(void);  // what was read last

void *model_alloc(size_t size);  // zeroed
void *model_realloc(void *p, size_t size);
void model_free(void *p);

// A descriptor that counts tokens, as an eventfd does.
int model_eventfd(void);
long model_write(int fd);
long model_read(int fd);               // -1: nothing there
int model_poll(int fd, bool forever);  // 1: readable, 0: timed out
int model_close(int fd);

#ifdef __cplusplus
}
#endif
#endif
