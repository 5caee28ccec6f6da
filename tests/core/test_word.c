// SPDX-License-Identifier: MIT
// The word that decides: beats and verdicts meet on a few keys as often as the machine can make them. One thread is
// the worker, on a clock that passes a whole timeout with each step, so that each key is due unless it beats just now.
// A beat that said OK must be in every later verdict on that life: the verdict's beat time is not before it.
#include <pthread.h>
#include <sched.h>

#include "hf_world.h"

#define RUN_NS (INT64_C(600) * 1000000)
// With a GIL one thread beats at a time.
enum { N_BEATERS = HF_PARALLEL ? 2 : 1, N_KEYS = 3, TIMEOUT = 10 };

static hf_world w;
static hf_atomic_u32 stop;
static hf_atomic_u64 n_hot, n_verdicts;

// k was found not to be ALIVE. Under the lock: the verdict on it must know of the beat at last_ns. It recovers.
static void judge(hf_object *key, int64_t *last_ns) {
  hf_trash trash = {0};
  hf_event event;
  int64_t ignored;
  uint32_t tag = hf_hash_tag(key->hash);
  hf_lock_acquire(&w.shard.lock);
  uint32_t i = hf_map_find(&w.shard.map, &w.shard.slots, key, tag, hf_object_equal);
  if (hf_slots_state(&w.shard.slots, i) == HF_LOST) {
    CHECK(hf_slots_cold(&w.shard.slots, i)->verdict_beat_ns >= *last_ns);
    HF_ADD_RLX(&n_verdicts, 1u);
  }
  CHECK_EQ(hf_shard_touch(&w.shard, key, tag, &hf_no_terms, HF_TOUCH_BEAT, NULL, &trash), HF_OK);
  *last_ns = hf_world_now(&w);
  hf_event events[2 * N_BEATERS * N_KEYS];
  uint32_t n = 0;
  for (; n < sizeof events / sizeof *events && hf_shard_peek(&w.shard, &ignored) != HF_NEVER; n++) {
    hf_shard_take(&w.shard, &event);
    events[n] = event;
  }
  hf_lock_release(&w.shard.lock);
  while (n > 0) hf_event_release(&events[--n]);
  hf_trash_release(&trash);
}

static void *beat(void *argument) {
  uint32_t first = *(uint32_t *)argument;
  int64_t last_ns[N_KEYS] = {0};
  uint64_t n = 0;
  for (uint32_t k = 0; !HF_LOAD_ACQ(&stop); k = (k + 1) % N_KEYS) {
    hf_object *key = w.keys[first + k];
    int64_t now_ns = hf_world_now(&w);
    if (hf_shard_beat(&w.shard, key, hf_hash_tag(key->hash), hf_object_equal, now_ns, w.config.light) == HF_OK) {
      last_ns[k] = now_ns;
      n++;
    } else {
      judge(key, &last_ns[k]);
    }
  }
  HF_ADD_RLX(&n_hot, n);
  return NULL;
}

static void a_beat_that_said_ok_is_in_every_later_verdict(void) {
  pthread_t beaters[N_BEATERS];
  uint32_t first[N_BEATERS];
  hf_world_init(&w, TIMEOUT, false, HF_MASK(HF_TIME_OUT));
  for (uint32_t k = 0; k < N_BEATERS * N_KEYS; k++) CHECK_EQ(hf_world_beat(&w, k), HF_OK);
  for (uint32_t n = 0; n < N_BEATERS; n++) {
    first[n] = n * N_KEYS;
    if (pthread_create(&beaters[n], NULL, beat, &first[n]) != 0) exit(3);
  }
  hf_random random = hf_random_from(1);
  int64_t end_ns = hf_clock_system_ns(HF_CLOCK_MONOTONIC) + RUN_NS, now_ns = 0;
  for (uint32_t step = 1; hf_clock_system_ns(HF_CLOCK_MONOTONIC) < end_ns; step++) {
    hf_lock_acquire(&w.shard.lock);
    if (w.shard.n_lost == 0) {  // else wait for the beaters: LOST keys beat under the lock, there is no race
      hf_clock_set(&w.clock, now_ns += TIMEOUT);
      for (uint32_t n = hf_random_below(&random, 60); n > 0; n--) HF_COMPILER_BARRIER();  // who is first?
      while (hf_heap_min(&w.shard.heap) <= now_ns) hf_shard_step(&w.shard, now_ns, 0, now_ns);
    }
    if (step % 64 == 0) CHECK_SOUND(&w.shard);
    bool waits = w.shard.n_lost != 0;
    hf_lock_release(&w.shard.lock);
    if (waits) sched_yield();
  }
  HF_STORE_REL(&stop, 1);
  for (uint32_t n = 0; n < N_BEATERS; n++) pthread_join(beaters[n], NULL);
  // Both sides must have won now and then, or nothing was tried.
  CHECK(HF_LOAD_RLX(&n_hot) > 0);
  CHECK(HF_LOAD_RLX(&n_verdicts) > 0);
  hf_world_end(&w);
}

int main(void) {
  RUN(a_beat_that_said_ok_is_in_every_later_verdict);
  return hf_test_end(__FILE__);
}
