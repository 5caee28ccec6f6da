// SPDX-License-Identifier: MIT
// A line in virtual time: its schedule, its connection and waits, what it does with a backend that takes little.
#include "hf_fake_net.h"

static const hf_line_stats *stats_of(const hf_world_line *w) { return &w->line.stats; }

static void beats_go_out_at_a_fixed_rate_from_the_first(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  int64_t start_ns = w.now_ns;
  hf_world_line_run(&w, 0);
  CHECK_EQ(stats_of(&w)->n_beats, 1);
  for (int n = 1; n <= 100; n++) {
    hf_world_line_run_to(&w, start_ns + n * 3 * S - 1);
    CHECK_EQ(stats_of(&w)->n_beats, n);
    hf_world_line_run_to(&w, start_ns + n * 3 * S);
    CHECK_EQ(stats_of(&w)->n_beats, n + 1);
  }
  CHECK(stats_of(&w)->n_missed == 0 && stats_of(&w)->max_late_ns == 0 && stats_of(&w)->n_connects == 1);
  hf_world_line_deinit(&w);
}

static void a_stall_is_not_made_up_for_by_a_burst(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_run(&w, 0);
  int64_t start_ns = w.now_ns;
  w.now_ns += 10 * S;  // due at 3, 6 and 9
  hf_world_line_settle(&w);
  CHECK_EQ(stats_of(&w)->n_beats, 2);
  CHECK_EQ(stats_of(&w)->n_missed, 2);
  CHECK_EQ(stats_of(&w)->max_late_ns, 1 * S);
  hf_world_line_run_to(&w, start_ns + 12 * S);  // the same beat as ever
  CHECK_EQ(stats_of(&w)->n_beats, 3);
  CHECK_EQ(stats_of(&w)->max_late_ns, 1 * S);
  hf_world_line_deinit(&w);
}

static void a_beat_out_of_turn_leaves_the_schedule_alone(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_run(&w, S);
  hf_line_beat_now(&w.line);
  hf_world_line_settle(&w);
  CHECK_EQ(stats_of(&w)->n_beats, 2);
  hf_world_line_run(&w, 2 * S);
  CHECK_EQ(stats_of(&w)->n_beats, 3);
  CHECK_EQ(stats_of(&w)->n_missed, 0);
  hf_world_line_deinit(&w);
}

static void nothing_is_due_before_there_is_a_head(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  free(w.line.head.deflated);
  w.line.head.deflated = NULL;
  hf_world_line_run(&w, 20 * S);
  CHECK(w.fake.n_sent == 0 && stats_of(&w)->n_missed == 0 && stats_of(&w)->state == HF_LINE_CONNECTED);
  hf_world_line_head(&w);
  hf_world_line_run(&w, 3 * S);
  CHECK_EQ(stats_of(&w)->n_beats, 2);
  hf_world_line_deinit(&w);
}

// Waits for the present one of k: it is between a half and the whole of `base_ns`, and then there is a try.
static void check_wait(hf_world_line *w, int64_t base_ns) {
  int64_t wait_ns = stats_of(w)->wait_ns;
  CHECK_EQ(stats_of(w)->state, HF_LINE_WAITING);
  CHECK(wait_ns >= base_ns / 2 && wait_ns <= base_ns);
  int n_opened = w->fake.n_opened;
  int64_t until_ns = w->line.until_ns;
  hf_world_line_run_to(w, until_ns - 1);
  CHECK_EQ(w->fake.n_opened, n_opened);
  hf_world_line_run_to(w, until_ns);
  CHECK_EQ(w->fake.n_opened, n_opened + 1);
}

static void waits_double_up_to_the_most_each_with_jitter(void) {
  static const int64_t waits_s[] = {5, 10, 20, 40, 80, 160, 180, 180, 180};
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  w.fake.connect_error = ECONNREFUSED;
  hf_world_line_settle(&w);
  for (size_t n = 0; n < sizeof waits_s / sizeof *waits_s; n++) {
    CHECK_EQ(stats_of(&w)->n_failures, n + 1);
    check_wait(&w, waits_s[n] * S);
  }
  CHECK(stats_of(&w)->failed_at == HF_AT_CONNECT && stats_of(&w)->fail_code == ECONNREFUSED);
  CHECK_EQ(stats_of(&w)->n_beats, 0);
  hf_world_line_deinit(&w);
}

static void two_seeds_wait_differently_and_one_always_alike(void) {
  hf_backoff a = hf_backoff_from(5 * S, 180 * S, 1), b = hf_backoff_from(5 * S, 180 * S, 1);
  hf_backoff c = hf_backoff_from(5 * S, 180 * S, 2);
  int n_alike = 0;
  for (int n = 0; n < 100; n++) {
    int64_t wait_ns = hf_backoff_next(&a);
    CHECK_EQ(hf_backoff_next(&b), wait_ns);
    n_alike += hf_backoff_next(&c) == wait_ns;
  }
  CHECK(n_alike < 3);
}

