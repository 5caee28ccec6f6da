// SPDX-License-Identifier: MIT
// A line to an HTTP backend in virtual time: what counts as taken, refused, failed; when the connection is kept.
#include "hf_fake_net.h"

#define TAKEN "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

static const hf_line_stats *stats_of(const hf_world_line *w) { return &w->line.stats; }

static void begin(hf_world_line *w) {
  hf_world_line_init(w, HF_HTTP, "POST / HTTP/1.1\r\nContent-Length: ", false);
  hf_world_line_settle(w);
}
static void answer(hf_world_line *w, const char *text) {
  w->fake.says = text;
  hf_world_line_settle(w);
}

static void a_beat_counts_once_it_is_answered(void) {
  hf_world_line w;
  begin(&w);
  CHECK(w.fake.n_sent != 0 && stats_of(&w)->n_beats == 0);
  answer(&w, TAKEN);
  CHECK_EQ(stats_of(&w)->n_beats, 1);
  for (int n = 1; n <= 20; n++) {
    hf_world_line_run(&w, 3 * S);
    answer(&w, TAKEN);
    CHECK_EQ(stats_of(&w)->n_beats, n + 1);
  }
  CHECK(stats_of(&w)->n_connects == 1 && stats_of(&w)->n_missed == 0 && stats_of(&w)->n_failures == 0);
  hf_world_line_deinit(&w);
}

static void another_status_is_a_refusal_and_no_failure(void) {
  hf_world_line w;
  begin(&w);
  answer(&w, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
  CHECK(stats_of(&w)->n_refused == 1 && stats_of(&w)->n_beats == 0 && stats_of(&w)->n_failures == 0);
  CHECK(stats_of(&w)->failed_at == HF_AT_STATUS && stats_of(&w)->fail_code == 503);
  hf_world_line_run(&w, 3 * S);
  answer(&w, TAKEN);
  CHECK(stats_of(&w)->n_beats == 1 && stats_of(&w)->n_connects == 1);
  hf_world_line_deinit(&w);
}

static void a_connection_that_must_be_closed_is_opened_anew_for_the_next_beat(void) {
  hf_world_line w;
  begin(&w);
  for (int n = 1; n <= 5; n++) {
    answer(&w, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    CHECK(stats_of(&w)->n_beats == (uint64_t)n && stats_of(&w)->state == HF_LINE_IDLE && w.fake.n_open == 0);
    hf_world_line_run(&w, 3 * S);
    CHECK(stats_of(&w)->n_connects == (uint64_t)n + 1 && stats_of(&w)->n_failures == 0);
  }
  hf_world_line_deinit(&w);
}

static void a_connection_closed_between_beats_is_no_failure(void) {
  hf_world_line w;
  begin(&w);
  answer(&w, TAKEN);
  w.fake.peer_closed = true;
  hf_world_line_settle(&w);
  CHECK(stats_of(&w)->state == HF_LINE_IDLE && stats_of(&w)->n_failures == 0);
  hf_world_line_run(&w, 3 * S);
  answer(&w, TAKEN);
  CHECK(stats_of(&w)->n_beats == 2 && stats_of(&w)->n_missed == 0);
  hf_world_line_run(&w, S);
  answer(&w, "HTTP/1.1 408 Request Timeout\r\n\r\n");  // nobody asked
  CHECK(stats_of(&w)->state == HF_LINE_IDLE && stats_of(&w)->n_refused == 0 && stats_of(&w)->n_failures == 0);
  hf_world_line_deinit(&w);
}

static void a_request_that_meets_the_close_of_an_idle_connection_is_sent_anew_once(void) {
  hf_world_line w;
  begin(&w);
  answer(&w, TAKEN);
  hf_world_line_run(&w, 3 * S);
  w.fake.peer_closed = true;
  hf_world_line_settle(&w);
  CHECK(stats_of(&w)->n_connects == 2 && stats_of(&w)->n_failures == 0 && stats_of(&w)->state == HF_LINE_CONNECTED);
  w.fake.peer_closed = true;
  hf_world_line_settle(&w);
  CHECK(stats_of(&w)->n_connects == 2 && stats_of(&w)->n_failures == 1 && stats_of(&w)->state == HF_LINE_WAITING);
  hf_world_line_deinit(&w);
}

static void an_answer_that_does_not_come_is_given_up(void) {
  hf_world_line w;
  begin(&w);
  answer(&w, TAKEN);
  hf_world_line_run(&w, 3 * S + 5 * S - 1);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_CONNECTED);
  hf_world_line_run(&w, 1);
  CHECK(stats_of(&w)->state == HF_LINE_WAITING && stats_of(&w)->failed_at == HF_AT_ANSWER_TIME);
  CHECK(stats_of(&w)->wait_ns <= 5 * S && stats_of(&w)->n_missed == 1);
  hf_world_line_deinit(&w);
}

static void what_is_not_http_is_a_failure(void) {
  hf_world_line w;
  begin(&w);
  answer(&w, "220 mail.example ESMTP\r\n");
  CHECK(stats_of(&w)->state == HF_LINE_WAITING && stats_of(&w)->failed_at == HF_AT_ANSWER);
  hf_world_line_deinit(&w);
}

static void a_slow_answer_holds_up_the_next_beat_and_no_more(void) {
  hf_world_line w;
  begin(&w);
  hf_world_line_run(&w, 4 * S);  // the slot of 3 s waits
  answer(&w, TAKEN);
  CHECK(stats_of(&w)->n_beats == 1 && stats_of(&w)->state == HF_LINE_CONNECTED);
  answer(&w, TAKEN);
  CHECK(stats_of(&w)->n_beats == 2 && stats_of(&w)->n_missed == 0 && stats_of(&w)->max_late_ns == S);
  hf_world_line_deinit(&w);
}

static void the_waits_start_over_after_an_answer(void) {
  hf_world_line w;
  begin(&w);
  for (int n = 0; n < 3; n++) {
    w.fake.peer_closed = true;
    hf_world_line_settle(&w);
    CHECK_EQ(stats_of(&w)->state, HF_LINE_WAITING);
    int64_t until_ns = w.line.until_ns;
    hf_world_line_run_to(&w, until_ns);
  }
  answer(&w, TAKEN);
  hf_world_line_run(&w, 3 * S);
  hf_world_line_run(&w, 5 * S);  // no answer
  CHECK(stats_of(&w)->state == HF_LINE_WAITING && stats_of(&w)->wait_ns <= 5 * S);
  hf_world_line_deinit(&w);
}

int main(void) {
  RUN(a_beat_counts_once_it_is_answered);
  RUN(another_status_is_a_refusal_and_no_failure);
  RUN(a_connection_that_must_be_closed_is_opened_anew_for_the_next_beat);
  RUN(a_connection_closed_between_beats_is_no_failure);
  RUN(a_request_that_meets_the_close_of_an_idle_connection_is_sent_anew_once);
  RUN(an_answer_that_does_not_come_is_given_up);
  RUN(what_is_not_http_is_a_failure);
  RUN(a_slow_answer_holds_up_the_next_beat_and_no_more);
  RUN(the_waits_start_over_after_an_answer);
  return hf_test_end(__FILE__);
}
