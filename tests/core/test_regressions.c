// SPDX-License-Identifier: MIT
// Faults that the core once had: each test failed before it was mended.
#include <sys/wait.h>
#include <unistd.h>

#include "hf_hub_test.h"

static hf_fixture f;

#define CHECK_NEXT(expected_type, expected_key)                            \
  do {                                                                     \
    uint32_t k_;                                                           \
    CHECK_EQ(hf_fixture_next(&f, HF_TO_READERS, &k_).type, expected_type); \
    CHECK_EQ(k_, expected_key);                                            \
  } while (0)

static void end(hf_object **keys, uint32_t n_keys) {
  hf_fixture_deinit(&f);
  for (uint32_t k = 0; k < n_keys; k++) hf_object_release(keys[k]);
}

// A loss is later than the events that stand behind its OVERFLOW. A verdict in between once overtook its own key's
// JOIN.
static void an_overflow_does_not_let_a_verdict_overtake_its_keys_join(void) {
  hf_object *keys[3];
  hf_fixture_init(&f, HF_CLOCK_MANUAL,
                  (hf_hub_config){.default_timeout_ns = 10,
                                  .disposable = true,
                                  .ring_limit = 2,
                                  .subscribed = HF_MASK(HF_TIME_OUT) | HF_MASK(HF_JOIN) | HF_MASK(HF_OVERFLOW)});
  for (uint32_t k = 0; k < 3; k++) keys[k] = hf_object_new(k);
  hf_terms forever = {.timeout_ns = 1000, .disposable = -1};
  hf_fixture_beat(&f, keys[0], &forever);
  hf_fixture_beat(&f, keys[1], NULL);
  hf_fixture_advance(&f, 10);  // TIME_OUT of 1
  hf_fixture_advance(&f, 20);
  hf_fixture_beat(&f, keys[2], &forever);  // drops the JOIN of 0
  CHECK_NEXT(HF_OVERFLOW, UINT32_MAX);
  CHECK_NEXT(HF_JOIN, 1);
  CHECK_NEXT(HF_TIME_OUT, 1);
  CHECK_NEXT(HF_JOIN, 2);
  end(keys, 3);
}

// A beat with an older time than the slot's once set it back: the key died early, and its block was filed too late.
static void an_older_beat_does_not_set_a_key_back(void) {
  hf_object *key = hf_object_new(1);
  hf_fixture_init(&f, HF_CLOCK_MANUAL, (hf_hub_config){.default_timeout_ns = 10, .subscribed = HF_MASK(HF_TIME_OUT)});
  int64_t batch_ns = hf_hub_now(f.hub);  // as heartbeat_many does for its batch
  hf_fixture_advance(&f, 9);
  CHECK_EQ(hf_fixture_beat(&f, key, NULL), HF_OK);  // joins at 9: not due before 19
  CHECK_EQ(hf_hub_beat(f.hub, key, key->hash, hf_object_equal, batch_ns), HF_OK);
  hf_row row;
  CHECK_EQ(hf_hub_get(f.hub, key, key->hash, &row), HF_OK);
  CHECK(row.beat_ns >= row.join_ns);
  hf_object_release(row.key);
  CHECK(hf_hub_check(f.hub) == NULL);
  CHECK_EQ(row.deadline_ns, 19);
  end(&key, 1);
}

// A beat is given a time that is rounded up where all timeouts are long. A key that joined into its slot had that time,
// and so had the key itself once its timeout was short: both were noticed that much too late.
static void a_time_that_was_rounded_up_is_not_kept(void) {
  hf_object *keys[2] = {hf_object_new(1), hf_object_new(2)};
  hf_terms brief = {.timeout_ns = 5, .disposable = -1};
  hf_row row;
  hf_fixture_init(&f, HF_CLOCK_MANUAL, (hf_hub_config){.default_timeout_ns = 1000, .disposable = true});
  hf_fixture_advance(&f, 1);
  for (int other = 0; other < 2; other++) {
    hf_object *key = keys[0], *next = keys[other];
    CHECK_EQ(hf_fixture_beat(&f, key, NULL), HF_OK);
    CHECK_EQ(hf_hub_beat(f.hub, key, key->hash, hf_object_equal, hf_hub_now(f.hub) + 12), HF_OK);
    if (other) CHECK_EQ(hf_hub_remove(f.hub, key, key->hash), HF_OK);
    CHECK_EQ(hf_fixture_beat(&f, next, &brief), HF_OK);
    CHECK_EQ(hf_hub_get(f.hub, next, next->hash, &row), HF_OK);
    CHECK_EQ(row.beat_ns, hf_hub_now(f.hub));
    CHECK_EQ(row.deadline_ns, hf_hub_now(f.hub) + 5);
    CHECK(hf_hub_check(f.hub) == NULL);
    hf_object_release(row.key);
    hf_fixture_advance(&f, hf_hub_now(f.hub) + 5);
    CHECK_EQ(hf_hub_get(f.hub, next, next->hash, NULL), HF_NOT_WATCHED);
  }
  end(keys, 2);
}

