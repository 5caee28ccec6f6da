// SPDX-License-Identifier: MIT
// A shard in virtual time: beats, verdicts, recovery, removal. Ids and lists are in test_ids.c.
#include "hf_world.h"

static hf_world w;

static void a_key_that_does_not_beat_times_out_once_and_is_gone(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  CHECK_EQ(hf_world_beat(&w, 1), HF_OK);
  CHECK(hf_world_watches(&w, 1));
  CHECK_EQ(hf_world_step_at(&w, 9), 0);
  CHECK_EQ(hf_world_step_at(&w, 10), 1);
  CHECK(!hf_world_watches(&w, 1));
  CHECK_EQ(hf_world_step_at(&w, 1000), 0);
  CHECK_EQ(hf_heap_min(&w.shard.heap), HF_NEVER);
  CHECK_VERDICT(&w, 1, 10, 1);
  CHECK_NO_VERDICT(&w);
  CHECK_EQ(w.shard.n_dead, 0);
  hf_world_end(&w);
}

static void a_hot_beat_moves_the_deadline_and_files_nothing(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_clock_set(&w.clock, 9);
  int64_t filed_ns = hf_heap_min(&w.shard.heap);
  CHECK_EQ(hf_world_beat_hot(&w, 1), HF_OK);
  CHECK_EQ(hf_heap_min(&w.shard.heap), filed_ns);
  CHECK_EQ(hf_world_step_at(&w, 18), 0);
  CHECK_EQ(hf_heap_min(&w.shard.heap), 19);
  CHECK_EQ(hf_world_step_at(&w, 19), 1);
  CHECK_EQ(hf_world_beat_hot(&w, 1), HF_SLOW);
  CHECK_VERDICT(&w, 1, 19, 1);
  hf_world_end(&w);
}

static void a_late_step_names_the_deadline_not_the_time_it_looked(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_step_at(&w, 500);
  uint32_t k;
  hf_event event = hf_world_take(&w, &k);
  CHECK(event.deadline_ns == 10 && event.event_ns == 500 && event.beat_ns == 0 && event.join_ns == 0);
  CHECK_EQ(w.shard.counters.max_lateness_ns, 490);
  hf_world_end(&w);
}

static void a_key_that_stays_times_out_each_timeout_until_it_beats(void) {
  hf_world_init(&w, 10, false, HF_EVENTS_ALL & ~HF_MASK(HF_HEART_BEAT));
  hf_world_beat(&w, 1);
  CHECK_EQ(hf_world_pop(&w).type, HF_JOIN);
  for (int64_t n = 1; n <= 3; n++) {
    hf_world_step_at(&w, 10 * n);
    CHECK_VERDICT(&w, 1, 10 * n, n);
  }
  CHECK_EQ(w.shard.n_lost, 1);
  hf_clock_set(&w.clock, 34);
  CHECK_EQ(hf_world_beat_hot(&w, 1), HF_SLOW);
  CHECK_EQ(hf_world_beat(&w, 1), HF_OK);
  hf_event recover = hf_world_pop(&w);
  CHECK(recover.type == HF_RECOVER && recover.missed == 3 && recover.beat_ns == 34 && recover.deadline_ns == 44);
  CHECK_EQ(recover.join_ns, 0);
  CHECK_EQ(w.shard.n_lost, 0);
  CHECK_EQ(hf_world_step_at(&w, 43), 0);
  CHECK_EQ(hf_world_step_at(&w, 44), 1);
  CHECK_VERDICT(&w, 1, 44, 1);
  hf_world_end(&w);
}