static void waits_start_over_only_after_a_connection_that_lasted(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_settle(&w);
  for (int64_t base_s = 5; base_s <= 20; base_s *= 2) {  // accepts, and closes at once
    w.fake.peer_closed = true;
    hf_world_line_settle(&w);
    CHECK_EQ(stats_of(&w)->failed_at, HF_AT_PEER_CLOSED);
    check_wait(&w, base_s * S);
    CHECK_EQ(stats_of(&w)->state, HF_LINE_CONNECTED);
  }
  hf_world_line_run(&w, 20 * S - 1);  // the present wait was one of 20 s
  w.fake.peer_closed = true;
  hf_world_line_settle(&w);
  check_wait(&w, 40 * S);
  hf_world_line_run(&w, 40 * S);
  w.fake.peer_closed = true;
  hf_world_line_settle(&w);
  check_wait(&w, 5 * S);
  hf_world_line_deinit(&w);
}

static void a_new_connection_gets_the_token_and_the_newest_beat_at_once(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "tok", false);
  hf_world_line_run(&w, 3 * S);
  size_t n_first = w.fake.n_sent;
  CHECK_EQ(stats_of(&w)->n_beats, 2);
  w.fake.peer_closed = true;
  hf_world_line_settle(&w);
  int64_t until_ns = w.line.until_ns;
  hf_world_line_run_to(&w, until_ns);
  CHECK_EQ(stats_of(&w)->n_connects, 2);
  CHECK_EQ(stats_of(&w)->n_beats, 3);
  int n_tokens = 0;
  for (size_t i = 0; i + 6 <= w.fake.n_sent; i++) n_tokens += memcmp(w.fake.sent + i, "\xca\x3e\x03tok", 6) == 0;
  CHECK_EQ(n_tokens, 2);
  CHECK(w.fake.n_sent > n_first);
  hf_world_line_deinit(&w);
}

static void slots_without_a_connection_are_missed_each_once(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  int64_t start_ns = w.now_ns;
  w.fake.open_error = ENETUNREACH;
  hf_world_line_run_to(&w, start_ns + 31 * S);
  CHECK_EQ(stats_of(&w)->n_missed, 10);  // that of 30 may still be sent
  w.fake.open_error = 0;
  hf_world_line_run_to(&w, start_ns + 301 * S);
  uint64_t n_slots = 101, n_extra = 1;  // at most one at the new connection
  CHECK(stats_of(&w)->n_beats + stats_of(&w)->n_missed >= n_slots);
  CHECK(stats_of(&w)->n_beats + stats_of(&w)->n_missed <= n_slots + n_extra);
  hf_world_line_deinit(&w);
}

static void all_addresses_are_tried_before_a_wait(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_addresses(&w, 3);
  w.fake.connect_error = EINPROGRESS;  // black holes
  int64_t start_ns = w.now_ns;
  for (uint32_t n = 0; n < 3; n++) {
    hf_world_line_run_to(&w, start_ns + n * 5 * S);
    CHECK(stats_of(&w)->state == HF_LINE_CONNECTING && w.fake.last_address == n);
  }
  CHECK_EQ(stats_of(&w)->n_failures, 0);
  hf_world_line_run_to(&w, start_ns + 15 * S);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_WAITING);
  CHECK_EQ(stats_of(&w)->n_failures, 1);
  CHECK_EQ(stats_of(&w)->failed_at, HF_AT_CONNECT_TIME);
  w.fake.connect_error = 0;
  int64_t until_ns = w.line.until_ns;
  hf_world_line_run_to(&w, until_ns);
  CHECK(stats_of(&w)->state == HF_LINE_CONNECTED && w.fake.last_address == 0);
  hf_world_line_deinit(&w);
}

static void a_name_is_wished_for_and_the_last_good_addresses_stay(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", true);
  hf_world_line_run(&w, 10 * S);  // a look-up that hangs
  CHECK_EQ(stats_of(&w)->state, HF_LINE_RESOLVING);
  CHECK(hf_line_take_wish(&w.line) && !hf_line_take_wish(&w.line));
  hf_line_lookup_failed(&w.line, w.now_ns);
  CHECK(stats_of(&w)->failed_at == HF_AT_RESOLVE && stats_of(&w)->n_failures == 1);
  int64_t until_ns = w.line.until_ns;
  hf_world_line_run_to(&w, until_ns);
  CHECK(hf_line_take_wish(&w.line));
  hf_world_line_addresses(&w, 2);
  hf_world_line_settle(&w);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_CONNECTED);
  w.fake.connect_error = ECONNREFUSED;
  w.fake.peer_closed = true;
  hf_world_line_settle(&w);
  CHECK(hf_line_take_wish(&w.line));
  hf_line_lookup_failed(&w.line, w.now_ns);  // does not touch the wait
  CHECK_EQ(stats_of(&w)->state, HF_LINE_WAITING);
  w.fake.connect_error = 0;
  until_ns = w.line.until_ns;
  hf_world_line_run_to(&w, until_ns);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_CONNECTED);
  hf_world_line_deinit(&w);
}

