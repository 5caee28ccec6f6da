// SPDX-License-Identifier: MIT
// The callers' side of the sender; its thread is in hf_sender_thread.c.
#include "hf_sender.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "hf_sender_thread.h"

static int64_t now(void) { return hf_clock_system_ns(HF_CLOCK_MONOTONIC); }

static hf_status init_life(hf_sender *sender) {
  memset(sender, 0, sizeof *sender);
  hf_bell_init(&sender->bell);
  hf_bell_init(&sender->wishes);
  if (hf_lock_init(&sender->stepping) != HF_OK) return HF_NO_MEMORY;
  if (hf_lock_init(&sender->life) == HF_OK) return HF_OK;
  hf_lock_deinit(&sender->stepping);
  return HF_NO_MEMORY;
}

hf_status hf_sender_init(hf_sender *sender) { return init_life(sender); }

hf_sender_line *hf_sender_open(hf_sender *sender, const hf_line_config *config, const hf_net *net) {
  hf_sender_line *line = calloc(1, sizeof *line);
  if (!line) return NULL;
  line->sender = sender;
  HF_STORE_RLX(&line->n_owners, 1u);
  if (hf_line_init(&line->line, config, net) != HF_OK) goto no_line;
  if (hf_lock_init(&line->lock) != HF_OK) goto no_lock;
  if (hf_sleeper_init(&line->end_sleeper, HF_CLOCK_MONOTONIC) != HF_OK) goto no_sleeper;
  return line;
no_sleeper:
  hf_lock_deinit(&line->lock);
no_lock:
  hf_line_deinit(&line->line);
no_line:
  free(line);
  return NULL;
}

void hf_sender_drop_owner(hf_sender_line *line) {
  // acq_rel, with itself: the last owner sees what the other one did
  if (atomic_fetch_sub_explicit(&line->n_owners, 1u, memory_order_acq_rel) != 1) return;
  hf_line_deinit(&line->line);
  hf_sleeper_deinit(&line->end_sleeper);
  hf_lock_deinit(&line->lock);
  free(line);
}

// Joins a thread that has taken its last step. Under life.
static void join_ended(hf_sender *sender) {
  if (sender->state != HF_SENDER_ENDED) return;
  hf_thread_join(&sender->thread);
  sender->state = HF_NO_SENDER_THREAD;
}

// Makes room for one more line in the array of polls, and opens the bell. Under life.
static hf_status make_room(hf_sender *sender) {
  uint32_t n_needed = sender->n_lines + 2;
  if (n_needed <= sender->n_promised) return HF_OK;
  uint32_t n = n_needed < 8 ? 16 : n_needed * 2;
  struct pollfd *spare = calloc(n, sizeof *spare);
  if (!spare) return HF_NO_MEMORY;
  free(sender->spare);
  sender->spare = spare;
  sender->n_spare = sender->n_promised = n;
  return HF_OK;
}

// Under life.
static hf_status take_in(hf_sender *sender, hf_sender_line *line) {
  join_ended(sender);
  if (!hf_bell_open(&sender->bell, -1, -1)) return HF_NO_MEMORY;
  hf_status status = make_room(sender);
  if (status != HF_OK) return status;
  if (sender->state == HF_NO_SENDER_THREAD) {
    // Until it finds its first line the thread must not end: n_lines is raised under the same lock.
    status = hf_thread_start(&sender->thread, "hf-sender", hf_sender_run, sender);
    if (status != HF_OK) return status;
    sender->state = HF_SENDER_RUNS;
  }
  HF_ADD_RLX(&line->n_owners, 1u);
  line->next = sender->incoming;
  sender->incoming = line;
  sender->n_lines++;
  return HF_OK;
}

hf_status hf_sender_start(hf_sender_line *line) {
  hf_sender *sender = line->sender;
  if (HF_LOAD_ACQ(&line->abandoned)) return HF_CLOSED;  // partner: hf_sender_abandon
  hf_lock_acquire(&line->lock);
  bool is_new = !line->line.started, closed = line->line.stats.state == HF_LINE_CLOSED || line->line.closing;
  if (is_new && !closed) hf_line_start(&line->line, now());
  hf_lock_release(&line->lock);
  if (closed) return HF_CLOSED;
  if (!is_new) return HF_OK;
  hf_lock_acquire(&sender->life);
  hf_status status = take_in(sender, line);
  hf_lock_release(&sender->life);
  if (status == HF_OK) {
    hf_bell_ring(&sender->bell);
    return HF_OK;
  }
  hf_lock_acquire(&line->lock);
  line->line.started = false;
  hf_lock_release(&line->lock);
  return status;
}

hf_status hf_sender_set_head(hf_sender_line *line, const hf_head *head) {
  if (HF_LOAD_ACQ(&line->abandoned)) return HF_CLOSED;  // partner: hf_sender_abandon
  void *old[2];
  hf_lock_acquire(&line->lock);
  bool is_first = !line->line.head.deflated;
  hf_status status = hf_line_set_head(&line->line, head, old);
  hf_line_refresh(&line->line, now());
  hf_lock_release(&line->lock);
  free(old[0]);
  free(old[1]);
  if (is_first) hf_bell_ring(&line->sender->bell);
  return status;
}

