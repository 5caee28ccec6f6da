// SPDX-License-Identifier: MIT
// A hub with its bells, and the lock that plays the GIL: in the variant HF_PARALLEL=0 every call that takes or
// gives objects is made under it; in HF_PARALLEL=1 it is nothing.
#ifndef HF_HUB_TEST_H
#define HF_HUB_TEST_H

#include <pthread.h>
#include <sched.h>

#include "hf_beat.h"
#include "hf_test.h"

#define HF_MS INT64_C(1000000)

typedef struct {
  hf_hub *hub;
  hf_bell bells[HF_N_STREAMS];
  hf_clock clock;  // of a hub that has no workers
} hf_fixture;

static const hf_terms hf_no_terms = {.disposable = -1};
static pthread_mutex_t hf_gil = PTHREAD_MUTEX_INITIALIZER;

static inline void hf_gil_take(void) {
  if (!HF_PARALLEL) pthread_mutex_lock(&hf_gil);
}
static inline void hf_gil_give(void) {
  if (!HF_PARALLEL) pthread_mutex_unlock(&hf_gil);
}

static inline void hf_fixture_init(hf_fixture *f, hf_clock_kind clock_kind, hf_hub_config config) {
  memset(f, 0, sizeof *f);
  f->clock.kind = HF_CLOCK_MANUAL;
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_bell_init(&f->bells[s]);
    config.bells[s] = &f->bells[s];
  }
  config.clock_kind = clock_kind;
  if (clock_kind == HF_CLOCK_MANUAL) config.manual_clock = &f->clock;
  config.ops = hf_object_get_ops();
  if (config.n_shards == 0) config.n_shards = 1;
  if (config.ring_limit == 0) config.ring_limit = 1u << 20;
  if (hf_hub_create(&config, &f->hub) != HF_OK) {
    fprintf(stderr, "no hub\n");
    exit(3);
  }
}

static inline void hf_fixture_deinit(hf_fixture *f) {
  hf_hub_destroy(f->hub);
  for (int s = 0; s < HF_N_STREAMS; s++) hf_bell_deinit(&f->bells[s]);
}

static inline void hf_fixture_advance(hf_fixture *f, int64_t target_ns) {
  hf_hub_advance(&f->hub, 1, &f->clock, target_ns);
}

// A beat as a caller makes it: hot, and cold if that is slow. Under the GIL, if there is one.
static inline hf_status hf_fixture_beat(hf_fixture *f, hf_object *key, const hf_terms *terms) {
  hf_gil_take();
  hf_status status = terms ? HF_SLOW : hf_hub_beat(f->hub, key, key->hash, hf_object_equal, hf_hub_now(f->hub));
  if (status != HF_OK) status = hf_hub_touch(f->hub, key, key->hash, terms ? terms : &hf_no_terms, HF_TOUCH_BEAT, NULL);
  hf_gil_give();
  return status;
}

static inline hf_status hf_fixture_remove(hf_fixture *f, const hf_object *key) {
  hf_gil_take();
  hf_status status = hf_hub_remove(f->hub, key, key->hash);
  hf_gil_give();
  return status;
}

static inline uint32_t hf_fixture_drain(hf_fixture *f, hf_stream stream, hf_event *events, uint32_t max) {
  hf_gil_take();
  uint32_t n = hf_hub_drain(f->hub, stream, events, max);
  hf_gil_give();
  return n;
}

// The next event of the stream, its objects released: type and key's number. HF_N_EVENT_TYPES: none.
static inline hf_event hf_fixture_next(hf_fixture *f, hf_stream stream, uint32_t *k) {
  hf_event event = {.type = HF_N_EVENT_TYPES};
  *k = UINT32_MAX;
  if (hf_fixture_drain(f, stream, &event, 1) == 0) return event;
  if (event.key) *k = hf_object_number(event.key);
  hf_event_release(&event);
  return event;
}

static inline void hf_start(pthread_t *thread, void *(*run)(void *), void *argument) {
  if (pthread_create(thread, NULL, run, argument) != 0) exit(3);
}

static inline int64_t hf_now(void) { return hf_clock_system_ns(HF_CLOCK_MONOTONIC); }

// Waits for a condition, at most half a minute; says whether it came true.
#define HF_UNTIL(condition)                                     \
  __extension__({                                               \
    int64_t limit_ns_ = hf_now() + 30 * HF_NS_PER_S;            \
    while (!(condition) && hf_now() < limit_ns_) sched_yield(); \
    (condition);                                                \
  })

#endif
