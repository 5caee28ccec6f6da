// SPDX-License-Identifier: MIT
// Keys that join with a past: when they are due, what their first beat changes, and that they stand as any other key.
#include "hf_world.h"

enum { TIMEOUT = 10, START = 1000 };

static hf_world w;

static void open_world(uint32_t subscribed) {
  hf_world_init(&w, 0, true, subscribed);
  hf_clock_set(&w.clock, START);
}

// Key k, TIMEOUT, its last beat 3 ago, its join 7 ago.
static hf_status restore(uint32_t k, int64_t remaining_ns, uint32_t missed, bool lost) {
  hf_trash trash = {0};
  hf_object *key = hf_object_new(k);
  hf_past past = {.terms = {.timeout_ns = TIMEOUT, .disposable = !lost},
                  .remaining_ns = remaining_ns,
                  .silent_ns = 3,
                  .watched_ns = 7,
                  .missed = missed,
                  .lost = lost};
  bool known = hf_map_find(&w.shard.map, &w.shard.slots, key, hf_hash_tag(key->hash), hf_object_equal) != HF_NO_SLOT;
  hf_status status = hf_shard_restore(&w.shard, key, hf_hash_tag(key->hash), &past, &trash);
  hf_world_empty(&w, &trash);
  if (known || status != HF_OK) {
    hf_object_release(key);
  } else {
    hf_object_drop(w.keys[k]);
    w.keys[k] = key;
  }
  CHECK_SOUND(&w.shard);
  return status;
}

static void a_restored_key_is_due_when_its_past_says(void) {
  for (int64_t remaining_ns = 0; remaining_ns <= 3 * TIMEOUT; remaining_ns++) {
    open_world(0xff);
    CHECK_EQ(restore(1, remaining_ns, 0, false), HF_OK);
    hf_row row;
    CHECK_EQ(hf_world_get(&w, 1, &row), HF_OK);
    CHECK_EQ(row.deadline_ns, START + remaining_ns);
    CHECK_EQ(row.join_ns, START - 7);
    CHECK_EQ(row.beat_ns, START - (remaining_ns < TIMEOUT - 3 ? TIMEOUT - remaining_ns : 3));
    hf_world_advance(&w, START + remaining_ns - 1, false);
    CHECK_NO_VERDICT(&w);
    hf_world_advance(&w, START + remaining_ns, false);
    CHECK_VERDICT(&w, 1, START + remaining_ns, 1);
    hf_world_end(&w);
  }
}

static void after_the_first_beat_its_timeout_counts_whichever_way_it_beats(void) {
  for (int64_t remaining_ns = 1; remaining_ns <= 3 * TIMEOUT; remaining_ns++) {
    open_world(HF_MASK(HF_TIME_OUT));
    restore(1, remaining_ns, 0, false);
    hf_clock_set(&w.clock, START + 1);
    hf_status hot = remaining_ns > 1 ? hf_world_beat_hot(&w, 1) : HF_OK;
    if (remaining_ns > 1 && remaining_ns <= TIMEOUT) CHECK_EQ(hot, HF_OK);
    if (remaining_ns > TIMEOUT) CHECK_EQ(hot, HF_SLOW);
    if (hot == HF_SLOW) CHECK_EQ(hf_world_beat(&w, 1), HF_OK);
    if (remaining_ns > 1) {
      hf_row row;
      CHECK_EQ(hf_world_get(&w, 1, &row), HF_OK);
      CHECK_EQ(row.deadline_ns, START + 1 + TIMEOUT);
      CHECK_EQ(hf_world_beat_hot(&w, 1), HF_OK);
      hf_world_advance(&w, START + 1 + TIMEOUT, false);
      CHECK_VERDICT(&w, 1, START + 1 + TIMEOUT, 1);
    }
    hf_world_end(&w);
  }
}

static void quiet_beats_leave_a_late_floor_to_the_first_beat(void) {
  open_world(HF_MASK(HF_TIME_OUT));
  restore(1, 3 * TIMEOUT, 0, false);
  hf_shard_set_loud(&w.shard, false);
  CHECK_EQ(hf_world_beat_hot(&w, 1), HF_SLOW);
  CHECK_EQ(hf_world_beat(&w, 1), HF_OK);
  CHECK_EQ(hf_world_beat_hot(&w, 1), HF_OK);
  hf_world_end(&w);
}

