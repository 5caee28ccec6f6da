// SPDX-License-Identifier: MIT
// A hub on a manual clock, one thread: shards together, streams, order, subscriptions, close.
#include "hf_hub_test.h"

enum { N = 300 };

static hf_fixture f;
static hf_object *keys[N];

static void open_hub(hf_hub_config config) {
  hf_fixture_init(&f, HF_CLOCK_MANUAL, config);
  for (uint32_t k = 0; k < N; k++) keys[k] = hf_object_new(k);
}

static void end_hub(void) {
  CHECK(hf_hub_check(f.hub) == NULL);
  hf_fixture_deinit(&f);
  for (uint32_t k = 0; k < N; k++) hf_object_release(keys[k]);
  CHECK_EQ(HF_LOAD_RLX(&hf_objects_alive), 0);
}

static void beat(uint32_t k, int64_t timeout_ns) {
  hf_terms terms = {.timeout_ns = timeout_ns, .disposable = -1};
  CHECK_EQ(hf_fixture_beat(&f, keys[k], timeout_ns ? &terms : NULL), HF_OK);
}

#define CHECK_NEXT(stream, expected_type, expected_key)             \
  do {                                                              \
    uint32_t k_;                                                    \
    CHECK_EQ(hf_fixture_next(&f, stream, &k_).type, expected_type); \
    CHECK_EQ(k_, expected_key);                                     \
  } while (0)
#define CHECK_NONE(stream) CHECK_NEXT(stream, HF_N_EVENT_TYPES, UINT32_MAX)

static void verdicts_of_all_shards_come_in_the_order_of_their_deadlines(void) {
  open_hub((hf_hub_config){.n_shards = 7, .subscribed = HF_MASK(HF_TIME_OUT), .disposable = true});
  hf_random random = hf_random_from(hf_test_seed = 1);
  for (uint32_t k = 0; k < N; k++) beat(k, 1 + hf_random_below(&random, 1000));
  CHECK_EQ(hf_hub_count(f.hub), N);
  hf_fixture_advance(&f, 2000);
  CHECK_EQ(hf_hub_waiting(f.hub, HF_TO_READERS), N);
  hf_event events[64];
  int64_t last_ns = 0;
  uint32_t n_all = 0;
  for (uint32_t n; (n = hf_hub_drain(f.hub, HF_TO_READERS, events, 64)) > 0; n_all += n)
    for (uint32_t e = 0; e < n; e++) {
      CHECK(events[e].deadline_ns >= last_ns && events[e].event_ns == events[e].deadline_ns);
      last_ns = events[e].deadline_ns;
      hf_event_release(&events[e]);
    }
  CHECK_EQ(n_all, N);
  CHECK_EQ(hf_hub_count(f.hub), 0);
  end_hub();
}

static void shards_share_the_keys_about_evenly(void) {
  open_hub((hf_hub_config){.n_shards = 4, .default_timeout_ns = 10});
  for (uint32_t k = 0; k < N; k++) beat(k, 0);
  for (uint32_t s = 0; s < 4; s++) {
    hf_shard_stats stats;
    hf_hub_stats(f.hub, s, &stats);
    CHECK(stats.n_keys > N / 8 && stats.n_keys < N / 2);
  }
  end_hub();
}

static void the_list_goes_over_all_shards(void) {
  open_hub((hf_hub_config){.n_shards = 5, .default_timeout_ns = 10});
  for (uint32_t k = 0; k < N; k++) beat(k, 0);
  for (uint32_t page = 1; page <= 512; page *= 8) {
    bool seen[N] = {false};
    hf_row rows[512];
    uint64_t cursor = 0;
    uint32_t n_all = 0;
    do {
      uint32_t n = hf_hub_list(f.hub, &cursor, rows, page);
      for (uint32_t r = 0; r < n; r++) {
        uint32_t k = hf_object_number(rows[r].key);
        CHECK(!seen[k]);
        seen[k] = true;
        hf_object_release(rows[r].key);
      }
      n_all += n;
    } while (cursor);
    CHECK_EQ(n_all, N);
  }
  end_hub();
}

