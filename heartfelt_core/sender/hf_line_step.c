// SPDX-License-Identifier: MIT
// The side of a line that time and the network drive. The callers' side: hf_line.c.
#include <errno.h>

#include "hf_line.h"

enum { READS_A_STEP = 4, READ_SIZE = 4096 };

static bool is_http(const hf_line *line) { return line->config.envelope.transport == HF_HTTP; }
static bool is_udp(const hf_line *line) { return line->config.envelope.transport == HF_UDP; }
static bool can_beat(const hf_line *line) { return line->started && line->head.deflated && !line->closing; }
static bool wants_to_send(const hf_line *line) {
  return (can_beat(line) && (line->slot_owed || line->wanted)) || (line->closing && line->goodbye);
}

static void note_failure(hf_line *line, hf_line_stage stage, int code) {
  line->stats.n_failures++;
  line->stats.failed_at = stage;
  line->stats.fail_code = code;
}

static void end_line(hf_line *line, bool goodbye_sent) {
  if (line->fd >= 0) (goodbye_sent ? line->net->finish : line->net->close)(line->net, line->fd);
  line->fd = -1;
  line->goodbye_sent = goodbye_sent;
  line->stats.state = HF_LINE_CLOSED;
  line->stats.wait_ns = 0;
}

// Closes the socket. A beat that was being sent did not arrive: its slot is owed again, or missed if the next is due.
static void let_go(hf_line *line) {
  if (line->fd >= 0) line->net->close(line->net, line->fd);
  line->fd = -1;
  line->until_ns = HF_NEVER;
  line->out_at = line->out_n = 0;
  line->awaits_answer = false;
  if (line->flight == HF_BEAT_FLIES && line->flight_has_slot) {
    if (line->slot_owed) {
      line->stats.n_missed++;
    } else {
      line->slot_owed = true;
      line->owed_slot_ns = line->flight_slot_ns;
    }
  }
  if (line->flight == HF_BEAT_FLIES) line->wanted = true;
  line->flight = HF_NO_FLIGHT;
}

static void wait_for_next_try(hf_line *line, int64_t now_ns) {
  line->stats.state = HF_LINE_WAITING;
  line->stats.wait_ns = hf_backoff_next(&line->backoff);
  line->until_ns = now_ns + line->stats.wait_ns;
  if (line->config.resolves) line->wishes = true;
}

// Tries the addresses from at_address on until one is connecting; if none is, the attempt has failed.
static void connect_next(hf_line *line, int64_t now_ns, int error) {
  for (; line->at_address < line->n_addresses; line->at_address++) {
    int64_t unacked_ns = hf_max_i64(3 * line->config.write_limit_ns, HF_NS_PER_S);
    int fd = line->net->open(line->net, &line->addresses[line->at_address], is_udp(line), unacked_ns);
    if (fd >= 0) {
      line->fd = fd;
      line->stats.state = HF_LINE_CONNECTING;
      line->until_ns = now_ns + line->config.connect_limit_ns;
      return;
    }
    error = -fd;
  }
  note_failure(line, error == ETIMEDOUT ? HF_AT_CONNECT_TIME : HF_AT_CONNECT, error);
  wait_for_next_try(line, now_ns);
}

static void connect_first(hf_line *line, int64_t now_ns) {
  line->stats.wait_ns = 0;
  if (line->n_addresses == 0) {
    line->stats.state = HF_LINE_RESOLVING;
    line->until_ns = HF_NEVER;
    line->wishes = true;
    return;
  }
  if (!is_udp(line) || line->at_address >= line->n_addresses) line->at_address = 0;
  connect_next(line, now_ns, 0);
}

static void this_address_failed(hf_line *line, int64_t now_ns, int error) {
  let_go(line);
  line->at_address++;
  connect_next(line, now_ns, error);
}

static void be_connected(hf_line *line, int64_t now_ns) {
  line->stats.state = HF_LINE_CONNECTED;
  line->stats.n_connects++;
  line->connected_ns = now_ns;
  line->until_ns = HF_NEVER;
  line->first_frame = line->wanted = true;
  line->answered = false;
}

// http: closes the connection until the next beat, which is not a failure.
static void park(hf_line *line) {
  let_go(line);
  line->stats.state = HF_LINE_IDLE;
}

static void lose(hf_line *line, int64_t now_ns, hf_line_stage stage, int code) {
  // A server may close an idle connection just when a request is being sent, which is not its failure.
  bool timed_out = stage == HF_AT_ANSWER_TIME || stage == HF_AT_WRITE_TIME;
  bool again = is_http(line) && line->answered && !line->answer.begun && !timed_out;
  bool lasted =
      now_ns - line->connected_ns >= hf_max_i64(line->backoff.base_ns, line->config.interval_ns);  // HF_LASTED
  let_go(line);
  if (again) {
    connect_first(line, now_ns);
    return;
  }
  note_failure(line, stage, code);
  if (lasted && !is_http(line)) hf_backoff_reset(&line->backoff);
  wait_for_next_try(line, now_ns);
}