// What was merged into a verdict once stayed in the key's own `missed`, so that it was told again.
static void timeouts_that_were_read_are_not_told_again(void) {
  hf_object *key = hf_object_new(1);
  hf_event event;
  hf_row row;
  hf_fixture_init(&f, HF_CLOCK_MANUAL, (hf_hub_config){.default_timeout_ns = 10, .subscribed = HF_MASK(HF_TIME_OUT)});
  hf_fixture_beat(&f, key, NULL);
  hf_fixture_advance(&f, 30);  // three, unread
  hf_fixture_beat(&f, key, NULL);
  hf_fixture_advance(&f, 40);  // one since the last beat
  CHECK_EQ(hf_hub_get(f.hub, key, key->hash, &row), HF_OK);
  CHECK_EQ(row.missed, 1);
  hf_object_release(row.key);
  CHECK_EQ(hf_fixture_drain(&f, HF_TO_READERS, &event, 1), 1);
  CHECK_EQ(event.missed, 4);
  hf_event_release(&event);
  hf_fixture_advance(&f, 50);  // the second since the last beat
  CHECK_EQ(hf_fixture_drain(&f, HF_TO_READERS, &event, 1), 1);
  CHECK_EQ(event.missed, 2);
  hf_event_release(&event);
  end(&key, 1);
}

// Deadlines that nobody would see were counted, and the next one, due as well, was left to a second look at the same
// time.
static void verdicts_of_one_look_are_in_the_order_of_their_deadlines_though_some_were_not_seen(void) {
  hf_event events[3];
  hf_object *often = hf_object_new(1), *once = hf_object_new(2);
  hf_terms terms = {.timeout_ns = 3, .disposable = 0};
  hf_fixture_init(&f, HF_CLOCK_MANUAL,
                  (hf_hub_config){.default_timeout_ns = 10, .disposable = true, .subscribed = HF_MASK(HF_TIME_OUT)});
  hf_fixture_beat(&f, often, &terms);
  hf_fixture_beat(&f, once, NULL);
  hf_fixture_advance(&f, 3);   // lost, unread
  hf_clock_set(&f.clock, 10);  // the worker was not there at 6 and 9
  hf_fixture_advance(&f, 11);  // and is at 10, where it knows that nobody looks before 11
  CHECK_EQ(hf_fixture_drain(&f, HF_TO_READERS, events, 3), 2);
  CHECK(events[0].deadline_ns == 9 && events[0].event_ns == 10 && events[0].missed == 3);
  CHECK(events[1].deadline_ns == 10 && events[1].event_ns == 10);
  for (int n = 0; n < 2; n++) hf_event_release(&events[n]);
  hf_object *keys[] = {often, once};
  end(keys, 2);
}

// Blocks that were due at one time once came in any order.
static void ties_of_several_blocks_stay_in_the_order_of_slots(void) {
  enum { N = 300 };
  hf_object *keys[N];
  hf_fixture_init(&f, HF_CLOCK_MANUAL,
                  (hf_hub_config){.default_timeout_ns = 10, .disposable = true, .subscribed = HF_MASK(HF_TIME_OUT)});
  for (uint32_t k = 0; k < N; k++) hf_fixture_beat(&f, keys[k] = hf_object_new(k), NULL);
  hf_fixture_advance(&f, 10);
  uint32_t n_wrong = 0;
  for (uint32_t n = 0, k; n < N; n++) {
    hf_fixture_next(&f, HF_TO_READERS, &k);
    n_wrong += k != n;
  }
  CHECK_EQ(n_wrong, 0);
  end(keys, N);
}

