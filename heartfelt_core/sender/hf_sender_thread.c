// SPDX-License-Identifier: MIT
#include "hf_sender_thread.h"

#include <poll.h>
#include <stdlib.h>

static int64_t now(void) { return hf_clock_system_ns(HF_CLOCK_MONOTONIC); }

// Takes over the lines that callers have started. New lines go to the end of the list: the array of polls is rebuilt in
// the order of the list, so no line writes an entry that a later one has yet to read.
static void adopt(hf_sender *sender) {
  hf_lock_acquire(&sender->life);
  hf_sender_line *oldest = NULL;
  while (sender->incoming) {  // reversed: the latest comes first
    hf_sender_line *line = sender->incoming;
    sender->incoming = line->next;
    line->next = oldest;
    line->poll_slot = 0;
    oldest = line;
  }
  hf_sender_line **end = &sender->active;
  while (oldest && *end) end = &(*end)->next;
  if (oldest) *end = oldest;
  if (sender->spare) {
    for (uint32_t i = 0; i < sender->n_polls; i++) sender->spare[i] = sender->polls[i];
    free(sender->polls);
    sender->polls = sender->spare;
    sender->n_polls = sender->n_spare;
    sender->spare = NULL;
  }
  hf_lock_release(&sender->life);
}

static int readiness(const struct pollfd *poll) {
  if (poll->revents & (POLLERR | POLLHUP | POLLNVAL)) return HF_READABLE | HF_WRITABLE;
  return (poll->revents & POLLIN ? HF_READABLE : 0) | (poll->revents & POLLOUT ? HF_WRITABLE : 0);
}

typedef struct {
  uint32_t n_polls;  // entry 0 is the bell
  int64_t next_ns;
  hf_sender_line *ended;
} round_result;

// Steps one line and stores what it waits for. True: it has ended.
static bool step_line(hf_sender *sender, hf_sender_line *line, round_result *result) {
  int ready = line->poll_slot ? readiness(&sender->polls[line->poll_slot]) : 0;
  hf_lock_acquire(&line->lock);
  hf_line_step(&line->line, now(), hf_clock_wall_ns() / HF_NS_PER_MS, ready);
  bool ended = line->line.stats.state == HF_LINE_CLOSED, wishes = line->line.wishes;
  int interest = hf_line_interest(&line->line), fd = line->line.fd;
  int64_t next_ns = hf_line_next_ns(&line->line);
  hf_lock_release(&line->lock);
  line->poll_slot = 0;
  if (ended) return true;
  if (wishes) hf_bell_ring(&sender->wishes);
  if (interest) {
    line->poll_slot = result->n_polls++;
    sender->polls[line->poll_slot] = (struct pollfd){
        .fd = fd,
        .events = (short)((interest & HF_READABLE ? POLLIN : 0) | (interest & HF_WRITABLE ? POLLOUT : 0)),
    };
  }
  result->next_ns = hf_min_i64(result->next_ns, next_ns);
  return false;
}

static round_result step_all(hf_sender *sender) {
  round_result result = {.n_polls = 1, .next_ns = HF_NEVER};
  for (hf_sender_line **at = &sender->active; *at;) {
    hf_sender_line *line = *at;
    if (!step_line(sender, line, &result)) {
      at = &line->next;
      continue;
    }
    *at = line->next;
    line->next = result.ended;
    result.ended = line;
  }
  return result;
}

// Subtracts ended lines. True: there is none left, and a caller that comes now finds the thread ended.
static bool count_off(hf_sender *sender, const hf_sender_line *ended) {
  hf_lock_acquire(&sender->life);
  for (; ended; ended = ended->next) sender->n_lines--;
  bool last = sender->n_lines == 0;
  if (last) sender->state = HF_SENDER_ENDED;
  hf_lock_release(&sender->life);
  return last;
}

static void tell_closers(hf_sender_line *line) {
  while (line) {
    hf_sender_line *next = line->next;
    HF_STORE_REL(&line->ended, 1u);  // partner: hf_sender_close
    hf_sleeper_wake(&line->end_sleeper);
    hf_sender_drop_owner(line);
    line = next;
  }
}

static void sleep_until(hf_sender *sender, uint32_t n_polls, int64_t next_ns) {
  sender->polls[0] = (struct pollfd){.fd = (int)sender->bell.read_fd, .events = POLLIN};
  int64_t left_ns = next_ns == HF_NEVER ? -1 : next_ns == INT64_MIN ? 0 : hf_max_i64(next_ns - now(), 0);
#if defined(__linux__)
  struct timespec limit = {.tv_sec = (time_t)(left_ns / HF_NS_PER_S), .tv_nsec = (long)(left_ns % HF_NS_PER_S)};
  int n = ppoll(sender->polls, n_polls, left_ns < 0 ? NULL : &limit, NULL);
#else
  int64_t left_ms = hf_min_i64((left_ns + HF_NS_PER_MS - 1) / HF_NS_PER_MS, INT32_MAX);
  int n = poll(sender->polls, n_polls, left_ns < 0 ? -1 : (int)left_ms);
#endif
  if (n >= 0) return;
  // Interrupted, or no memory for this call: the state of no socket is known.
  for (uint32_t i = 0; i < n_polls; i++) sender->polls[i].revents = 0;
}

void hf_sender_run(void *argument) {
  hf_sender *sender = argument;
  for (;;) {
    hf_lock_acquire(&sender->stepping);
    adopt(sender);
    hf_bell_silence(&sender->bell);  // before the look at the lines: the next round notices a ring from here on
    round_result result = step_all(sender);
    bool last = result.ended && count_off(sender, result.ended);
    hf_lock_release(&sender->stepping);
    tell_closers(result.ended);
    if (last) return;
    sleep_until(sender, result.n_polls, result.next_ns);
  }
}