// A datagram was refused: nobody listens there. The next one is sent all the same, to the next address.
static void be_refused(hf_line *line) {
  note_failure(line, HF_AT_WRITE, ECONNREFUSED);
  if (line->config.resolves) line->wishes = true;
  if (line->n_addresses < 2) return;
  line->at_address = (line->at_address + 1) % line->n_addresses;
  park(line);
}

static void note_lateness(hf_line *line, int64_t now_ns) {
  if (line->flight != HF_BEAT_FLIES || !line->flight_has_slot) return;
  int64_t due_ns = hf_max_i64(line->flight_slot_ns, line->connected_ns);
  line->stats.max_late_ns = hf_max_i64(line->stats.max_late_ns, now_ns - due_ns);
}

// Counts a beat that has arrived, as far as can be known, or (http) was refused.
static void land(hf_line *line, bool taken) {
  bool was_goodbye = line->flight == HF_GOODBYE_FLIES;
  line->flight = HF_NO_FLIGHT;
  line->flight_has_slot = line->awaits_answer = false;
  line->until_ns = HF_NEVER;
  line->out_at = line->out_n = 0;
  line->first_frame = false;
  if (was_goodbye)
    end_line(line, taken);
  else if (taken)
    line->stats.n_beats++;
  else
    line->stats.n_refused++;
}

static void take_answer(hf_line *line, int64_t now_ns, const uint8_t *bytes, size_t n) {
  if (line->flight == HF_NO_FLIGHT) {  // not asked for: for example the server's time-out
    park(line);
    return;
  }
  size_t n_used;
  hf_answer_result result = hf_answer_read(&line->answer, bytes, n, &n_used);
  if (result == HF_ANSWER_MORE) return;
  if (result == HF_ANSWER_BROKEN) {
    lose(line, now_ns, HF_AT_ANSWER, 0);
    return;
  }
  bool keep = result == HF_ANSWER_KEEP && n_used == n && line->out_at == line->out_n;
  bool taken = line->answer.status >= 200 && line->answer.status < 300;
  if (!taken) {
    line->stats.failed_at = HF_AT_STATUS;
    line->stats.fail_code = line->answer.status;
  }
  hf_backoff_reset(&line->backoff);
  line->answered = true;
  land(line, taken);
  if (!keep && line->stats.state == HF_LINE_CONNECTED) park(line);
}

static void read_some(hf_line *line, int64_t now_ns) {
  uint8_t bytes[READ_SIZE];
  for (int i = 0; i < READS_A_STEP && line->stats.state == HF_LINE_CONNECTED; i++) {
    ptrdiff_t n = line->net->receive(line->net, line->fd, bytes, sizeof bytes);
    if (n == -EAGAIN) return;
    if (n == -ECONNREFUSED && is_udp(line)) {
      be_refused(line);
    } else if (n < 0) {
      if (is_http(line) && line->flight == HF_NO_FLIGHT)
        park(line);
      else
        lose(line, now_ns, HF_AT_READ, (int)-n);
    } else if (n == 0) {
      if (is_udp(line)) continue;  // an empty datagram
      if (is_http(line) && line->flight == HF_NO_FLIGHT)
        park(line);
      else
        lose(line, now_ns, HF_AT_PEER_CLOSED, 0);
    } else if (is_http(line)) {
      take_answer(line, now_ns, bytes, (size_t)n);
    }  // a sermant backend never writes; if it does, nobody reads it
  }
}

static void send_rest(hf_line *line, int64_t now_ns) {
  while (line->out_at < line->out_n) {
    ptrdiff_t n = line->net->send(line->net, line->fd, line->out + line->out_at, line->out_n - line->out_at);
    if (n == -ECONNREFUSED && is_udp(line)) {  // an earlier datagram was refused; this one has not been sent
      be_refused(line);
      if (line->stats.state != HF_LINE_CONNECTED) return;
      n = line->net->send(line->net, line->fd, line->out + line->out_at, line->out_n - line->out_at);
    }
    if (n < 0) {
      lose(line, now_ns, HF_AT_WRITE, (int)-n);
      return;
    }
    if (n == 0) return;
    line->out_at += (size_t)n;
  }
  note_lateness(line, now_ns);
  if (is_http(line))
    line->awaits_answer = true;
  else
    land(line, true);
}

static void begin_flight(hf_line *line, int64_t now_ns, size_t n) {
  line->out_at = 0;
  line->out_n = n;
  line->until_ns = now_ns + line->config.write_limit_ns;
  hf_answer_init(&line->answer);
  send_rest(line, now_ns);
}

static void send_beat(hf_line *line, int64_t now_ns, int64_t wall_ms) {
  int64_t silent_ns = hf_max_i64(now_ns - HF_LOAD_RLX(&line->refreshed_ns), 0);
  if (line->n_made == 0) line->last_wall_ms = wall_ms;
  hf_tail tail = {.time_ms = wall_ms,
                  .last_time_ms = line->last_wall_ms,
                  .lag_ms = silent_ns / HF_NS_PER_MS,
                  .number = ++line->n_made};
  line->last_wall_ms = wall_ms;
  line->flight = HF_BEAT_FLIES;
  line->flight_has_slot = line->slot_owed;
  line->flight_slot_ns = line->owed_slot_ns;
  line->slot_owed = line->wanted = false;
  begin_flight(line, now_ns, hf_beat_write(line->out, &line->config.envelope, line->first_frame, &line->head, &tail));
}

