// SPDX-License-Identifier: MIT
// A bell signals readers that an event waits, through a file descriptor that poll, select and event loops understand.
// The descriptor is made when a reader first asks for it; until then, ringing costs one exchange.
//
// Protocol  A producer first appends its event, then rings. A reader that found nothing silences the bell, then looks
//           once more, and rings it again if there is something after all. So a bell may ring for nothing, but is never
//           silent while an event waits.
// Threads: ring and silence from any thread; open by one thread at a time.
#ifndef HF_BELL_H
#define HF_BELL_H

#include "hf_atomic.h"
#include "hf_base.h"

typedef struct {
  hf_atomic_u32 rung;
  hf_atomic_i64 write_fd;  // -1 until opened
  int64_t read_fd;
} hf_bell;

void hf_bell_init(hf_bell *bell);
// Takes over a connected, non-blocking pair: writing to write_fd makes read_fd readable. On POSIX pass -1, -1: the bell
// makes its own pair (an eventfd or a pipe) and closes it. False if the system has no descriptor left.
bool hf_bell_open(hf_bell *bell, int64_t read_fd, int64_t write_fd);
void hf_bell_deinit(hf_bell *bell);
// In the child after a fork: forgets the descriptors, which the parent still uses, without writing to them.
void hf_bell_abandon(hf_bell *bell);
void hf_bell_ring(hf_bell *bell);
void hf_bell_silence(hf_bell *bell);

typedef enum { HF_BELL_RUNG, HF_BELL_TIMED_OUT, HF_BELL_INTERRUPTED } hf_bell_wait_result;
// Blocks until the bell rings, timeout_ns have passed (negative: no limit) or a signal came. May return for no reason.
// The bell must be open.
hf_bell_wait_result hf_bell_wait(hf_bell *bell, int64_t timeout_ns);

#endif