// The length of the frame that begins there, with its own first bytes.
static size_t frame_size(const uint8_t *frame) {
  return frame[0] & 0x80 ? 2u + (frame[0] & 0x7fu) + ((size_t)frame[1] << 7) : 1u + frame[0];
}

static void a_beat_taken_in_pieces_is_whole_and_holds_up_the_next(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_run(&w, 0);
  w.fake.n_sent = 0;
  w.fake.n_room = 10;
  hf_world_line_run(&w, 3 * S);
  CHECK(w.fake.n_sent == 10 && stats_of(&w)->n_beats == 1);
  hf_world_line_run(&w, 4 * S);  // a slot comes due: it is not queued behind
  size_t n_one = w.line.out_n;
  w.fake.n_room = n_one - 10;
  hf_world_line_settle(&w);
  CHECK(stats_of(&w)->n_beats == 2 && stats_of(&w)->n_missed == 0 && w.fake.n_sent == n_one);
  CHECK_EQ(stats_of(&w)->max_late_ns, 4 * S);
  w.fake.n_room = SIZE_MAX / 2;
  hf_world_line_settle(&w);
  CHECK_EQ(stats_of(&w)->n_beats, 3);
  CHECK_EQ(frame_size(w.fake.sent), n_one);
  CHECK_EQ(frame_size(w.fake.sent + n_one), w.fake.n_sent - n_one);
  hf_world_line_deinit(&w);
}

static void a_backend_that_takes_nothing_is_given_up(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_run(&w, 0);
  w.fake.n_room = 0;
  hf_world_line_run(&w, 3 * S + 5 * S - 1);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_CONNECTED);
  hf_world_line_run(&w, 1);
  CHECK(stats_of(&w)->state == HF_LINE_WAITING && stats_of(&w)->failed_at == HF_AT_WRITE_TIME);
  CHECK_EQ(stats_of(&w)->n_missed, 1);  // that of 3 s; that of 6 may still be sent
  hf_world_line_deinit(&w);
}

static void what_a_sermant_backend_writes_is_thrown_away(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_run(&w, 0);
  w.fake.says = "HTTP/1.1 200 OK\r\n\r\n";
  hf_world_line_run(&w, 3 * S);
  CHECK(stats_of(&w)->n_beats == 2 && stats_of(&w)->n_failures == 0 && w.fake.says == NULL);
  w.fake.read_error = ECONNRESET;
  hf_world_line_settle(&w);
  CHECK(stats_of(&w)->failed_at == HF_AT_READ && stats_of(&w)->fail_code == ECONNRESET);
  hf_world_line_deinit(&w);
}

static void a_refused_datagram_is_a_failure_and_beats_go_on(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_UDP, "", false);
  hf_world_line_run(&w, 0);
  for (int n = 1; n <= 5; n++) {
    w.fake.read_error = ECONNREFUSED;
    hf_world_line_run(&w, 3 * S);
    CHECK(stats_of(&w)->n_beats == (uint64_t)n + 1 && stats_of(&w)->n_failures == (uint64_t)n);
  }
  w.fake.send_error = ECONNREFUSED;
  hf_world_line_run(&w, 3 * S);
  CHECK(stats_of(&w)->n_beats == 7 && stats_of(&w)->n_missed == 0 && stats_of(&w)->n_connects == 1);
  hf_world_line_addresses(&w, 2);
  w.fake.read_error = ECONNREFUSED;
  hf_world_line_settle(&w);
  CHECK_EQ(stats_of(&w)->n_beats, 7);  // not at once: two that refuse would keep it busy
  hf_world_line_run(&w, 3 * S);
  CHECK(w.fake.last_address == 1 && stats_of(&w)->n_beats == 8);
  w.fake.send_error = ECONNREFUSED;  // a beat out of turn meets it: it goes to the other address
  hf_line_beat_now(&w.line);
  hf_world_line_settle(&w);
  CHECK(w.fake.last_address == 0 && stats_of(&w)->n_beats == 9 && stats_of(&w)->n_missed == 0);
  hf_world_line_deinit(&w);
}

int main(void) {
  RUN(beats_go_out_at_a_fixed_rate_from_the_first);
  RUN(a_stall_is_not_made_up_for_by_a_burst);
  RUN(a_beat_out_of_turn_leaves_the_schedule_alone);
  RUN(nothing_is_due_before_there_is_a_head);
  RUN(waits_double_up_to_the_most_each_with_jitter);
  RUN(two_seeds_wait_differently_and_one_always_alike);
  RUN(waits_start_over_only_after_a_connection_that_lasted);
  RUN(a_new_connection_gets_the_token_and_the_newest_beat_at_once);
  RUN(slots_without_a_connection_are_missed_each_once);
  RUN(all_addresses_are_tried_before_a_wait);
  RUN(a_name_is_wished_for_and_the_last_good_addresses_stay);
  RUN(a_beat_taken_in_pieces_is_whole_and_holds_up_the_next);
  RUN(a_backend_that_takes_nothing_is_given_up);
  RUN(what_a_sermant_backend_writes_is_thrown_away);
  RUN(a_refused_datagram_is_a_failure_and_beats_go_on);
  return hf_test_end(__FILE__);
}
