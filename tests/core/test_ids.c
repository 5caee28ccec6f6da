// SPDX-License-Identifier: MIT
// Ids and pins, what a shard shows, loud keys, the order of the list, what is thrown away, many keys.
#include "hf_world.h"

static hf_world w;

static void an_id_is_its_keys_until_the_key_is_removed(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  uint64_t id = hf_world_pin(&w, 1);
  CHECK(hf_world_watches(&w, 1));
  hf_clock_set(&w.clock, 5);
  CHECK_EQ(hf_world_beat_id(&w, id), HF_OK);
  hf_world_step_at(&w, 15);
  CHECK_VERDICT(&w, 1, 15, 1);
  CHECK_EQ(w.shard.n_dead, 1);  // the slot waits for its id
  CHECK_EQ(hf_world_beat_id(&w, id), HF_SLOW);
  CHECK_EQ(hf_world_touch_id(&w, id), HF_OK);
  CHECK_EQ(hf_world_pin(&w, 1), id);
  CHECK_EQ(hf_world_remove(&w, 1), HF_OK);
  CHECK(hf_world_beat_id(&w, id) != HF_OK);
  CHECK_EQ(hf_world_touch_id(&w, id), HF_STALE_ID);
  CHECK(hf_world_pin(&w, 1) != id);
  CHECK_EQ(hf_world_touch_id(&w, id), HF_STALE_ID);
  hf_world_end(&w);
}

static void an_id_joins_its_key_anew_with_the_terms_it_had(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_terms terms = {.timeout_ns = 33, .disposable = 1, .has_extra = true, .extra = hf_object_new(9)};
  uint64_t id = 0;
  hf_world_touch(&w, 1, &terms, HF_TOUCH_BEAT | HF_TOUCH_PIN, &id);
  hf_object_release(terms.extra);
  for (int life = 0; life < 2; life++) {  // with its verdict unread, and read
    hf_world_step_at(&w, hf_world_now(&w) + 33);
    if (life) CHECK_VERDICT(&w, 1, 66, 2);
    CHECK_EQ(hf_world_touch_id(&w, id), HF_OK);
    hf_row row;
    CHECK_EQ(hf_world_get(&w, 1, &row), HF_OK);
    CHECK(row.timeout_ns == 33 && row.disposable && row.id == id && row.extra == NULL);
  }
  hf_world_step_at(&w, 99);
  CHECK_EQ(hf_world_beat(&w, 1), HF_OK);  // by key: the hub's
  hf_row row;
  hf_world_get(&w, 1, &row);
  CHECK_EQ(row.timeout_ns, 10);
  hf_world_end(&w);
}

static void a_pinned_key_removed_while_dead_is_not_watched_but_its_id_is_stale(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  uint64_t read = hf_world_pin(&w, 1), unread = hf_world_pin(&w, 2);
  hf_world_step_at(&w, 10);
  CHECK_VERDICT(&w, 1, 10, 1);
  CHECK_EQ(hf_world_remove(&w, 1), HF_NOT_WATCHED);
  CHECK_EQ(hf_world_remove(&w, 2), HF_NOT_WATCHED);
  CHECK_EQ(hf_world_touch_id(&w, read), HF_STALE_ID);
  CHECK_EQ(hf_world_touch_id(&w, unread), HF_STALE_ID);
  CHECK_VERDICT(&w, 2, 10, 1);
  CHECK_EQ(w.shard.map.n_keys, 0);
  hf_world_end(&w);
}

static void numbers_that_never_were_ids_are_stale(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  CHECK_EQ(hf_world_beat_id(&w, 0), HF_SLOW);
  CHECK_EQ(hf_world_touch_id(&w, 0), HF_STALE_ID);
  uint64_t id = hf_world_pin(&w, 1);
  uint64_t never[] = {0, id + 1, id + HF_SLAB_SLOTS, UINT32_MAX, id | UINT64_C(1) << 55, UINT64_C(1) << 32};
  for (uint32_t n = 0; n < sizeof never / sizeof *never; n++) {
    CHECK(hf_world_beat_id(&w, never[n]) != HF_OK);
    CHECK_EQ(hf_world_touch_id(&w, never[n]), HF_STALE_ID);
  }
  hf_world_end(&w);
}

static void a_note_is_no_ones_id(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  uint64_t id = hf_world_pin(&w, 1);
  hf_world_step_at(&w, 10);
  hf_world_touch_id(&w, id);  // its verdict is a NOTE now, in the next slot
  CHECK_EQ(hf_slots_state(&w.shard.slots, hf_id_slot(id) + 1), HF_NOTE);
  CHECK(hf_world_beat_id(&w, id + 1) != HF_OK);
  CHECK_EQ(hf_world_touch_id(&w, id + 1), HF_STALE_ID);
  CHECK_VERDICT(&w, 1, 10, 1);
  hf_world_end(&w);
}

