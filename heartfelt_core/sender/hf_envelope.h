// SPDX-License-Identifier: MIT
// The envelope of a beat: the fields that change with each beat, and the framing of the transport.
//
//   sermant   varint length, then a NettyMessage: field 2 { field 2: gzip }; field 1000 is a goodbye, 1001 a token
//   http      the request's head, which ends in "Content-Length: ", then the length, an empty line, the gzip
//   udp       the token line, if there is one, then the gzip
//
// Pure functions that write into storage of the caller, who asks hf_envelope_room first. Any thread.
#ifndef HF_ENVELOPE_H
#define HF_ENVELOPE_H

#include "hf_gzip_tail.h"

typedef enum { HF_SERMANT = 0, HF_HTTP, HF_UDP, HF_N_TRANSPORTS } hf_transport;

#define HF_TAIL_MAX 224u  // four names and four numbers of at most 20 digits

typedef struct {
  int64_t time_ms, last_time_ms;  // wall clock, of this beat and of the one before
  int64_t lag_ms;                 // since the interpreter last ran
  uint64_t number;                // the number of this beat, from 1
} hf_tail;

// sermant: the token, sent in the first frame of a connection only; http: the request's head; udp: the token line.
typedef struct {
  hf_transport transport;
  const uint8_t *preamble;
  size_t n_preamble;
} hf_envelope;

// An upper bound of the size of a beat or a goodbye with this payload.
size_t hf_envelope_room(const hf_envelope *envelope, size_t n_payload);
// out must hold HF_TAIL_MAX bytes. Returns the length.
size_t hf_tail_write(uint8_t *out, const hf_tail *tail);
// Both return the number of bytes. `first`: nothing was sent on this connection yet.
size_t hf_beat_write(uint8_t *out, const hf_envelope *envelope, bool first, const hf_head *head, const hf_tail *tail);
size_t hf_goodbye_write(uint8_t *out, const hf_envelope *envelope, bool first, const uint8_t *payload, size_t n);

#endif
