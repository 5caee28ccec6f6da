// SPDX-License-Identifier: MIT
// How a line ends, in virtual time; and a line that anything may happen to, by chance.
#include "hf_fake_net.h"

static const hf_line_stats *stats_of(const hf_world_line *w) { return &w->line.stats; }

static void close_line(hf_world_line *w, const char *goodbye, int64_t wait_ns) {
  const uint8_t *bytes = (const uint8_t *)goodbye;
  CHECK_EQ(hf_line_close(&w->line, bytes, goodbye ? strlen(goodbye) : 0, w->now_ns + wait_ns), HF_OK);
  hf_world_line_settle(w);
}
static bool has_sent(const hf_world_line *w, const char *text) {
  size_t n = strlen(text);
  for (size_t i = 0; i + n <= w->fake.n_sent; i++)
    if (memcmp(w->fake.sent + i, text, n) == 0) return true;
  return false;
}

static void a_connected_line_says_goodbye(void) {
  static const hf_transport transports[] = {HF_SERMANT, HF_UDP};
  for (int n = 0; n < 2; n++) {
    hf_world_line w;
    hf_world_line_init(&w, transports[n], "", false);
    hf_world_line_run(&w, S);
    close_line(&w, "{bye}", S);
    CHECK(stats_of(&w)->state == HF_LINE_CLOSED && w.line.goodbye_sent && has_sent(&w, "{bye}"));
    CHECK_EQ(w.fake.n_finished, 1);
    size_t n_sent = w.fake.n_sent;
    hf_world_line_run(&w, 100 * S);
    CHECK_EQ(w.fake.n_sent, n_sent);
    hf_world_line_deinit(&w);
  }
}

static void a_goodbye_waits_for_the_rest_of_a_beat(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  w.fake.n_room = 10;
  hf_world_line_run(&w, S);
  close_line(&w, "{bye}", 2 * S);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_CONNECTED);
  w.fake.n_room = 1000;
  hf_world_line_settle(&w);
  CHECK(w.line.goodbye_sent && has_sent(&w, "{bye}") && stats_of(&w)->n_beats == 1);
  hf_world_line_deinit(&w);
}

static void a_goodbye_that_is_not_taken_ends_in_time(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_run(&w, S);
  w.fake.n_room = 3;
  close_line(&w, "{bye}", 2 * S);
  hf_world_line_run(&w, 2 * S - 1);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_CONNECTED);
  hf_world_line_run(&w, 1);
  CHECK(stats_of(&w)->state == HF_LINE_CLOSED && !w.line.goodbye_sent);
  hf_world_line_deinit(&w);
}

static void a_goodbye_by_http_is_sent_when_it_is_answered(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_HTTP, "POST / HTTP/1.1\r\nContent-Length: ", false);
  hf_world_line_run(&w, S);
  w.fake.says = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
  hf_world_line_settle(&w);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_IDLE);
  close_line(&w, "{bye}", 2 * S);  // connects once more
  CHECK(stats_of(&w)->state == HF_LINE_CONNECTED && has_sent(&w, ": 5\r\n\r\n{bye}"));
  w.fake.says = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
  hf_world_line_settle(&w);
  CHECK(stats_of(&w)->state == HF_LINE_CLOSED && w.line.goodbye_sent && stats_of(&w)->n_beats == 1);
  hf_world_line_deinit(&w);
}

static void there_is_no_wait_for_a_goodbye_that_cannot_be_said(void) {
  for (int n = 0; n < 4; n++) {
    hf_world_line w;
    hf_world_line_init(&w, HF_SERMANT, "", n == 2);
    if (n == 0) w.fake.connect_error = ECONNREFUSED;   // waits for the next try
    if (n == 1) w.fake.connect_error = EINPROGRESS;    // has never been heard
    if (n < 3) hf_world_line_run(&w, S);               // 2: a name that hangs
    close_line(&w, n == 3 ? NULL : "{bye}", 100 * S);  // 3: nothing to say
    CHECK(stats_of(&w)->state == HF_LINE_CLOSED && !w.line.goodbye_sent);
    hf_world_line_deinit(&w);
  }
}

static void a_line_that_was_not_started_is_closed_at_once(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  w.line.started = false;
  CHECK_EQ(hf_line_close(&w.line, NULL, 0, w.now_ns + S), HF_OK);
  CHECK_EQ(stats_of(&w)->state, HF_LINE_CLOSED);
  hf_world_line_deinit(&w);
}

