// SPDX-License-Identifier: MIT
// Stalls: how far they move a deadline; and the guard: what is told of them, once all shards have looked.
#include "hf_guard.h"

#include "hf_test.h"

static hf_guard guard;

static int64_t moved(const hf_stalls *stalls, int64_t beat_ns) { return hf_stalls_move(stalls, beat_ns); }

static void a_stall_moves_what_was_before_its_end_and_not_past_it(void) {
  hf_stalls stalls = {0};
  CHECK_EQ(moved(&stalls, 7), 7);
  hf_stalls_add(&stalls, (hf_stall){.start_ns = 100, .end_ns = 150});
  CHECK_EQ(moved(&stalls, 10), 60);
  CHECK_EQ(moved(&stalls, 100), 150);
  CHECK_EQ(moved(&stalls, 120), 150);
  CHECK_EQ(moved(&stalls, 150), 150);
  CHECK_EQ(moved(&stalls, 151), 151);
  hf_stalls_add(&stalls, (hf_stall){.start_ns = 200, .end_ns = 210});
  CHECK_EQ(moved(&stalls, 10), 70);
  CHECK_EQ(moved(&stalls, 160), 170);
  hf_stalls_add(&stalls, (hf_stall){.start_ns = 205, .end_ns = 230});  // the same one, longer
  CHECK_EQ(stalls.n, 2);
  CHECK_EQ(moved(&stalls, 160), 190);
}

// However many there were, a beat time moves at least as far as by each of those since, and never past the last end.
static void more_stalls_than_are_kept_move_no_less(void) {
  hf_random random = hf_random_from(hf_test_seed = 31);
  for (int round = 0; round < 200; round++) {
    hf_stalls stalls = {0};
    hf_stall all[60];
    int64_t now_ns = 1000;
    for (uint32_t n = 0; n < 60; n++) {
      all[n].start_ns = now_ns += 1 + hf_random_below(&random, 50);
      all[n].end_ns = now_ns += 1 + hf_random_below(&random, 50);
      hf_stalls_add(&stalls, all[n]);
      int64_t beat_ns = hf_random_below(&random, (uint32_t)now_ns + 50), exact_ns = beat_ns;
      for (uint32_t e = 0; e <= n; e++)
        if (exact_ns < all[e].end_ns) exact_ns = hf_min_i64(exact_ns + all[e].end_ns - all[e].start_ns, all[e].end_ns);
      int64_t moved_ns = moved(&stalls, beat_ns);
      CHECK(moved_ns >= exact_ns);
      CHECK(moved_ns <= hf_max_i64(beat_ns, now_ns));
      if (n < HF_STALLS_MAX) CHECK_EQ(moved_ns, exact_ns);
    }
  }
}

static void one_note_tells_of_a_stall_when_every_armed_shard_has_looked(void) {
  CHECK_EQ(hf_guard_init(&guard, HF_GUARD_ON, NULL, 0), HF_OK);
  hf_guard_arm(&guard, 0, true);
  hf_guard_arm(&guard, 2, true);
  hf_guard_arm(&guard, 5, true);
  hf_guard_stalled(&guard, 2, (hf_stall){.start_ns = 90, .end_ns = 200}, 110);
  CHECK(!hf_guard_looked(&guard, 2, 7, true));
  hf_guard_stalled(&guard, 0, (hf_stall){.start_ns = 80, .end_ns = 210}, 120);  // the same, as another saw it
  CHECK(!hf_guard_looked(&guard, 0, 3, true));
  CHECK(!hf_guard_looked(&guard, 2, 0, true));
  CHECK_EQ(hf_guard_peek_ns(&guard), HF_NEVER);
  hf_guard_arm(&guard, 5, false);  // its last key was removed meanwhile
  CHECK(hf_guard_looked(&guard, 2, 1, true));
  CHECK_EQ(hf_guard_count(&guard), 1);
  CHECK_EQ(hf_guard_peek_ns(&guard), 210);
  hf_event event = hf_guard_take(&guard);
  CHECK(event.type == HF_STALL && !event.key && !event.extra);
  CHECK_EQ(event.missed, 11);
  CHECK(event.timeout_ns == 130 && event.beat_ns == 80 && event.deadline_ns == 110 && event.event_ns == 210);
  CHECK(!hf_guard_looked(&guard, 0, 9, true));  // nothing is open
  CHECK(hf_guard_count(&guard) == 0 && guard.n_stalls == 1 && guard.stalled_ns == 130);
  hf_guard_deinit(&guard);
}

static void notes_that_nobody_reads_run_together_and_notes_that_nobody_wants_are_counted(void) {
  CHECK_EQ(hf_guard_init(&guard, HF_GUARD_ON, NULL, 0), HF_OK);
  enum { N = HF_STALL_NOTES + 4 };
  for (int64_t n = 1; n <= N; n++) {
    hf_guard_stalled(&guard, 0, (hf_stall){.start_ns = 100 * n, .end_ns = 100 * n + 10}, 100 * n + 5);
    CHECK(hf_guard_looked(&guard, 0, 1, true));
  }
  CHECK_EQ(hf_guard_count(&guard), HF_STALL_NOTES);
  uint64_t n_moved = 0;
  int64_t stalled_ns = 0;
  while (hf_guard_count(&guard)) {
    hf_event event = hf_guard_take(&guard);
    n_moved += event.missed;
    stalled_ns += event.timeout_ns;
  }
  CHECK(n_moved == N && stalled_ns == 10 * N);
  hf_guard_stalled(&guard, 0, (hf_stall){.start_ns = 9000, .end_ns = 9010}, 9005);
  CHECK(hf_guard_looked(&guard, 0, 1, false));
  CHECK(hf_guard_count(&guard) == 0 && guard.n_stalls == N + 1);
  hf_guard_deinit(&guard);
}

static void ticks_and_tolerances_are_a_share_of_the_shortest_timeout_within_bounds(void) {
  CHECK_EQ(hf_guard_tick(HF_NS_PER_S), 125 * HF_NS_PER_MS);
  CHECK_EQ(hf_guard_tick(1), 5 * HF_NS_PER_MS);
  CHECK_EQ(hf_guard_tick(HF_NEVER), 10 * HF_NS_PER_S);
  CHECK_EQ(hf_guard_tolerance(HF_NS_PER_S), HF_NS_PER_S / 16);
  CHECK_EQ(hf_guard_tolerance(1), 10 * HF_NS_PER_MS);
  CHECK_EQ(hf_guard_tolerance(HF_NEVER), HF_NS_PER_S);
}

int main(void) {
  RUN(a_stall_moves_what_was_before_its_end_and_not_past_it);
  RUN(more_stalls_than_are_kept_move_no_less);
  RUN(one_note_tells_of_a_stall_when_every_armed_shard_has_looked);
  RUN(notes_that_nobody_reads_run_together_and_notes_that_nobody_wants_are_counted);
  RUN(ticks_and_tolerances_are_a_share_of_the_shortest_timeout_within_bounds);
  return hf_test_end(__FILE__);
}