void hf_sender_refresh(hf_sender_line *line) { hf_line_refresh(&line->line, now()); }

void hf_sender_beat_now(hf_sender_line *line) {
  if (HF_LOAD_ACQ(&line->abandoned)) return;  // partner: hf_sender_abandon
  hf_lock_acquire(&line->lock);
  hf_line_beat_now(&line->line);
  hf_lock_release(&line->lock);
  hf_bell_ring(&line->sender->bell);
}

void hf_sender_set_addresses(hf_sender_line *line, const hf_address *addresses, uint32_t n) {
  if (HF_LOAD_ACQ(&line->abandoned)) return;  // partner: hf_sender_abandon
  hf_lock_acquire(&line->lock);
  hf_line_set_addresses(&line->line, addresses, n);
  hf_lock_release(&line->lock);
  hf_bell_ring(&line->sender->bell);
}

void hf_sender_lookup_failed(hf_sender_line *line) {
  if (HF_LOAD_ACQ(&line->abandoned)) return;  // partner: hf_sender_abandon
  hf_lock_acquire(&line->lock);
  hf_line_lookup_failed(&line->line, now());
  hf_lock_release(&line->lock);
  hf_bell_ring(&line->sender->bell);
}

bool hf_sender_take_wish(hf_sender_line *line) {
  if (HF_LOAD_ACQ(&line->abandoned)) return false;  // partner: hf_sender_abandon
  hf_lock_acquire(&line->lock);
  bool wishes = hf_line_take_wish(&line->line);
  hf_lock_release(&line->lock);
  return wishes;
}

hf_line_stats hf_sender_stats(hf_sender_line *line) {
  if (HF_LOAD_ACQ(&line->abandoned)) return line->line.stats;  // nobody writes it any more
  hf_lock_acquire(&line->lock);
  hf_line_stats stats = line->line.stats;
  hf_lock_release(&line->lock);
  return stats;
}

bool hf_sender_close(hf_sender_line *line, const uint8_t *goodbye, size_t n, int64_t wait_ns) {
  hf_sender *sender = line->sender;
  if (HF_LOAD_ACQ(&line->abandoned)) return false;  // partner: hf_sender_abandon
  int64_t until_ns = now() + wait_ns;
  hf_lock_acquire(&line->lock);
  bool started = line->line.started;
  (void)hf_line_close(&line->line, goodbye, n, until_ns);  // without memory for the goodbye it ends without one: false
  hf_lock_release(&line->lock);
  if (!started) return false;
  hf_bell_ring(&sender->bell);
  while (!HF_LOAD_ACQ(&line->ended) && now() < until_ns) hf_sleeper_wait(&line->end_sleeper, until_ns);  // partner: run
  hf_lock_acquire(&line->lock);
  bool sent = line->line.goodbye_sent;
  hf_lock_release(&line->lock);
  hf_lock_acquire(&sender->life);
  join_ended(sender);
  hf_lock_release(&sender->life);
  return sent;
}

void hf_sender_abandon(hf_sender_line *line) {
  if (HF_XCHG(&line->abandoned, 1u)) return;  // partner: the loads of `abandoned`
  hf_line_abandon(&line->line);
}

void hf_sender_release(hf_sender_line *line) {
  if (HF_LOAD_ACQ(&line->abandoned)) return;  // its memory is left alone
  hf_lock_acquire(&line->lock);
  (void)hf_line_close(&line->line, NULL, 0, now());
  hf_lock_release(&line->lock);
  hf_bell_ring(&line->sender->bell);
  hf_sender_drop_owner(line);
}

bool hf_sender_wait_for_wish(hf_sender *sender, int64_t timeout_ns) {
  hf_lock_acquire(&sender->life);
  bool opened = hf_bell_open(&sender->wishes, -1, -1);
  hf_lock_release(&sender->life);
  if (!opened) return false;
  if (hf_bell_wait(&sender->wishes, timeout_ns) == HF_BELL_RUNG) hf_bell_silence(&sender->wishes);
  return true;
}
void hf_sender_ring_wishes(hf_sender *sender) { hf_bell_ring(&sender->wishes); }

bool hf_sender_runs(hf_sender *sender) {
  hf_lock_acquire(&sender->life);
  bool runs = sender->state == HF_SENDER_RUNS;
  hf_lock_release(&sender->life);
  return runs;
}

void hf_sender_before_fork(hf_sender *sender) {
  hf_lock_acquire(&sender->stepping);
  hf_lock_acquire(&sender->life);
}

void hf_sender_after_fork_in_parent(hf_sender *sender) {
  hf_lock_release(&sender->life);
  hf_lock_release(&sender->stepping);
}

static void abandon_all(hf_sender_line *line) {
  for (; line; line = line->next) hf_sender_abandon(line);
}

void hf_sender_after_fork_in_child(hf_sender *sender) {
  abandon_all(sender->incoming);
  abandon_all(sender->active);
  hf_bell_abandon(&sender->bell);
  hf_bell_abandon(&sender->wishes);
  (void)init_life(sender);  // initializing a mutex does not fail where it succeeded before
}
