// SPDX-License-Identifier: MIT
// The model checker's side of model.h: Relacy Race Detector runs the scenario in one thread after another, switches at
// each operation on shared memory, and lets a load see any value that C11's memory model allows.
// Compiled with -fno-access-control: three things here need what relacy keeps to itself (each says why).
#include <string.h>

#include <fstream>
#include <iostream>

#include "model.h"
// Last, and without the names that it takes from everyone.
#include <relacy/relacy.hpp>
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free

namespace {

struct suite : rl::test_suite<suite, MODEL_THREADS> {
  static rl::thread_id_t const dynamic_thread_count = MODEL_STARTED_MAX;
  void before();
  void thread(unsigned index) {
    if ((int)index < scenario.n_threads) scenario.thread((int)index);
  }
  void after();
};
rl::thread_id_t const n_all_threads = MODEL_THREADS + MODEL_STARTED_MAX;

rl::debug_info here(const char *file, int line) { return rl::debug_info("", file, (unsigned)line); }
#define HERE here(file, line)

// Room for an object of relacy's, which may be made only while an iteration runs.
template <typename T>
struct room {
  alignas(T) char bytes[sizeof(T)];
  T &get() { return *reinterpret_cast<T *>(bytes); }
  template <typename... A>
  T &make(A... a) {
    return *::new (bytes) T(a...);
  }
  void end() { get().~T(); }
};

// -- memory: one arena, used up by each iteration from its start, so that a second run of one is the same

enum { N_REGIONS = 64 };
char arena[1 << 20] __attribute__((aligned(64)));
size_t used;
struct region {
  char *start, *end;
  bool freed;
  room<rl::var<int>> born;  // read at each access: so memory that was not handed over is a data race
} regions[N_REGIONS];
int n_regions;

region *region_of(const void *p) {
  const char *at = (const char *)p;
  if (at < arena || at >= arena + sizeof arena) return nullptr;
  for (int n = 0; n < n_regions; n++)
    if (at >= regions[n].start && at < regions[n].end) return &regions[n];
  model_fail("an access to memory that nobody has", "", 0);
  return nullptr;
}

void check_access(const void *p, rl::debug_info info) {
  region *r = region_of(p);
  if (!r) return;
  if (r->freed) rl::ctx().fail_test("access to freed memory", rl::test_result_access_to_freed_memory, info);
  if (!r->born.get().data_->load(*rl::ctx().threadx_))  // as reading it would, but not a line of the trail each time
    rl::ctx().fail_test("memory that was not handed over", rl::test_result_data_race, info);
}

// -- atomics

typedef rl::generic_atomic<uint64_t, true> shadow_atomic;
struct shadow {
  const void *p;
  room<shadow_atomic> atomic;
} shadows[4096];
unsigned shadows_used[4096], n_shadows;

uint64_t mask_of(size_t size) { return size == 8 ? ~UINT64_C(0) : (UINT64_C(1) << 8 * size) - 1; }
uint64_t plain(const void *p, size_t size) {
  uint64_t value = 0;
  memcpy(&value, p, size);
  return value;
}

shadow_atomic &shadow_of(const void *p, size_t size, rl::debug_info info) {
  check_access(p, info);
  unsigned at = (unsigned)((uintptr_t)p / 4 % 4096);
  while (shadows[at].p && shadows[at].p != p) at = (at + 1) % 4096;
  shadow &s = shadows[at];
  if (!s.p) {
    s.p = p;
    shadows_used[n_shadows++] = at;
    shadow_atomic &made = s.atomic.make();
    // What the memory held before anyone used it as an atomic is its first value, for every thread: whether a thread
    // may see the memory at all is the region's question. Relacy has no constructor for that.
    auto &data = *static_cast<rl::atomic_data_impl<n_all_threads> *>(made.impl_);
    for (rl::timestamp_t &seen : data.history_[made.last_index_].first_seen_order_) seen = (rl::timestamp_t)-1;
    made.history_[made.last_index_] = made.value_ = plain(p, size);
  }
  shadow_atomic &atomic = s.atomic.get();
  if (atomic.value_ != plain(p, size))
    model_fail("an atomic was written by a plain store", info.file_, (int)info.line_);
  return atomic;
}

rl::memory_order order_of(model_order order) {
  static const rl::memory_order orders[] = {rl::mo_relaxed, rl::mo_acquire, rl::mo_release, rl::mo_acq_rel,
                                            rl::mo_seq_cst};
  return orders[order];
}

// -- locks, conditions, descriptors

struct lock_tag;
typedef rl::generic_mutex<lock_tag> checked_mutex;
typedef rl::condvar<lock_tag> checked_cond;
struct mutex_place {
  room<checked_mutex> mutex;
  bool alive;
} mutexes[48];
struct cond_place {
  room<checked_cond> cond;
  bool alive;
} conds[16];
int n_mutexes, n_conds;
struct descriptor {
  model_mutex mutex;
  model_cond cond;
  bool token, open;
} descriptors[8];
int n_descriptors;
int64_t clock_ns;
bool joined;  // the one thread that the core may start

checked_mutex &mutex_of(model_mutex *mutex) {
  check_access(mutex, $);
  if (mutex->number < 1 || !mutexes[mutex->number].alive) model_fail("a lock that is not there", "", 0);
  return mutexes[mutex->number].mutex.get();
}
checked_cond &cond_of(model_cond *cond) {
  check_access(cond, $);
  if (cond->number < 1 || !conds[cond->number].alive) model_fail("a condition that is not there", "", 0);
  return conds[cond->number].cond.get();
}

void suite::before() {
  // A failed iteration leaves things behind; the context that they belonged to is gone.
  while (n_shadows > 0) shadows[shadows_used[--n_shadows]].p = nullptr;
  memset(arena, 0, used);
  used = 0;
  n_regions = n_descriptors = 0;
  n_mutexes = n_conds = 1;
  clock_ns = 1000001;
  joined = false;
  scenario.before();
}

void suite::after() {
  scenario.after();
  while (n_shadows > 0) {
    shadow &s = shadows[shadows_used[--n_shadows]];
    s.atomic.end();
    s.p = nullptr;
  }
  for (int n = 0; n < n_descriptors; n++) {
    if (descriptors[n].open) model_fail("a descriptor is open at the end", "", 0);
    model_mutex_destroy(&descriptors[n].mutex);
    model_cond_destroy(&descriptors[n].cond);
  }
  for (int n = 0; n < n_regions; n++) {
    if (!regions[n].freed) model_fail("memory was not freed", "", 0);
    regions[n].born.end();
  }
}

// The threads of the context that runs. Relacy has no barrier that makes other threads pass one.
template <typename scheduler>
rl::thread_info<n_all_threads> &thread_of(int n) {
  return ((rl::context_impl<suite, scheduler> &)rl::ctx()).threads_[n];
}
rl::thread_info<n_all_threads> &thread_number(int n) {
  return rl::ctx().is_random_sched() ? thread_of<rl::random_scheduler<n_all_threads>>(n)
                                     : thread_of<rl::context_bound_scheduler<n_all_threads>>(n);
}

}  // namespace