static void an_abandoned_line_lets_go_of_its_socket_only(void) {
  hf_world_line w;
  hf_world_line_init(&w, HF_SERMANT, "", false);
  hf_world_line_run(&w, S);
  hf_line_abandon(&w.line);
  CHECK(w.fake.n_open == 0 && w.fake.n_finished == 0 && stats_of(&w)->state == HF_LINE_CLOSED);
  hf_world_line_run(&w, 10 * S);
  hf_world_line_deinit(&w);
}

static void shake(hf_world_line *w, hf_random *random) {
  static const char *const said[] = {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 500 Oh\r\n\r\n",
                                     "HTTP", "?\r\n"};
  static const int errors[] = {0, 0, EINPROGRESS, ECONNREFUSED, EMFILE};
  switch (hf_random_below(random, 9)) {
    case 0:
      w->fake.connect_error = errors[hf_random_below(random, 4)];
      break;
    case 1:
      w->fake.open_error = hf_random_chance(random, 3) ? errors[hf_random_below(random, 3) + 2] : 0;
      break;
    case 2:
      w->fake.peer_closed = w->fake.n_open != 0;
      break;
    case 3:
      w->fake.n_room = hf_random_chance(random, 2) ? hf_random_below(random, 300) : 100000;
      break;
    case 4:
      w->fake.send_error = hf_random_chance(random, 4) ? EPIPE : 0;
      break;
    case 5:
      w->fake.says = w->fake.n_open ? said[hf_random_below(random, 4)] : NULL;
      break;
    case 6:
      hf_line_beat_now(&w->line);
      break;
    case 7:
      hf_world_line_head(w);
      break;
    default:
      w->fake.read_error = w->fake.n_open && hf_random_chance(random, 2) ? ECONNREFUSED : 0;
  }
}

// Whatever happens, it comes to rest, no slot is lost from the count, and no beat is sent that nobody is due.
static void whatever_happens_each_slot_is_accounted_for(void) {
  hf_random random = hf_random_from(hf_test_seed = 11);
  for (int round = 0; round < 300; round++) {
    hf_world_line w;
    hf_transport transport = (hf_transport)hf_random_below(&random, 3);
    hf_world_line_init(&w, transport, "x", false);
    hf_world_line_addresses(&w, 1 + hf_random_below(&random, 3));
    int64_t start_ns = w.now_ns;
    for (int n = 0; n < 200; n++) {
      shake(&w, &random);
      hf_world_line_run(&w, hf_random_below(&random, 2000) * MS);
      if (hf_random_chance(&random, 50)) w.now_ns += hf_random_below(&random, 60) * S;  // the thread was stopped
    }
    hf_world_line_settle(&w);
    uint64_t n_slots = (uint64_t)((w.now_ns - start_ns) / (3 * S)) + 1;
    const hf_line_stats *stats = stats_of(&w);
    CHECK(stats->n_beats + stats->n_refused <= w.line.n_made);
    CHECK(stats->n_missed <= n_slots);
    uint64_t n_open = (w.line.slot_owed ? 1u : 0u) + (w.line.flight != HF_NO_FLIGHT ? 1u : 0u);
    CHECK(stats->n_beats + stats->n_refused + stats->n_missed + n_open >= n_slots);
    CHECK_EQ(w.line.fd >= 0, stats->state == HF_LINE_CONNECTING || stats->state == HF_LINE_CONNECTED);
    CHECK_EQ(w.fake.n_open, w.line.fd >= 0);
    close_line(&w, "{bye}", S);
    hf_world_line_run(&w, S);
    CHECK_EQ(stats->state, HF_LINE_CLOSED);
    hf_world_line_deinit(&w);
  }
}

int main(void) {
  RUN(a_connected_line_says_goodbye);
  RUN(a_goodbye_waits_for_the_rest_of_a_beat);
  RUN(a_goodbye_that_is_not_taken_ends_in_time);
  RUN(a_goodbye_by_http_is_sent_when_it_is_answered);
  RUN(there_is_no_wait_for_a_goodbye_that_cannot_be_said);
  RUN(a_line_that_was_not_started_is_closed_at_once);
  RUN(an_abandoned_line_lets_go_of_its_socket_only);
  RUN(whatever_happens_each_slot_is_accounted_for);
  return hf_test_end(__FILE__);
}