static void timeouts_missed_while_nobody_looked_are_counted_from_deadline_to_deadline(void) {
  hf_world_init(&w, 10, false, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  CHECK_EQ(hf_world_step_at(&w, 57), 1);  // 10, 20, 30, 40, 50
  CHECK_EQ(hf_heap_min(&w.shard.heap), 60);
  CHECK_EQ(w.shard.counters.n_verdicts, 5);
  CHECK_VERDICT(&w, 1, 50, 5);
  hf_world_step_at(&w, 60);
  CHECK_VERDICT(&w, 1, 60, 6);
  hf_world_end(&w);
}

static void unread_verdicts_of_a_lost_key_are_one_which_speaks_for_all_and_goes_to_the_end(void) {
  hf_world_init(&w, 10, false, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_beat_timeout(&w, 2, 15);
  hf_world_step_at(&w, 10);
  hf_world_step_at(&w, 15);
  hf_world_step_at(&w, 20);
  CHECK_EQ(HF_LOAD_RLX(&w.shard.n_pending), 2);
  CHECK_VERDICT(&w, 2, 15, 1);
  CHECK_VERDICT(&w, 1, 20, 2);
  hf_world_end(&w);
}

static void an_unread_verdict_outlives_the_keys_next_life_unchanged(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat_extra(&w, 1, 100);
  hf_world_step_at(&w, 12);
  hf_terms terms = {.timeout_ns = 77, .disposable = 0, .has_extra = true, .extra = hf_object_new(101)};
  CHECK_EQ(hf_world_touch(&w, 1, &terms, HF_TOUCH_BEAT, NULL), HF_OK);
  hf_object_release(terms.extra);
  CHECK(hf_world_watches(&w, 1));
  hf_event event;
  hf_shard_take(&w.shard, &event);
  CHECK(event.deadline_ns == 10 && event.event_ns == 12 && event.timeout_ns == 10 && event.join_ns == 0);
  CHECK(event.disposable && event.missed == 1 && event.beat_ns == 0);
  CHECK_EQ(hf_object_number(event.extra), 100);
  hf_event_release(&event);
  hf_row row;
  CHECK_EQ(hf_world_get(&w, 1, &row), HF_OK);
  CHECK(row.timeout_ns == 77 && !row.disposable && row.join_ns == 12 && row.missed == 0);
  hf_world_end(&w);
}

static void verdicts_of_two_lives_merge_into_the_later(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_step_at(&w, 10);
  hf_world_beat(&w, 2);
  hf_world_beat_timeout(&w, 1, 30);
  hf_world_step_at(&w, 20);
  hf_world_step_at(&w, 40);
  CHECK_EQ(HF_LOAD_RLX(&w.shard.n_pending), 2);
  CHECK_VERDICT(&w, 2, 20, 1);
  CHECK_VERDICT(&w, 1, 40, 2);
  CHECK_NO_VERDICT(&w);
  hf_world_end(&w);
}

static void an_unread_verdict_keeps_its_place_when_the_key_recovers(void) {
  hf_world_init(&w, 10, false, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_step_at(&w, 5);
  hf_world_beat(&w, 2);
  hf_world_step_at(&w, 10);
  hf_world_step_at(&w, 15);
  hf_world_beat(&w, 1);
  CHECK_VERDICT(&w, 1, 10, 1);
  CHECK_VERDICT(&w, 2, 15, 1);
  hf_world_end(&w);
}

static void a_removed_key_gives_no_verdict_and_is_told(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT) | HF_MASK(HF_REMOVE_KEY));
  hf_world_beat(&w, 1);
  hf_clock_set(&w.clock, 3);
  CHECK_EQ(hf_world_remove(&w, 1), HF_OK);
  CHECK_EQ(hf_world_remove(&w, 1), HF_NOT_WATCHED);
  CHECK_EQ(hf_world_remove(&w, 2), HF_NOT_WATCHED);
  CHECK_EQ(hf_world_step_at(&w, 100), 0);
  hf_event event = hf_world_pop(&w);
  CHECK(event.type == HF_REMOVE_KEY && event.event_ns == 3);
  CHECK_EQ(hf_world_pop(&w).type, HF_N_EVENT_TYPES);
  CHECK_EQ(w.shard.counters.n_removals, 1);
  hf_world_end(&w);
}

static void remove_keeps_an_unread_verdict_in_every_state(void) {
  hf_world_init(&w, 10, false, HF_MASK(HF_TIME_OUT));
  hf_terms disposable = {.disposable = 1};
  hf_world_touch(&w, 1, &disposable, HF_TOUCH_BEAT, NULL);  // to be DEAD
  hf_world_beat_extra(&w, 2, 200);                          // to be LOST
  hf_world_touch(&w, 3, &disposable, HF_TOUCH_BEAT, NULL);  // to live again
  hf_world_beat_extra(&w, 4, 400);                          // to recover
  hf_world_step_at(&w, 10);
  hf_world_beat(&w, 3);
  hf_world_beat(&w, 4);
  CHECK_EQ(hf_world_remove(&w, 1), HF_NOT_WATCHED);
  for (uint32_t k = 2; k <= 4; k++) CHECK_EQ(hf_world_remove(&w, k), HF_OK);
  CHECK_SOUND(&w.shard);
  CHECK(w.shard.n_watched == 0 && w.shard.n_lost == 0 && w.shard.n_dead == 4);
  for (uint32_t k = 1; k <= 4; k++) CHECK_VERDICT(&w, k, 10, 1);
  CHECK_EQ(w.shard.n_dead, 0);
  CHECK_EQ(w.shard.map.n_keys, 0);
  hf_world_end(&w);
}

static void a_key_removed_with_its_verdict_unread_may_join_and_time_out_again_as_one_event(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_step_at(&w, 10);
  hf_world_remove(&w, 1);
  hf_world_beat(&w, 1);
  hf_world_step_at(&w, 20);
  CHECK_EQ(HF_LOAD_RLX(&w.shard.n_pending), 1);
  CHECK_VERDICT(&w, 1, 20, 2);
  hf_world_end(&w);
}

static void a_lost_key_removed_and_joined_again_starts_anew(void) {
  hf_world_init(&w, 10, false, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_step_at(&w, 35);
  hf_world_remove(&w, 1);
  hf_clock_set(&w.clock, 36);
  hf_world_beat(&w, 1);
  hf_row row;
  hf_world_get(&w, 1, &row);
  CHECK(row.join_ns == 36 && row.deadline_ns == 46 && row.missed == 0 && !row.lost);
  CHECK_VERDICT(&w, 1, 30, 3);
  hf_world_step_at(&w, 46);
  CHECK_VERDICT(&w, 1, 46, 1);
  hf_world_end(&w);
}

static void a_shortened_timeout_holds_at_once_and_a_longer_one_from_its_beat(void) {
  hf_world_init(&w, 100, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_beat(&w, 2);
  hf_clock_set(&w.clock, 10);
  hf_world_beat_timeout(&w, 1, 5);
  CHECK_EQ(hf_heap_min(&w.shard.heap), 15);
  hf_world_beat_timeout(&w, 2, 500);
  CHECK_EQ(hf_world_step_at(&w, 14), 0);
  CHECK_EQ(hf_world_step_at(&w, 15), 1);
  CHECK_EQ(hf_world_step_at(&w, 509), 0);
  CHECK_EQ(hf_world_step_at(&w, 510), 1);
  CHECK_VERDICT(&w, 1, 15, 1);
  CHECK_VERDICT(&w, 2, 510, 1);
  hf_world_end(&w);
}

static void a_short_timeout_is_on_time_beside_a_long_one(void) {
  hf_world_init(&w, 0, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat_timeout(&w, 1, 5000);
  hf_world_beat_timeout(&w, 2, 500);
  CHECK_EQ(hf_heap_min(&w.shard.heap), 500);
  hf_world_advance(&w, 6000, false);
  CHECK_VERDICT(&w, 2, 500, 1);
  CHECK_VERDICT(&w, 1, 5000, 1);
  hf_world_end(&w);
}

static void a_key_without_a_timeout_joins_only_if_the_hub_has_one(void) {
  hf_world_init(&w, 0, true, HF_MASK(HF_TIME_OUT));
  CHECK_EQ(hf_world_beat(&w, 1), HF_NO_TIMEOUT);
  CHECK_EQ(hf_world_beat_extra(&w, 1, 9), HF_NO_TIMEOUT);
  CHECK(!hf_world_watches(&w, 1));
  CHECK_EQ(hf_world_beat_timeout(&w, 1, 5), HF_OK);
  hf_world_step_at(&w, 5);
  CHECK_EQ(hf_world_beat(&w, 1), HF_NO_TIMEOUT);  // it joins anew: its old timeout does not count
  CHECK_VERDICT(&w, 1, 5, 1);
  hf_world_end(&w);
}

static void disposable_may_change_with_a_beat_both_ways(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_beat_stays(&w, 1, 0);
  hf_world_step_at(&w, 10);
  CHECK(hf_world_watches(&w, 1));
  CHECK_VERDICT(&w, 1, 10, 1);
  hf_terms disposable = {.disposable = 1};
  hf_world_touch(&w, 1, &disposable, HF_TOUCH_BEAT, NULL);
  hf_world_step_at(&w, 20);
  CHECK(!hf_world_watches(&w, 1));
  CHECK_VERDICT(&w, 1, 20, 1);
  hf_world_end(&w);
}

static void the_horizon_changes_nothing_that_can_be_seen(void) {
  hf_event seen[2][3];
  uint64_t n_verdicts[2], n_visits[2];
  for (int horizon = 0; horizon < 2; horizon++) {
    hf_world_init(&w, 0, false, HF_MASK(HF_TIME_OUT));
    hf_world_beat_timeout(&w, 1, 7);
    hf_world_beat_timeout(&w, 2, 1000);
    hf_terms disposable = {.timeout_ns = 500, .disposable = 1};
    hf_world_touch(&w, 3, &disposable, HF_TOUCH_BEAT, NULL);
    hf_world_advance(&w, 1003, horizon != 0);
    for (int n = 0; n < 3; n++) {
      uint32_t k;
      seen[horizon][n] = hf_world_take(&w, &k);
      seen[horizon][n].key = (void *)(uintptr_t)k;
    }
    n_verdicts[horizon] = w.shard.counters.n_verdicts;
    n_visits[horizon] = w.shard.counters.n_visits;
    hf_world_end(&w);
  }
  for (int n = 0; n < 3; n++) {
    CHECK(seen[0][n].key == seen[1][n].key);
    CHECK_EQ(seen[0][n].missed, seen[1][n].missed);
    CHECK_EQ(seen[0][n].deadline_ns, seen[1][n].deadline_ns);
    CHECK_EQ(seen[0][n].event_ns, seen[1][n].event_ns);
  }
  CHECK_EQ(seen[1][2].missed, 143);  // 7, 14, ... 1001
  CHECK_EQ(n_verdicts[0], n_verdicts[1]);
  CHECK(n_visits[1] < n_visits[0] / 4);
}

static void missed_stops_at_its_largest_value(void) {
  hf_world_init(&w, 1, false, HF_MASK(HF_TIME_OUT));
  hf_world_beat(&w, 1);
  hf_world_step_at(&w, INT64_C(1) << 40);
  CHECK_VERDICT(&w, 1, INT64_C(1) << 40, UINT32_MAX);
  CHECK_EQ(w.shard.counters.n_verdicts, INT64_C(1) << 40);
  hf_world_end(&w);
}

static void the_longest_timeouts_do_not_overflow(void) {
  hf_world_init(&w, HF_TIMEOUT_MAX_NS, true, HF_MASK(HF_TIME_OUT));
  hf_clock_set(&w.clock, HF_TIMEOUT_MAX_NS - 5);
  hf_world_beat(&w, 1);
  CHECK_EQ(hf_heap_min(&w.shard.heap), 2 * HF_TIMEOUT_MAX_NS - 5);
  CHECK_EQ(hf_world_step_at(&w, HF_TIMEOUT_MAX_NS), 0);
  hf_shard_step(&w.shard, HF_NEVER - 1, HF_NEVER - 1, HF_NEVER - 1);  // `ahead` does not overflow either
  CHECK_EQ(w.shard.n_dead, 1);
  hf_world_end(&w);
}

static void a_beat_between_doom_and_verdict_is_seen(void) {
  hf_world_init(&w, 10, true, HF_MASK(HF_TIME_OUT));
  uint64_t id = 0;
  hf_world_touch(&w, 1, NULL, HF_TOUCH_BEAT, &id);
  hf_slab *slab = hf_slots_slab(&w.shard.slots, hf_id_slot(id));
  uint32_t at = hf_slot_in_slab(hf_id_slot(id)), doomed = hf_word_make(hf_id_generation(id), HF_DOOMED);
  HF_STORE_SC(&slab->hot[at].word, doomed);  // as the worker does between its two looks
  CHECK_EQ(hf_hot_undoom(&slab->hot[at], doomed), HF_OK);
  CHECK_EQ(hf_word_state(HF_LOAD_SC(&slab->hot[at].word)), HF_ALIVE);
  CHECK_EQ(hf_hot_undoom(&slab->hot[at], doomed), HF_OK);  // the worker gave it back first
  HF_STORE_SC(&slab->hot[at].word, hf_word_make(hf_id_generation(id), HF_DEAD));
  CHECK_EQ(hf_hot_undoom(&slab->hot[at], doomed), HF_SLOW);  // the verdict was first
  HF_STORE_SC(&slab->hot[at].word, hf_word_make(hf_id_generation(id), HF_ALIVE));
  hf_world_end(&w);
}

int main(void) {
  RUN(a_key_that_does_not_beat_times_out_once_and_is_gone);
  RUN(a_hot_beat_moves_the_deadline_and_files_nothing);
  RUN(a_late_step_names_the_deadline_not_the_time_it_looked);
  RUN(a_key_that_stays_times_out_each_timeout_until_it_beats);
  RUN(timeouts_missed_while_nobody_looked_are_counted_from_deadline_to_deadline);
  RUN(unread_verdicts_of_a_lost_key_are_one_which_speaks_for_all_and_goes_to_the_end);
  RUN(an_unread_verdict_outlives_the_keys_next_life_unchanged);
  RUN(verdicts_of_two_lives_merge_into_the_later);
  RUN(an_unread_verdict_keeps_its_place_when_the_key_recovers);
  RUN(a_removed_key_gives_no_verdict_and_is_told);
  RUN(remove_keeps_an_unread_verdict_in_every_state);
  RUN(a_key_removed_with_its_verdict_unread_may_join_and_time_out_again_as_one_event);
  RUN(a_lost_key_removed_and_joined_again_starts_anew);
  RUN(a_shortened_timeout_holds_at_once_and_a_longer_one_from_its_beat);
  RUN(a_short_timeout_is_on_time_beside_a_long_one);
  RUN(a_key_without_a_timeout_joins_only_if_the_hub_has_one);
  RUN(disposable_may_change_with_a_beat_both_ways);
  RUN(the_horizon_changes_nothing_that_can_be_seen);
  RUN(missed_stops_at_its_largest_value);
  RUN(the_longest_timeouts_do_not_overflow);
  RUN(a_beat_between_doom_and_verdict_is_seen);
  return hf_test_end(__FILE__);
}