static void to_be_shown_a_key_is_not_to_beat_it(void) {
  hf_world_init(&w, 10, false, HF_EVENTS_ALL);
  hf_world_beat(&w, 1);
  hf_clock_set(&w.clock, 4);
  uint64_t id = hf_world_pin(&w, 1);
  hf_terms terms = {.timeout_ns = 99, .disposable = 1};
  CHECK_EQ(hf_world_touch(&w, 1, &terms, HF_TOUCH_BEAT | HF_TOUCH_TERMS_TO_JOIN, NULL), HF_OK);
  hf_row row;
  hf_world_get(&w, 1, &row);
  CHECK(row.beat_ns == 4 && row.timeout_ns == 10 && !row.disposable && row.id == id);
  hf_world_step_at(&w, 14);
  CHECK_EQ(hf_world_touch(&w, 1, NULL, 0, NULL), HF_OK);  // a handle on a LOST key leaves it so
  hf_world_get(&w, 1, &row);
  CHECK(row.lost && row.missed == 1 && row.deadline_ns == 24);
  CHECK_VERDICT(&w, 1, 14, 1);
  hf_world_end(&w);
}

static void events_tell_joins_beats_recoveries_and_removals_in_order(void) {
  hf_world_init(&w, 10, false, HF_EVENTS_ALL);
  hf_world_beat(&w, 1);
  hf_clock_set(&w.clock, 3);
  CHECK_EQ(hf_world_beat_hot(&w, 1), HF_SLOW);  // loud: each beat is an event
  hf_world_beat(&w, 1);
  hf_world_step_at(&w, 13);
  hf_world_beat(&w, 1);
  hf_world_remove(&w, 1);
  static const hf_event_type types[] = {HF_JOIN,    HF_HEART_BEAT, HF_HEART_BEAT,
                                        HF_RECOVER, HF_HEART_BEAT, HF_REMOVE_KEY};
  for (int n = 0; n < 6; n++) CHECK_EQ(hf_world_pop(&w).type, types[n]);
  CHECK_EQ(hf_world_pop(&w).type, HF_N_EVENT_TYPES);
  CHECK_VERDICT(&w, 1, 13, 1);
  hf_world_end(&w);
}

static void beats_become_loud_and_quiet_again(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  HF_STORE_RLX(&w.streams.subscribed, HF_MASK(HF_TIME_OUT) | HF_MASK(HF_HEART_BEAT));
  hf_shard_set_loud(&w.shard, true);
  CHECK_EQ(hf_world_beat_hot(&w, 1), HF_SLOW);
  hf_world_beat(&w, 1);
  CHECK_EQ(hf_world_pop(&w).type, HF_HEART_BEAT);
  HF_STORE_RLX(&w.streams.subscribed, HF_MASK(HF_TIME_OUT));
  hf_shard_set_loud(&w.shard, false);
  CHECK_EQ(hf_world_beat_hot(&w, 1), HF_OK);
  hf_world_step_at(&w, 10);
  CHECK_VERDICT(&w, 1, 10, 1);
  hf_world_end(&w);
}

static void verdicts_of_one_late_step_stand_in_the_order_of_their_deadlines(void) {
  enum { N = 200 };
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_random random = hf_random_from(hf_test_seed = 3);
  for (uint32_t k = 0; k < N; k++) hf_world_beat_timeout(&w, k, 1 + hf_random_below(&random, 90));
  CHECK_EQ(hf_world_step_at(&w, 100), N);
  int64_t last_ns = 0;
  for (uint32_t n = 0, k; n < N; n++) {
    hf_event event = hf_world_take(&w, &k);
    CHECK(event.deadline_ns >= last_ns);
    last_ns = event.deadline_ns;
  }
  CHECK_NO_VERDICT(&w);
  hf_world_end(&w);
}

static void ties_stand_in_the_order_in_which_they_joined(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  for (uint32_t k = 0; k < 60; k++) hf_world_beat(&w, k);
  hf_world_step_at(&w, 10);
  for (uint32_t k = 0; k < 60; k++) CHECK_VERDICT(&w, k, 10, 1);
  hf_world_end(&w);
}