static void an_id_finds_its_shard(void) {
  open_hub((hf_hub_config){.n_shards = 6, .default_timeout_ns = 10, .subscribed = HF_MASK(HF_TIME_OUT)});
  for (uint32_t k = 0; k < N; k++) {
    uint64_t id = 0;
    CHECK_EQ(hf_hub_touch(f.hub, keys[k], keys[k]->hash, &hf_no_terms, HF_TOUCH_PIN, &id), HF_OK);
    CHECK_EQ(hf_id_shard(id), hf_hash_shard(keys[k]->hash, 6));
    CHECK_EQ(hf_hub_beat_id(f.hub, id, 5), HF_OK);
    CHECK_EQ(hf_hub_beat_id(f.hub, id | UINT64_C(63) << 56, 5), HF_STALE_ID);
    CHECK_EQ(hf_hub_touch_id(f.hub, id | UINT64_C(63) << 56, &hf_no_terms, HF_TOUCH_BEAT), HF_STALE_ID);
  }
  hf_fixture_advance(&f, 14);
  CHECK_EQ(hf_hub_waiting(f.hub, HF_TO_READERS), 0);
  end_hub();
}

static void a_keys_events_and_verdicts_come_in_their_true_order(void) {
  open_hub((hf_hub_config){.n_shards = 3, .default_timeout_ns = 10, .subscribed = HF_MASK(HF_N_EVENT_TYPES) - 1});
  beat(1, 0);
  hf_fixture_advance(&f, 5);
  beat(2, 0);
  hf_fixture_advance(&f, 12);
  beat(1, 0);
  CHECK_EQ(hf_fixture_remove(&f, keys[2]), HF_OK);
  CHECK_NEXT(HF_TO_READERS, HF_JOIN, 1);
  CHECK_NEXT(HF_TO_READERS, HF_HEART_BEAT, 1);
  CHECK_NEXT(HF_TO_READERS, HF_JOIN, 2);
  CHECK_NEXT(HF_TO_READERS, HF_HEART_BEAT, 2);
  CHECK_NEXT(HF_TO_READERS, HF_TIME_OUT, 1);
  CHECK_NEXT(HF_TO_READERS, HF_RECOVER, 1);
  CHECK_NEXT(HF_TO_READERS, HF_HEART_BEAT, 1);
  CHECK_NEXT(HF_TO_READERS, HF_REMOVE_KEY, 2);
  CHECK_NONE(HF_TO_READERS);
  end_hub();
}

static void each_type_goes_to_one_stream(void) {
  open_hub((hf_hub_config){.default_timeout_ns = 10,
                           .disposable = true,
                           .subscribed = HF_MASK(HF_TIME_OUT) | HF_MASK(HF_JOIN),
                           .to_callbacks = HF_MASK(HF_TIME_OUT)});
  beat(1, 0);
  hf_fixture_advance(&f, 10);
  CHECK_EQ(hf_hub_waiting(f.hub, HF_TO_READERS), 1);
  CHECK_EQ(hf_hub_waiting(f.hub, HF_TO_CALLBACKS), 1);
  CHECK_NEXT(HF_TO_READERS, HF_JOIN, 1);
  CHECK_NONE(HF_TO_READERS);
  CHECK_NEXT(HF_TO_CALLBACKS, HF_TIME_OUT, 1);
  CHECK_NONE(HF_TO_CALLBACKS);
  end_hub();
}

static void waiting_verdicts_change_hands_with_a_subscription(void) {
  open_hub((hf_hub_config){.default_timeout_ns = 10, .disposable = true, .subscribed = HF_MASK(HF_TIME_OUT)});
  beat(1, 0);
  hf_fixture_advance(&f, 10);
  hf_hub_subscribe_callbacks(f.hub, HF_MASK(HF_TIME_OUT) | HF_MASK(HF_HEART_BEAT));
  CHECK_NONE(HF_TO_READERS);
  CHECK_NEXT(HF_TO_CALLBACKS, HF_TIME_OUT, 1);
  beat(2, 0);
  beat(2, 0);  // loud now
  CHECK_NEXT(HF_TO_CALLBACKS, HF_HEART_BEAT, 2);
  CHECK_NEXT(HF_TO_CALLBACKS, HF_HEART_BEAT, 2);
  CHECK_NONE(HF_TO_CALLBACKS);
  end_hub();
}