static void a_lost_key_goes_on_and_recovers(void) {
  open_world(HF_MASK(HF_TIME_OUT) | HF_MASK(HF_RECOVER) | HF_MASK(HF_JOIN));
  restore(1, 4, 5, true);
  CHECK_EQ(w.shard.n_lost, 1);
  CHECK_EQ(hf_world_pop(&w).type, HF_JOIN);
  hf_world_advance(&w, START + 4 + TIMEOUT, false);
  CHECK_VERDICT(&w, 1, START + 4 + TIMEOUT, 7);
  CHECK_EQ(hf_world_beat(&w, 1), HF_OK);
  hf_event event = hf_world_pop(&w);
  CHECK_EQ(event.type, HF_RECOVER);
  CHECK_EQ(event.missed, 7);
  CHECK_EQ(w.shard.n_lost, 0);
  hf_world_end(&w);
}

static void the_later_past_of_a_key_holds_unless_it_has_died_of_the_first(void) {
  open_world(HF_MASK(HF_TIME_OUT) | HF_MASK(HF_JOIN));
  restore(1, 4, 2, true);
  restore(1, 8, 0, false);
  CHECK_EQ(w.shard.n_lost, 0);
  restore(2, 8, 0, false);
  restore(2, 5, 2, true);
  CHECK_EQ(w.shard.n_lost, 1);
  CHECK_EQ(w.shard.n_watched, 2);
  hf_world_pop(&w);
  hf_world_pop(&w);
  CHECK_EQ(hf_world_pop(&w).type, HF_N_EVENT_TYPES);
  hf_world_advance(&w, START + 8, false);
  restore(1, 20, 0, false);
  restore(2, 20, 0, false);
  CHECK_VERDICT(&w, 2, START + 5, 3);
  CHECK_VERDICT(&w, 1, START + 8, 1);
  CHECK(!hf_world_watches(&w, 1));
  hf_world_end(&w);
}

static void a_key_that_is_known_for_its_id_alone_stays_dead(void) {
  open_world(HF_MASK(HF_TIME_OUT));
  restore(1, 5, 0, false);
  hf_world_pin(&w, 1);
  hf_world_advance(&w, START + 5, false);
  CHECK_VERDICT(&w, 1, START + 5, 1);
  CHECK_EQ(restore(1, 5, 0, false), HF_OK);
  CHECK(!hf_world_watches(&w, 1));
  hf_world_end(&w);
}

static void a_stall_moves_a_restored_keys_deadline_too(void) {
  open_world(HF_MASK(HF_TIME_OUT));
  restore(1, TIMEOUT, 0, false);
  hf_shard_stalled(&w.shard, (hf_stall){.start_ns = START + 2, .end_ns = START + 40});
  CHECK_EQ(hf_world_step_at(&w, START + 40), 0);
  hf_world_advance(&w, START + 60, false);
  CHECK_EQ(HF_LOAD_RLX(&w.shard.n_pending), 1);
  hf_world_end(&w);
}

static void the_longest_durations_do_not_overflow(void) {
  open_world(HF_MASK(HF_TIME_OUT));
  hf_trash trash = {0};
  hf_object *key = hf_object_new(1);
  hf_past past = {.terms = {.timeout_ns = HF_TIMEOUT_MAX_NS, .disposable = 1},
                  .silent_ns = HF_TIMEOUT_MAX_NS,
                  .watched_ns = HF_TIMEOUT_MAX_NS,
                  .remaining_ns = HF_TIMEOUT_MAX_NS};
  CHECK_EQ(hf_shard_restore(&w.shard, key, hf_hash_tag(key->hash), &past, &trash), HF_OK);
  hf_object_release(key);
  hf_row row;
  CHECK_EQ(hf_world_get(&w, 1, &row), HF_OK);
  CHECK_EQ(row.deadline_ns, START + HF_TIMEOUT_MAX_NS);
  CHECK_EQ(row.beat_ns, START - HF_TIMEOUT_MAX_NS);
  hf_world_end(&w);
}

int main(void) {
  RUN(a_restored_key_is_due_when_its_past_says);
  RUN(after_the_first_beat_its_timeout_counts_whichever_way_it_beats);
  RUN(quiet_beats_leave_a_late_floor_to_the_first_beat);
  RUN(a_lost_key_goes_on_and_recovers);
  RUN(the_later_past_of_a_key_holds_unless_it_has_died_of_the_first);
  RUN(a_key_that_is_known_for_its_id_alone_stays_dead);
  RUN(a_stall_moves_a_restored_keys_deadline_too);
  RUN(the_longest_durations_do_not_overflow);
  return hf_test_end(__FILE__);
}