static void the_list_shows_each_watched_key_once_whatever_the_page(void) {
  enum { N = 150 };
  hf_world_init(&w, 10, false, HF_MASK(HF_TIME_OUT));
  hf_row rows[N];
  uint32_t cursor = 0;
  CHECK_EQ(hf_shard_list(&w.shard, &cursor, rows, 5), 0);
  CHECK_EQ(cursor, 0);
  for (uint32_t k = 0; k < N; k++) hf_world_beat(&w, k);
  for (uint32_t k = 0; k < N; k += 3) hf_world_remove(&w, k);
  for (uint32_t page = 1; page <= N; page = page * 2 + 1) {
    bool seen[N] = {false};
    uint32_t n_seen = 0;
    do {
      uint32_t n = hf_shard_list(&w.shard, &cursor, rows, page);
      for (uint32_t r = 0; r < n; r++) {
        uint32_t k = hf_object_number(rows[r].key);
        CHECK(k % 3 != 0 && !seen[k]);
        seen[k] = true;
        hf_object_release(rows[r].key);
      }
      n_seen += n;
    } while (cursor);
    CHECK_EQ(n_seen, N - N / 3);
  }
  hf_world_end(&w);
}

static void verdicts_that_nobody_wants_do_not_pile_up(void) {
  hf_world_init(&w, 10, true, 0);
  for (uint32_t round = 0; round < 20; round++) {
    for (uint32_t k = 0; k < 100; k++) hf_world_beat_extra(&w, k, k);
    hf_world_step_at(&w, hf_world_now(&w) + 10);
    CHECK(HF_LOAD_RLX(&w.shard.n_pending) <= 100);
  }
  for (int n = 0; n < 30; n++) {
    hf_trash trash = {0};
    hf_shard_empty_trash(&w.shard, &trash);
    hf_world_empty(&w, &trash);
  }
  CHECK_NO_VERDICT(&w);
  CHECK_EQ(w.shard.map.n_keys, 0);
  hf_world_end(&w);
}

static void merged_verdicts_do_not_pile_up_and_slots_are_used_again(void) {
  hf_world_init(&w, 10, true, HF_EVENTS_ALL);
  for (uint32_t round = 0; round < 50; round++) {
    for (uint32_t k = 0; k < 100; k++) hf_world_beat_extra(&w, k, k);
    hf_world_step_at(&w, hf_world_now(&w) + 10);
  }
  CHECK_EQ(HF_LOAD_RLX(&w.shard.n_pending), 100);
  CHECK(w.shard.slots.n_touched <= 301);
  for (uint32_t k = 0; k < 100; k++) CHECK_VERDICT(&w, k, 500, 50);
  CHECK(w.most_trash <= 24);  // far from HF_TRASH_MAX
  hf_world_end(&w);
}

static void a_hundred_thousand_keys_time_out_once_each(void) {
  enum { N = 100000 };
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  for (uint32_t k = 0; k < N; k++) {
    hf_trash trash = {0};
    hf_object *key = hf_object_new(k);
    hf_terms terms = {.timeout_ns = 10 + k % 1000, .disposable = -1};
    CHECK_EQ(hf_shard_touch(&w.shard, key, hf_hash_tag(key->hash), &terms, HF_TOUCH_BEAT, NULL, &trash), HF_OK);
    hf_object_release(key);
  }
  CHECK_SOUND(&w.shard);
  CHECK_EQ(hf_world_step_at(&w, 2000), N);
  bool *seen = calloc(N, sizeof *seen);
  for (uint32_t n = 0; n < N; n++) {
    hf_event event;
    hf_shard_take(&w.shard, &event);
    uint32_t k = hf_object_number(event.key);
    CHECK(!seen[k] && event.deadline_ns == 10 + k % 1000 && event.missed == 1);
    seen[k] = true;
    hf_event_release(&event);
  }
  free(seen);
  CHECK_NO_VERDICT(&w);
  CHECK_EQ(w.shard.slots.n_free, N);
  hf_world_end(&w);
}

int main(void) {
  RUN(an_id_is_its_keys_until_the_key_is_removed);
  RUN(an_id_joins_its_key_anew_with_the_terms_it_had);
  RUN(a_pinned_key_removed_while_dead_is_not_watched_but_its_id_is_stale);
  RUN(numbers_that_never_were_ids_are_stale);
  RUN(a_note_is_no_ones_id);
  RUN(to_be_shown_a_key_is_not_to_beat_it);
  RUN(events_tell_joins_beats_recoveries_and_removals_in_order);
  RUN(beats_become_loud_and_quiet_again);
  RUN(verdicts_of_one_late_step_stand_in_the_order_of_their_deadlines);
  RUN(ties_stand_in_the_order_in_which_they_joined);
  RUN(the_list_shows_each_watched_key_once_whatever_the_page);
  RUN(verdicts_that_nobody_wants_do_not_pile_up);
  RUN(merged_verdicts_do_not_pile_up_and_slots_are_used_again);
  RUN(a_hundred_thousand_keys_time_out_once_each);
  return hf_test_end(__FILE__);
}
