// SPDX-License-Identifier: MIT
// The bell and the sleeper between real threads: no wake-up is lost, no deadline is early.
#include "hf_bell.h"
#include "hf_hub_test.h"

enum { N_ITEMS = 30000, N_ROUNDS = 5000 };

typedef struct {
  hf_bell bell;
  hf_atomic_u64 n_produced, n_consumed;
  bool paced;
} line;

static void *produce(void *argument) {
  line *l = argument;
  for (uint64_t n = 1; n <= N_ITEMS; n++) {
    HF_ADD_SC(&l->n_produced, 1u);
    hf_bell_ring(&l->bell);
    // Paced: each next item waits until the one before is read, so each ring must wake somebody.
    if (l->paced && !HF_UNTIL(HF_LOAD_ACQ(&l->n_consumed) >= n)) break;
  }
  return NULL;
}

static uint64_t consume_by_bell(line *l) {
  uint64_t n_taken = 0;
  while (n_taken < N_ITEMS) {
    if (hf_bell_wait(&l->bell, 20 * HF_NS_PER_S) == HF_BELL_TIMED_OUT) break;  // lost
    n_taken = HF_LOAD_ACQ(&l->n_produced);
    HF_STORE_REL(&l->n_consumed, n_taken);  // a paced producer rings again just while the bell is silenced
    hf_bell_silence(&l->bell);
    if (HF_LOAD_ACQ(&l->n_produced) != n_taken) hf_bell_ring(&l->bell);  // the second look
  }
  return n_taken;
}

static void no_ring_is_lost(bool paced) {
  line l = {.paced = paced};
  pthread_t producer;
  hf_bell_init(&l.bell);
  hf_bell_ring(&l.bell);  // before it is open: made up for when it opens
  CHECK(hf_bell_open(&l.bell, -1, -1));
  CHECK_EQ(hf_bell_wait(&l.bell, 0), HF_BELL_RUNG);
  hf_start(&producer, produce, &l);
  CHECK_EQ(consume_by_bell(&l), N_ITEMS);
  pthread_join(producer, NULL);
  hf_bell_deinit(&l.bell);
}

static void no_ring_of_a_busy_producer_is_lost(void) { no_ring_is_lost(false); }
static void no_ring_of_a_producer_that_waits_for_its_reader_is_lost(void) { no_ring_is_lost(true); }

static void a_bell_rings_until_it_is_silenced(void) {
  hf_bell bell;
  hf_bell_init(&bell);
  CHECK(hf_bell_open(&bell, -1, -1));
  int64_t fd = bell.read_fd;
  CHECK(hf_bell_open(&bell, -1, -1));  // again: the same
  CHECK_EQ(bell.read_fd, fd);
  hf_bell_silence(&bell);
  int64_t before_ns = hf_now();
  CHECK_EQ(hf_bell_wait(&bell, 2 * HF_MS), HF_BELL_TIMED_OUT);
  CHECK(hf_now() - before_ns >= 2 * HF_MS);
  for (int n = 0; n < 100; n++) hf_bell_ring(&bell);
  CHECK_EQ(hf_bell_wait(&bell, -1), HF_BELL_RUNG);
  CHECK_EQ(hf_bell_wait(&bell, -1), HF_BELL_RUNG);
  hf_bell_silence(&bell);
  CHECK_EQ(hf_bell_wait(&bell, 0), HF_BELL_TIMED_OUT);
  hf_bell_deinit(&bell);
}

static void *ring_once(void *argument) {
  hf_bell_ring(argument);
  return NULL;
}

static void a_bell_may_be_opened_while_it_is_rung(void) {
  for (int round = 0; round < 300; round++) {
    hf_bell bell;
    pthread_t ringer;
    hf_bell_init(&bell);
    hf_start(&ringer, ring_once, &bell);
    CHECK(hf_bell_open(&bell, -1, -1));
    CHECK_EQ(hf_bell_wait(&bell, 20 * HF_NS_PER_S), HF_BELL_RUNG);
    pthread_join(ringer, NULL);
    hf_bell_deinit(&bell);
  }
}

static const hf_clock_kind clocks[] = {HF_CLOCK_MONOTONIC, HF_CLOCK_BOOTTIME};

static void a_sleeper_is_not_early(void) {
  for (int c = 0; c < 2; c++) {
    hf_sleeper sleeper;
    CHECK_EQ(hf_sleeper_init(&sleeper, clocks[c]), HF_OK);
    for (int64_t n = 0; n < 40; n++) {
      // "Now and then for no reason" it may return: then it is asked again.
      int64_t deadline_ns = hf_clock_system_ns(clocks[c]) + n * 13577;
      int n_waits = 0;
      do {
        hf_sleeper_wait(&sleeper, deadline_ns);
      } while (hf_clock_system_ns(clocks[c]) < deadline_ns && ++n_waits < 3);
      CHECK(hf_clock_system_ns(clocks[c]) >= deadline_ns);
    }
    hf_sleeper_wait(&sleeper, 0);  // long past
    hf_sleeper_wait(&sleeper, INT64_MIN);
    hf_sleeper_deinit(&sleeper);
  }
}