// It has no shard 0, and no bells. In a child, since it once crashed.
static void a_hub_that_was_never_opened_answers(void) {
  for (int call = 0; call < 3; call++) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
      close(2);
      hf_object *key = hf_object_new(1);
      hf_event event;
      bool right = call == 0   ? hf_hub_get(&hf_hub_unopened, key, key->hash, NULL) == HF_NOT_WATCHED
                   : call == 1 ? hf_hub_drain(&hf_hub_unopened, HF_TO_READERS, &event, 1) == 0
                               : (hf_hub_subscribe_callbacks(&hf_hub_unopened, HF_MASK(HF_JOIN)), true);
      _exit(right ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

static void *close_hub(void *argument) {
  hf_hub_close(f.hub);
  HF_STORE_SC((hf_atomic_u32 *)argument, hf_hub_has_ended(f.hub) ? 1 : 2);
  return NULL;
}

// The second of two closers once came back while the first still waited for the workers.
static void close_returns_when_the_hub_has_ended_to_the_second_closer_too(void) {
  pthread_t closers[2];
  hf_atomic_u32 ended[2] = {0, 0};
  hf_fixture_init(&f, HF_CLOCK_MONOTONIC, (hf_hub_config){.default_timeout_ns = 10});
  hf_lock *lock = &f.hub->shards[0].lock;
  hf_lock_acquire(lock);  // a long step
  hf_start(&closers[0], close_hub, &ended[0]);
  CHECK(HF_UNTIL(HF_LOAD_SC(&f.hub->closed)));
  hf_start(&closers[1], close_hub, &ended[1]);
  int64_t limit_ns = hf_now() + 100 * HF_MS;  // if it waits, as it should, this is all it costs
  while (!HF_LOAD_SC(&ended[1]) && hf_now() < limit_ns) sched_yield();
  hf_lock_release(lock);
  for (int n = 0; n < 2; n++) pthread_join(closers[n], NULL);
  CHECK_EQ(HF_LOAD_SC(&ended[0]), 1);
  CHECK_EQ(HF_LOAD_SC(&ended[1]), 1);
  end(NULL, 0);
}

#if HF_PARALLEL
static void *subscribe(void *argument) {
  hf_hub_subscribe_callbacks(f.hub, HF_MASK(*(hf_event_type *)argument));
  return NULL;
}

// `subscribed` was once read before the locks were taken: of two at once one was lost.
static void two_subscriptions_at_once_both_hold(void) {
  pthread_t threads[2];
  hf_event_type types[2] = {HF_JOIN, HF_REMOVE_KEY};
  hf_fixture_init(&f, HF_CLOCK_MANUAL, (hf_hub_config){.default_timeout_ns = 10});
  hf_shard *shard = &f.hub->shards[0];
  hf_lock_acquire(&shard->lock);
  for (int n = 0; n < 2; n++) hf_start(&threads[n], subscribe, &types[n]);
  CHECK(HF_UNTIL(HF_LOAD_RLX(&shard->lock.n_waiting) == 2));
  hf_lock_release(&shard->lock);
  for (int n = 0; n < 2; n++) pthread_join(threads[n], NULL);
  CHECK(hf_streams_want(&f.hub->streams, HF_JOIN));
  CHECK(hf_streams_want(&f.hub->streams, HF_REMOVE_KEY));
  end(NULL, 0);
}

static void *silence_often(void *argument) {
  for (int n = 0; n < 20000; n++) hf_bell_silence(argument);
  return NULL;
}

// For the thread sanitizer: write_fd, read with acquire, guards read_fd, which is plain.
static void a_bell_may_be_silenced_while_it_is_opened(void) {
  for (int n = 0; n < 5; n++) {
    hf_bell bell;
    pthread_t silencer;
    hf_bell_init(&bell);
    hf_start(&silencer, silence_often, &bell);
    for (int pause = 0; pause < 100; pause++) sched_yield();
    CHECK(hf_bell_open(&bell, -1, -1));
    pthread_join(silencer, NULL);
    hf_bell_deinit(&bell);
  }
}
#endif

int main(void) {
  RUN(an_overflow_does_not_let_a_verdict_overtake_its_keys_join);
  RUN(an_older_beat_does_not_set_a_key_back);
  RUN(a_time_that_was_rounded_up_is_not_kept);
  RUN(timeouts_that_were_read_are_not_told_again);
  RUN(verdicts_of_one_look_are_in_the_order_of_their_deadlines_though_some_were_not_seen);
  RUN(ties_of_several_blocks_stay_in_the_order_of_slots);
  RUN(a_hub_that_was_never_opened_answers);
  RUN(close_returns_when_the_hub_has_ended_to_the_second_closer_too);
#if HF_PARALLEL
  RUN(two_subscriptions_at_once_both_hold);
  RUN(a_bell_may_be_silenced_while_it_is_opened);
#endif
  return hf_test_end(__FILE__);
}