static void subscribing_to_beats_makes_living_keys_loud(void) {
  open_hub((hf_hub_config){.default_timeout_ns = 10, .subscribed = HF_MASK(HF_TIME_OUT)});
  beat(1, 0);
  hf_hub_subscribe_callbacks(f.hub, HF_MASK(HF_HEART_BEAT));
  beat(1, 0);
  CHECK_NEXT(HF_TO_CALLBACKS, HF_HEART_BEAT, 1);
  end_hub();
}

static void a_full_ring_never_costs_a_verdict(void) {
  open_hub((hf_hub_config){.default_timeout_ns = 10,
                           .disposable = true,
                           .ring_limit = 4,
                           .subscribed = HF_MASK(HF_TIME_OUT) | HF_MASK(HF_JOIN) | HF_MASK(HF_OVERFLOW)});
  for (uint32_t k = 0; k < N; k++) beat(k, 0);
  hf_fixture_advance(&f, 10);
  hf_stream_stats stats;
  hf_hub_stream_stats(f.hub, &stats);
  CHECK(stats.n_dropped == N - 4 && stats.n_overflows == 1 && stats.n_waiting[HF_TO_READERS] == N + 5);
  CHECK_NEXT(HF_TO_READERS, HF_OVERFLOW, UINT32_MAX);
  for (uint32_t k = N - 4; k < N; k++) CHECK_NEXT(HF_TO_READERS, HF_JOIN, k);
  for (uint32_t k = 0; k < N; k++) {
    uint32_t number;
    CHECK_EQ(hf_fixture_next(&f, HF_TO_READERS, &number).type, HF_TIME_OUT);
  }
  CHECK_NONE(HF_TO_READERS);
  end_hub();
}

static void two_hubs_on_one_clock_advance_together(void) {
  hf_fixture other;
  open_hub((hf_hub_config){.default_timeout_ns = 10, .subscribed = HF_MASK(HF_TIME_OUT)});
  hf_hub_config config = {.n_shards = 1,
                          .default_timeout_ns = 15,
                          .subscribed = HF_MASK(HF_TIME_OUT),
                          .ring_limit = 8,
                          .clock_kind = HF_CLOCK_MANUAL,
                          .manual_clock = &f.clock,
                          .ops = hf_object_get_ops()};
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_bell_init(&other.bells[s]);
    config.bells[s] = &other.bells[s];
  }
  CHECK_EQ(hf_hub_create(&config, &other.hub), HF_OK);
  beat(1, 0);
  CHECK_EQ(hf_fixture_beat(&other, keys[1], NULL), HF_OK);
  hf_hub *both[] = {f.hub, other.hub};
  hf_hub_advance(both, 2, &f.clock, 45);
  uint32_t k;
  hf_event mine = hf_fixture_next(&f, HF_TO_READERS, &k), others = hf_fixture_next(&other, HF_TO_READERS, &k);
  CHECK(mine.missed == 4 && mine.event_ns == 40 && mine.deadline_ns == 40);
  CHECK(others.missed == 3 && others.event_ns == 45 && others.deadline_ns == 45);
  hf_hub_close(other.hub);
  hf_hub_advance(both, 2, &f.clock, 50);  // a closed hub is left alone
  CHECK_EQ(hf_clock_now(&f.clock), 50);
  CHECK_EQ(hf_fixture_next(&other, HF_TO_READERS, &k).type, HF_N_EVENT_TYPES);
  hf_fixture_deinit(&other);
  end_hub();
}