extern "C" {

void model_fail(const char *what, const char *file, int line) {
  rl::ctx().fail_test(what, rl::test_result_user_assert_failed, HERE);
}
unsigned model_choose(unsigned n) { return rl::rand(n); }

uint64_t model_load(const void *p, size_t size, model_order order, const char *file, int line) {
  return shadow_of(p, size, HERE).load(order_of(order), HERE);
}
void model_store(void *p, size_t size, uint64_t value, model_order order, const char *file, int line) {
  shadow_of(p, size, HERE).store(value, order_of(order), HERE);
  memcpy(p, &value, size);
}
uint64_t model_exchange(void *p, size_t size, uint64_t value, model_order order, const char *file, int line) {
  uint64_t before = shadow_of(p, size, HERE).exchange(value, order_of(order), HERE);
  memcpy(p, &value, size);
  return before;
}
uint64_t model_add(void *p, size_t size, uint64_t value, model_order order, const char *file, int line) {
  shadow_atomic &atomic = shadow_of(p, size, HERE);
  uint64_t before = atomic.fetch_add(value, order_of(order), HERE);
  // Relacy adds in 64 bits; a smaller word wraps around.
  atomic.history_[atomic.last_index_] = atomic.value_ = (before + value) & mask_of(size);
  memcpy(p, &atomic.value_, size);
  return before;
}
bool model_cas(void *p, size_t size, uint64_t *expected, uint64_t desired, const char *file, int line) {
  *expected &= mask_of(size);
  bool won = shadow_of(p, size, HERE).compare_exchange(rl::bool_t<false>(), *expected, desired, rl::mo_seq_cst, HERE);
  if (won) memcpy(p, &desired, size);
  return won;
}

void model_heavy_barrier(void) {
  rl::context &c = rl::ctx();
  int self = (int)c.threadx_->index_;
  c.sched();
  thread_number(self).atomic_thread_fence_seq_cst(c.seq_cst_fence_order_);
  for (int n = 0; n < (int)n_all_threads; n++) {
    if (n == self) continue;
    thread_number(n).atomic_thread_fence_seq_cst(c.seq_cst_fence_order_);
    c.sched();  // not all of them at one moment
  }
  thread_number(self).atomic_thread_fence_seq_cst(c.seq_cst_fence_order_);
}

int model_mutex_init(model_mutex *mutex) {
  mutex->number = n_mutexes++;
  mutexes[mutex->number].alive = true;
  mutexes[mutex->number].mutex.make().init(false, false, false, false, $);
  return 0;
}
int model_mutex_destroy(model_mutex *mutex) {
  mutex_of(mutex).deinit($);
  mutexes[mutex->number].alive = false;
  return 0;
}
int model_mutex_lock(model_mutex *mutex) {
  mutex_of(mutex).lock_exclusive($);
  return 0;
}
int model_mutex_trylock(model_mutex *mutex) { return mutex_of(mutex).try_lock_exclusive($) ? 0 : 1; }
int model_mutex_unlock(model_mutex *mutex) {
  mutex_of(mutex).unlock_exclusive($);
  return 0;
}
int model_cond_init(model_cond *cond) {
  cond->number = n_conds++;
  conds[cond->number].alive = true;
  conds[cond->number].cond.make().init(true, $);
  return 0;
}
int model_cond_destroy(model_cond *cond) {
  cond_of(cond).deinit($);
  conds[cond->number].alive = false;
  return 0;
}
int model_cond_wait(model_cond *cond, model_mutex *mutex, int64_t until_ns) {
  if (until_ns >= 0 && until_ns <= clock_ns) {
    model_mutex_unlock(mutex);
    model_mutex_lock(mutex);
    return 1;
  }
  if (cond_of(cond).wait(mutex_of(mutex), until_ns >= 0, $) != rl::sema_wakeup_reason_timeout) return 0;
  if (clock_ns < until_ns) clock_ns = until_ns | 1;
  return 1;
}
int model_cond_signal(model_cond *cond) {
  cond_of(cond).notify_one($);
  return 0;
}

int model_thread_create(model_thread *thread, void *(*run)(void *), void *argument) {
  *thread = rl::ctx().create_thread(run, argument);
  return 0;
}
int model_thread_join(model_thread thread) {
  if (joined) model_fail("a thread was joined twice", "", 0);
  joined = true;
  ((rl::win_waitable_object *)thread)->wait(false, false, $);
  return 0;
}
int model_yield(void) {
  rl::yield(1, $);
  return 0;
}
int64_t model_clock(void) { return clock_ns += 2; }
int64_t model_clock_last(void) { return clock_ns; }

void *model_alloc(size_t size) {
  if (n_regions == N_REGIONS || used + size + 128 > sizeof arena) model_fail("the model's memory is too small", "", 0);
  region &r = regions[n_regions++];
  r.start = arena + used;
  r.end = r.start + size;
  r.freed = false;
  r.born.make(1);
  used += (size + 127) / 64 * 64;  // a gap behind each
  return r.start;
}
void model_free(void *p) {
  if (!p) return;
  region *r = region_of(p);
  if (r->freed || r->start != p) model_fail("freed what was not allocated, or twice", "", 0);
  r->born.get()($) = 0;
  r->freed = true;
}
void *model_realloc(void *p, size_t size) {
  void *moved = model_alloc(size);
  if (p) {
    region *r = region_of(p);
    size_t before = (size_t)(r->end - r->start);
    memcpy(moved, p, before < size ? before : size);
    model_free(p);
  }
  return moved;
}

static descriptor &descriptor_of(int fd) {
  if (fd < 0 || fd >= n_descriptors || !descriptors[fd].open) model_fail("a descriptor that is not open", "", 0);
  return descriptors[fd];
}
int model_eventfd(void) {
  descriptor &d = descriptors[n_descriptors];
  d.token = false;
  d.open = true;
  model_mutex_init(&d.mutex);
  model_cond_init(&d.cond);
  return n_descriptors++;
}
long model_write(int fd) {
  descriptor &d = descriptor_of(fd);
  model_mutex_lock(&d.mutex);
  d.token = true;
  model_cond_signal(&d.cond);
  model_mutex_unlock(&d.mutex);
  return 8;
}
long model_read(int fd) {
  descriptor &d = descriptor_of(fd);
  model_mutex_lock(&d.mutex);
  bool there = d.token;
  d.token = false;
  model_mutex_unlock(&d.mutex);
  return there ? 8 : -1;
}
int model_poll(int fd, bool forever) {
  descriptor &d = descriptor_of(fd);
  model_mutex_lock(&d.mutex);
  int waited = 0;
  while (!d.token && waited == 0) waited = model_cond_wait(&d.cond, &d.mutex, forever ? -1 : clock_ns + 1);
  bool there = d.token;
  model_mutex_unlock(&d.mutex);
  return there;
}
int model_close(int fd) {
  descriptor_of(fd).open = false;
  return 0;
}

}  // extern "C"

// driver random ITERATIONS | bound SWITCHES. The last line says what was explored; exit status 1: something was found.
int main(int argc, char **argv) {
  if (argc != 3) return 2;
  std::ofstream nowhere;
  rl::test_params params;
  params.progress_stream = &nowhere;
  params.execution_depth_limit = 20000;
  if (strcmp(argv[1], "random") == 0) {
    params.search_type = rl::random_scheduler_type;
    params.iteration_count = (rl::iteration_t)atoll(argv[2]);
  } else {
    params.search_type = rl::fair_context_bound_scheduler_type;
    params.context_bound = (unsigned)atoi(argv[2]);
  }
  bool sound = rl::simulate<suite>(params);
  std::cout << (sound ? "explored " : "found in iteration ") << params.stop_iteration << std::endl;
  return sound ? 0 : 1;
}
