// SPDX-License-Identifier: MIT
// The sender: one native thread that drives the lines of a whole process. It sleeps in poll until a socket is ready, a
// beat is due or a caller has rung, and never touches Python. POSIX.
//
// Threads     Each function may be called from any thread; each waits for at most one step of one line (start: of the
//          list), except hf_sender_close, which waits until the line has ended. The thread runs while there is a line:
//          the first one that is started starts it, and the caller that closes the last one joins it.
// Owners      A hf_sender_line has two: its opener and, from start to its end, the thread. The last one frees it.
// Lock order  stepping, then life, then a line's. The thread holds `stepping` except while it sleeps, so a forking
//             thread that holds `stepping` and `life` finds no line in the middle of a step. Callers take one lock at a
//             time.
// Fork        hf_sender_before_fork and its two partners surround a fork. In the child the lines that were started are
//             CLOSED: their descriptors are closed without sending anything, and their memory is left alone; the sender
//             is as new. A thread that does not exist may hold a line's lock, so hf_sender_abandon takes none.
// Costs       A wake-up looks at each line: O(lines), tens of ns each. It is meant for hundreds of lines.
#ifndef HF_SENDER_H
#define HF_SENDER_H

#include "hf_bell.h"
#include "hf_line.h"
#include "hf_thread.h"

struct pollfd;
typedef struct hf_sender hf_sender;
typedef struct hf_sender_line hf_sender_line;

struct hf_sender_line {
  hf_sender *sender;  // const
  hf_lock lock;       // guards line
  hf_line line;
  hf_atomic_u32 n_owners, ended, abandoned;
  hf_sleeper end_sleeper;  // the caller that closes the line sleeps here
  // the thread only
  hf_sender_line *next;
  uint32_t poll_slot;  // 0: none
};

typedef enum { HF_NO_SENDER_THREAD = 0, HF_SENDER_RUNS, HF_SENDER_ENDED } hf_sender_state;

struct hf_sender {
  hf_lock stepping, life;
  hf_bell bell;    // wakes the thread
  hf_bell wishes;  // rung when a line needs addresses; the thread that looks them up opens it
  // under life
  hf_sender_state state;
  hf_thread thread;
  uint32_t n_lines;              // incoming and active
  hf_sender_line *incoming;      // started, not yet seen by the thread; the latest first
  struct pollfd *spare;          // a larger array for the thread, made by the caller that started a line
  uint32_t n_spare, n_promised;  // their lengths; n_promised: of the larger of spare and polls
  // the thread only, under stepping
  hf_sender_line *active;
  struct pollfd *polls;
  uint32_t n_polls;
};

hf_status hf_sender_init(hf_sender *sender);

// NULL: no memory. The line does nothing before it is started.
hf_sender_line *hf_sender_open(hf_sender *sender, const hf_line_config *config, const hf_net *net);
hf_status hf_sender_start(hf_sender_line *line);  // idempotent; HF_NO_THREAD, HF_NO_MEMORY: it is not started
hf_status hf_sender_set_head(hf_sender_line *line, const hf_head *head);  // also a refresh
void hf_sender_refresh(hf_sender_line *line);
void hf_sender_beat_now(hf_sender_line *line);
void hf_sender_set_addresses(hf_sender_line *line, const hf_address *addresses, uint32_t n);
void hf_sender_lookup_failed(hf_sender_line *line);
bool hf_sender_take_wish(hf_sender_line *line);
hf_line_stats hf_sender_stats(hf_sender_line *line);
// Blocks for at most wait_ns. True if the goodbye went out. One caller at a time.
bool hf_sender_close(hf_sender_line *line, const uint8_t *goodbye, size_t n, int64_t wait_ns);
// In the child after a fork; CLOSED from now on.
void hf_sender_abandon(hf_sender_line *line);
// The opener's last call: ends the line, if it is not closed, without a goodbye and without waiting.
void hf_sender_release(hf_sender_line *line);

// Blocks until a line requests addresses, or somebody rings. May return for no reason. False: the system gave no
// descriptor.
bool hf_sender_wait_for_wish(hf_sender *sender, int64_t timeout_ns);
void hf_sender_ring_wishes(hf_sender *sender);

bool hf_sender_runs(hf_sender *sender);  // whether the thread runs
void hf_sender_before_fork(hf_sender *sender);
void hf_sender_after_fork_in_parent(hf_sender *sender);
void hf_sender_after_fork_in_child(hf_sender *sender);

#endif
