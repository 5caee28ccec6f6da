// SPDX-License-Identifier: MIT
// Splits bytes into HTTP/1.1 requests, for the few forms that the door answers itself: pings and heartbeats.
//
// Everything else is OTHER, which means "let the general server read it", never "bad". A request is READY only if there
// is one way to read it: a small set of methods, targets and headers, CR LF at each line's end, one Host, a length in
// plain digits. So no byte sequence is read in two ways, and nothing can be smuggled between the two servers. Allocates
// nothing, keeps no state; O(bytes).
#ifndef HF_REQUEST_H
#define HF_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  HF_REQUEST_OTHER = 0,  // incomplete, or not for the door
  HF_REQUEST_READY,
} hf_request_result;

typedef enum { HF_METHOD_GET = 0, HF_METHOD_HEAD, HF_METHOD_POST, HF_N_METHODS } hf_method;
typedef enum { HF_TARGET_PING = 0, HF_TARGET_BEATS, HF_N_TARGETS } hf_target;

typedef struct {
  const uint8_t *at;  // NULL: not there
  size_t n;
} hf_span;

typedef struct {
  hf_method method;
  hf_target target;
  hf_span path;   // as it was sent, without the query
  hf_span query;  // without "?"; at is NULL if there is no "?"
  hf_span host;
  hf_span authorization;
  hf_span body;
  hf_span plain_key;  // of a ping whose path can be nothing but a key, without query and body
  bool must_close;
  size_t n_used;  // bytes of the whole request
} hf_request;

// most_head: the longest head that the general server takes. most_body: a longer body is OTHER.
hf_request_result hf_request_read(const uint8_t *bytes, size_t n, size_t most_head, size_t most_body, hf_request *out);

#endif