static void a_closed_hub_takes_no_beats_and_gives_what_is_left(void) {
  open_hub((hf_hub_config){.n_shards = 2, .default_timeout_ns = 10, .subscribed = HF_MASK(HF_TIME_OUT)});
  uint64_t id = 0;
  CHECK_EQ(hf_hub_touch(f.hub, keys[1], keys[1]->hash, &hf_no_terms, HF_TOUCH_PIN, &id), HF_OK);
  hf_fixture_advance(&f, 10);
  CHECK(!hf_hub_has_ended(f.hub));
  hf_hub_close(f.hub);
  hf_hub_close(f.hub);
  CHECK(hf_hub_has_ended(f.hub));
  CHECK_EQ(hf_hub_beat(f.hub, keys[1], keys[1]->hash, hf_object_equal, 10), HF_CLOSED);
  CHECK_EQ(hf_hub_beat_id(f.hub, id, 10), HF_CLOSED);
  CHECK_EQ(hf_hub_touch(f.hub, keys[1], keys[1]->hash, &hf_no_terms, HF_TOUCH_BEAT, NULL), HF_CLOSED);
  CHECK_EQ(hf_hub_touch_id(f.hub, id, &hf_no_terms, HF_TOUCH_BEAT), HF_CLOSED);
  CHECK_EQ(hf_hub_remove(f.hub, keys[1], keys[1]->hash), HF_CLOSED);
  CHECK_EQ(hf_hub_get(f.hub, keys[1], keys[1]->hash, NULL), HF_OK);
  CHECK_NEXT(HF_TO_READERS, HF_TIME_OUT, 1);
  CHECK_NONE(HF_TO_READERS);
  end_hub();
}

static void the_bell_is_readable_while_an_event_waits_and_silent_after(void) {
  open_hub((hf_hub_config){.default_timeout_ns = 10, .disposable = true, .subscribed = HF_MASK(HF_TIME_OUT)});
  hf_bell *bell = &f.bells[HF_TO_READERS];
  CHECK(hf_bell_open(bell, -1, -1));
  CHECK_NONE(HF_TO_READERS);  // a new bell may ring once for nothing
  CHECK_EQ(hf_bell_wait(bell, 0), HF_BELL_TIMED_OUT);
  beat(1, 0);
  beat(2, 0);
  CHECK_EQ(hf_bell_wait(bell, 0), HF_BELL_TIMED_OUT);
  hf_fixture_advance(&f, 10);
  CHECK_EQ(hf_bell_wait(bell, 0), HF_BELL_RUNG);
  CHECK_NEXT(HF_TO_READERS, HF_TIME_OUT, 1);
  CHECK_EQ(hf_bell_wait(bell, 0), HF_BELL_RUNG);
  CHECK_NEXT(HF_TO_READERS, HF_TIME_OUT, 2);
  CHECK_NONE(HF_TO_READERS);
  CHECK_EQ(hf_bell_wait(bell, 0), HF_BELL_TIMED_OUT);
  hf_hub_close(f.hub);
  CHECK_NONE(HF_TO_READERS);
  CHECK_EQ(hf_bell_wait(bell, 0), HF_BELL_RUNG);  // it ended: no reader waits for what will not come
  end_hub();
}

int main(void) {
  RUN(verdicts_of_all_shards_come_in_the_order_of_their_deadlines);
  RUN(shards_share_the_keys_about_evenly);
  RUN(the_list_goes_over_all_shards);
  RUN(an_id_finds_its_shard);
  RUN(a_keys_events_and_verdicts_come_in_their_true_order);
  RUN(each_type_goes_to_one_stream);
  RUN(waiting_verdicts_change_hands_with_a_subscription);
  RUN(subscribing_to_beats_makes_living_keys_loud);
  RUN(a_full_ring_never_costs_a_verdict);
  RUN(two_hubs_on_one_clock_advance_together);
  RUN(a_closed_hub_takes_no_beats_and_gives_what_is_left);
  RUN(the_bell_is_readable_while_an_event_waits_and_silent_after);
  return hf_test_end(__FILE__);
}