static void a_wake_before_the_wait_is_kept_and_wakes_do_not_add_up(void) {
  for (int c = 0; c < 2; c++) {
    hf_sleeper sleeper;
    CHECK_EQ(hf_sleeper_init(&sleeper, clocks[c]), HF_OK);
    for (int n = 0; n < 3; n++) hf_sleeper_wake(&sleeper);
    hf_sleeper_wait(&sleeper, HF_NEVER);  // else this never returns
    int64_t deadline_ns = hf_clock_system_ns(clocks[c]) + 3 * HF_MS;
    hf_sleeper_wait(&sleeper, deadline_ns);
    CHECK(hf_clock_system_ns(clocks[c]) >= deadline_ns);
    hf_sleeper_deinit(&sleeper);
  }
}

static void a_sleeper_waits_for_a_wake_alone_after_it_waited_for_a_time(void) {
  for (int c = 0; c < 2; c++) {
    hf_sleeper sleeper;
    CHECK_EQ(hf_sleeper_init(&sleeper, clocks[c]), HF_OK);
    hf_sleeper_wait(&sleeper, hf_clock_system_ns(clocks[c]) + HF_MS);  // a timer that has run out
    int64_t later_ns = hf_clock_system_ns(clocks[c]) + 2 * HF_MS;
    hf_sleeper_wait(&sleeper, later_ns);
    CHECK(hf_clock_system_ns(clocks[c]) >= later_ns);
    hf_sleeper_deinit(&sleeper);
  }
}

typedef struct {
  hf_sleeper sleepers[2];
  hf_atomic_u32 turn, n_late;
} table;

static void play(table *t, uint32_t me) {
  for (uint32_t n = 0; n < N_ROUNDS; n++) {
    while (HF_LOAD_ACQ(&t->turn) != 2 * n + me) {
      int64_t limit_ns = hf_clock_system_ns(t->sleepers[me].clock) + 20 * HF_NS_PER_S;
      hf_sleeper_wait(&t->sleepers[me], limit_ns);
      if (hf_clock_system_ns(t->sleepers[me].clock) >= limit_ns) {
        HF_ADD_RLX(&t->n_late, 1u);
        return;
      }
    }
    HF_STORE_REL(&t->turn, 2 * n + me + 1);
    hf_sleeper_wake(&t->sleepers[1 - me]);
  }
}

static void *play_second(void *argument) {
  play(argument, 1);
  return NULL;
}

static void two_threads_that_wake_each_other_never_miss_a_turn(void) {
  for (int c = 0; c < 2; c++) {
    table t = {0};
    pthread_t second;
    for (int n = 0; n < 2; n++) CHECK_EQ(hf_sleeper_init(&t.sleepers[n], clocks[c]), HF_OK);
    hf_start(&second, play_second, &t);
    play(&t, 0);
    pthread_join(second, NULL);
    CHECK_EQ(HF_LOAD_RLX(&t.n_late), 0);
    CHECK_EQ(HF_LOAD_RLX(&t.turn), 2 * N_ROUNDS);
    for (int n = 0; n < 2; n++) hf_sleeper_deinit(&t.sleepers[n]);
  }
}

static void a_key_filed_while_the_worker_sleeps_for_a_later_one_is_on_time(void) {
  for (int c = 0; c < 2; c++) {
    hf_fixture f;
    hf_fixture_init(&f, clocks[c], (hf_hub_config){.subscribed = HF_MASK(HF_TIME_OUT), .disposable = true});
    hf_object *late = hf_object_new(1), *soon = hf_object_new(2);
    hf_terms minutes = {.timeout_ns = 600 * HF_NS_PER_S, .disposable = -1}, soon_terms = {.disposable = -1};
    CHECK_EQ(hf_fixture_beat(&f, late, &minutes), HF_OK);
    for (int64_t n = 0; n < 60; n++) {  // each finds the worker somewhere on its way to sleep
      soon_terms.timeout_ns = 1 + n * 5000;
      CHECK_EQ(hf_fixture_beat(&f, soon, &soon_terms), HF_OK);
      uint32_t k;
      if (!CHECK(HF_UNTIL(hf_hub_waiting(f.hub, HF_TO_READERS) == 1))) break;
      hf_event event = hf_fixture_next(&f, HF_TO_READERS, &k);
      CHECK(k == 2 && event.event_ns >= event.deadline_ns && event.deadline_ns == event.beat_ns + event.timeout_ns);
    }
    hf_fixture_deinit(&f);
    hf_object_release(late);
    hf_object_release(soon);
  }
  CHECK_EQ(HF_LOAD_RLX(&hf_objects_alive), 0);
}

int main(void) {
  RUN(no_ring_of_a_busy_producer_is_lost);
  RUN(no_ring_of_a_producer_that_waits_for_its_reader_is_lost);
  RUN(a_bell_rings_until_it_is_silenced);
  RUN(a_bell_may_be_opened_while_it_is_rung);
  RUN(a_sleeper_is_not_early);
  RUN(a_wake_before_the_wait_is_kept_and_wakes_do_not_add_up);
  RUN(a_sleeper_waits_for_a_wake_alone_after_it_waited_for_a_time);
  RUN(two_threads_that_wake_each_other_never_miss_a_turn);
  RUN(a_key_filed_while_the_worker_sleeps_for_a_later_one_is_on_time);
  return hf_test_end(__FILE__);
}