static void send_goodbye(hf_line *line, int64_t now_ns) {
  line->flight = HF_GOODBYE_FLIES;
  begin_flight(line, now_ns,
               hf_goodbye_write(line->out, &line->config.envelope, line->first_frame, line->goodbye, line->n_goodbye));
}

static void send_what_is_due(hf_line *line, int64_t now_ns, int64_t wall_ms) {
  if (line->flight != HF_NO_FLIGHT && line->out_at < line->out_n) send_rest(line, now_ns);
  if (line->stats.state != HF_LINE_CONNECTED) return;
  if (line->flight != HF_NO_FLIGHT) {
    if (now_ns >= line->until_ns) lose(line, now_ns, line->awaits_answer ? HF_AT_ANSWER_TIME : HF_AT_WRITE_TIME, 0);
    return;
  }
  if (line->closing && line->goodbye)
    send_goodbye(line, now_ns);
  else if (wants_to_send(line))
    send_beat(line, now_ns, wall_ms);
}

// Notes the slots that have become due; of several only the last is still worth sending.
static void keep_schedule(hf_line *line, int64_t now_ns) {
  if (!can_beat(line)) return;
  if (line->next_slot_ns == HF_NEVER) line->next_slot_ns = now_ns;
  if (now_ns < line->next_slot_ns) return;
  int64_t n_passed = (now_ns - line->next_slot_ns) / line->config.interval_ns;
  line->stats.n_missed += (uint64_t)n_passed + (line->slot_owed ? 1u : 0u);
  line->slot_owed = true;
  line->owed_slot_ns = line->next_slot_ns + n_passed * line->config.interval_ns;
  line->next_slot_ns = line->owed_slot_ns + line->config.interval_ns;
}

static bool is_hopeless(const hf_line *line, int64_t now_ns) {
  if (now_ns >= line->close_ns || !line->goodbye) return true;
  hf_line_state state = line->stats.state;
  if (state == HF_LINE_CONNECTED) return false;
  // A backend that never got a beat needs no goodbye, and no wait for a new attempt is shorter than the caller waits.
  return state == HF_LINE_WAITING || state == HF_LINE_RESOLVING || line->stats.n_beats == 0;
}

void hf_line_step(hf_line *line, int64_t now_ns, int64_t wall_ms, int ready) {
  if (line->stats.state == HF_LINE_CLOSED || !line->started) return;
  keep_schedule(line, now_ns);
  if (line->closing && is_hopeless(line, now_ns)) {
    end_line(line, false);
    return;
  }
  switch (line->stats.state) {
    case HF_LINE_IDLE:
      // http connects only for a beat; the others stay connected
      if (wants_to_send(line) || line->config.envelope.transport == HF_SERMANT) connect_first(line, now_ns);
      break;
    case HF_LINE_RESOLVING:
      if (line->n_addresses != 0) connect_first(line, now_ns);
      break;
    case HF_LINE_WAITING:
      if (now_ns >= line->until_ns) connect_first(line, now_ns);
      break;
    case HF_LINE_CONNECTING:
      if (ready) {
        int error = line->net->connect_result(line->net, line->fd);
        if (error == EINPROGRESS) break;
        if (error == 0)
          be_connected(line, now_ns);
        else
          this_address_failed(line, now_ns, error);
      } else if (now_ns >= line->until_ns) {
        this_address_failed(line, now_ns, ETIMEDOUT);
      }
      break;
    case HF_LINE_CONNECTED:
      if (ready & HF_READABLE) read_some(line, now_ns);
      break;
    case HF_LINE_CLOSED:
    case HF_N_LINE_STATES:
      break;
  }
  if (line->stats.state == HF_LINE_CONNECTED) send_what_is_due(line, now_ns, wall_ms);
  if (line->closing && line->stats.state != HF_LINE_CLOSED && is_hopeless(line, now_ns)) end_line(line, false);
}

int hf_line_interest(const hf_line *line) {
  if (line->fd < 0) return 0;
  if (line->stats.state == HF_LINE_CONNECTING) return HF_WRITABLE;
  return line->out_at < line->out_n ? HF_READABLE | HF_WRITABLE : HF_READABLE;
}

int64_t hf_line_next_ns(const hf_line *line) {
  if (line->stats.state == HF_LINE_CLOSED || !line->started) return HF_NEVER;
  int64_t next_ns = hf_min_i64(line->close_ns, line->until_ns);
  // An idle line that has something to send connects at once.
  if (line->stats.state == HF_LINE_IDLE && wants_to_send(line)) return INT64_MIN;
  if (can_beat(line)) next_ns = hf_min_i64(next_ns, line->next_slot_ns == HF_NEVER ? INT64_MIN : line->next_slot_ns);
  return next_ns;
}
