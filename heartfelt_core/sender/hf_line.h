// SPDX-License-Identifier: MIT
// A line: one agent's way to one backend, as a state machine. It keeps the schedule of the beats, the connection and
// its waits, and one buffer with the beat that is being sent. It has no thread, no clock and no lock of its own: its
// driver (hf_sender) passes the time in and says whether the socket is ready, and tests drive it in virtual time.
//
//   IDLE -> (RESOLVING) -> CONNECTING -> CONNECTED -> WAITING -> CONNECTING ...  CLOSED from anywhere
//
// Invariants
//   - A slot is due at the first time plus a multiple of the interval. Each slot is sent, or counted as missed; it may
//     be sent late, but not once the next is due. So there is never a burst, and at most one beat is being sent.
//   - A beat carries the newest head: nothing is kept for later except the rest of a beat that was begun.
//   - A new connection gets a beat at once (http: the one that is due).
//   - The wait before a new attempt starts over only after a connection that lasted (HF_LASTED), http: after an answer.
//   - fd >= 0 only in CONNECTING and CONNECTED. Only hf_line_step and hf_line_abandon touch it.
//   - Memory: callers allocate head, buffer and addresses; hf_line_step allocates nothing, and cannot fail.
// All calls O(size of a beat). Calls exclude each other by the caller's lock, except hf_line_refresh: any thread, any
// time. A line does not resolve names: it requests addresses (hf_line_take_wish), and is given them.
#ifndef HF_LINE_H
#define HF_LINE_H

#include "hf_answer.h"
#include "hf_atomic.h"
#include "hf_backoff.h"
#include "hf_envelope.h"
#include "hf_net.h"

#define HF_HEAD_MAX ((1u << 20) - 4096u)  // bytes of a deflated head or of a goodbye: no frame is longer than 1 MiB
#define HF_ADDRESSES_MAX 16u

typedef enum {
  HF_LINE_IDLE = 0,  // not started, or http without a connection between two beats
  HF_LINE_RESOLVING,
  HF_LINE_CONNECTING,
  HF_LINE_CONNECTED,
  HF_LINE_WAITING,
  HF_LINE_CLOSED,
  HF_N_LINE_STATES,  // how many there are
} hf_line_state;

typedef enum {
  HF_AT_NOTHING = 0,
  HF_AT_RESOLVE,       // no address; the caller words the error
  HF_AT_CONNECT,       // code: error number
  HF_AT_CONNECT_TIME,  // not connected within the limit
  HF_AT_WRITE,         // code: error number
  HF_AT_WRITE_TIME,    // the backend did not take a beat within the limit
  HF_AT_READ,          // code: error number
  HF_AT_PEER_CLOSED,
  HF_AT_ANSWER,       // http: not an answer
  HF_AT_ANSWER_TIME,  // http: no answer within the limit
  HF_AT_STATUS,       // http: refused; code: status
  HF_N_LINE_STAGES,   // how many there are
} hf_line_stage;

enum { HF_READABLE = 1, HF_WRITABLE = 2 };

typedef struct {
  hf_envelope envelope;  // the preamble is copied
  bool resolves;         // there is a name: request addresses
  int64_t interval_ns, connect_limit_ns, write_limit_ns, first_wait_ns, most_wait_ns;
  uint64_t seed;
} hf_line_config;

typedef struct {
  hf_line_state state;
  hf_line_stage failed_at;  // the last failure
  int fail_code;
  uint64_t n_beats, n_missed, n_refused, n_connects, n_failures;
  int64_t wait_ns;  // the present wait, 0 unless WAITING
  int64_t max_late_ns;
} hf_line_stats;

typedef struct {
  // const after init
  hf_line_config config;
  const hf_net *net;
  uint8_t *preamble;
  // any thread, atomic: when the interpreter last ran
  hf_atomic_i64 refreshed_ns;
  // the rest: under the caller's lock
  hf_head head;  // deflated: NULL until there is one
  hf_address addresses[HF_ADDRESSES_MAX];
  uint32_t n_addresses, at_address;
  hf_line_stats stats;
  hf_backoff backoff;
  hf_answer answer;
  int fd;
  bool started, wishes;
  // the schedule
  bool slot_owed, wanted;  // a slot's beat is due and not begun; a beat is wanted whatever the schedule says
  int64_t next_slot_ns;    // HF_NEVER until there is a head and a start
  int64_t owed_slot_ns;    // when the slot that is owed was due
  uint64_t n_made;
  int64_t last_wall_ms;
  // the connection: until_ns ends CONNECTING or WAITING, or the beat that is being sent
  int64_t until_ns, connected_ns;
  bool first_frame, answered;  // answered: this connection has carried a beat and its answer
  // what is being sent
  enum { HF_NO_FLIGHT = 0, HF_BEAT_FLIES, HF_GOODBYE_FLIES } flight;
  bool flight_has_slot, awaits_answer;
  int64_t flight_slot_ns;
  uint8_t *out;
  size_t out_cap, out_at, out_n;
  // the end
  bool closing, goodbye_sent;
  int64_t close_ns;
  uint8_t *goodbye;
  size_t n_goodbye;
} hf_line;

hf_status hf_line_init(hf_line *line, const hf_line_config *config, const hf_net *net);
void hf_line_deinit(hf_line *line);  // closes the descriptor

// HF_FULL: longer than HF_HEAD_MAX. *old: the caller frees it after it has released the lock.
hf_status hf_line_set_head(hf_line *line, const hf_head *head, void *old[2]);
void hf_line_set_addresses(hf_line *line, const hf_address *addresses, uint32_t n);
// Reports that no address was found.
void hf_line_lookup_failed(hf_line *line, int64_t now_ns);
bool hf_line_take_wish(hf_line *line);  // true once for each request for addresses
void hf_line_start(hf_line *line, int64_t now_ns);
static inline void hf_line_refresh(hf_line *line, int64_t now_ns) { HF_STORE_RLX(&line->refreshed_ns, now_ns); }
void hf_line_beat_now(hf_line *line);
// Ends the line by close_ns, with a goodbye if n != 0 and the backend can be reached; steps do the rest.
hf_status hf_line_close(hf_line *line, const uint8_t *goodbye, size_t n, int64_t close_ns);
void hf_line_abandon(hf_line *line);  // CLOSED at once; sends nothing

// Does everything that is due. ready: HF_READABLE and HF_WRITABLE, as poll found the socket.
void hf_line_step(hf_line *line, int64_t now_ns, int64_t wall_ms, int ready);
// For the next step: the events to poll for at fd, and the latest time.
int hf_line_interest(const hf_line *line);
int64_t hf_line_next_ns(const hf_line *line);

#endif
