// SPDX-License-Identifier: MIT
#include "hf_envelope.h"

#include <inttypes.h>
#include <stdio.h>

enum { FIELD_2 = 2 << 3 | 2, FIELD_GOODBYE = 1000 << 3 | 2, FIELD_TOKEN = 1001 << 3 | 2 };

static uint8_t *put_varint(uint8_t *out, size_t value) {
  for (; value > 0x7f; value >>= 7) *out++ = (uint8_t)(value | 0x80);
  *out++ = (uint8_t)value;
  return out;
}
static size_t varint_size(size_t value) {
  size_t n = 1;
  for (; value > 0x7f; value >>= 7) n++;
  return n;
}
// A field of known length: its tag and its length; the content is the caller's.
static uint8_t *put_field(uint8_t *out, size_t tag, size_t n) { return put_varint(put_varint(out, tag), n); }
static size_t field_size(size_t tag, size_t n) { return varint_size(tag) + varint_size(n) + n; }

size_t hf_envelope_room(const hf_envelope *envelope, size_t n_payload) {
  return envelope->n_preamble + n_payload + 64;  // sermant: 3 tags, 4 lengths; http: a length of 20 digits, 4 ends
}

size_t hf_tail_write(uint8_t *out, const hf_tail *tail) {
  int n = snprintf((char *)out, HF_TAIL_MAX,
                   ",\"heartbeatTime\":%" PRId64 ",\"lastHeartbeatTime\":%" PRId64 ",\"lagMs\":%" PRId64
                   ",\"beat\":%" PRIu64 "}",
                   tail->time_ms, tail->last_time_ms, tail->lag_ms, tail->number);
  return (size_t)n;
}

// The content of an envelope: a gzip made of head and tail, or bytes as they are.
typedef struct {
  const hf_head *head;
  const uint8_t *bytes;  // the tail, if there is a head
  size_t n_bytes;
} content;

static size_t content_size(const content *c) {
  return c->head ? hf_gzip_size(c->head->n_deflated, c->n_bytes) : c->n_bytes;
}
static uint8_t *put_content(uint8_t *out, const content *c) {
  return c->head ? hf_gzip_put(out, c->head, c->bytes, c->n_bytes) : hf_put_bytes(out, c->bytes, c->n_bytes);
}

static uint8_t *put_frame(uint8_t *out, const hf_envelope *envelope, bool first, const content *c) {
  bool with_token = first && envelope->n_preamble != 0;
  size_t n = content_size(c), n_data = field_size(FIELD_2, n);
  size_t n_message = c->head ? field_size(FIELD_2, n_data) : field_size(FIELD_GOODBYE, n);
  if (with_token) n_message += field_size(FIELD_TOKEN, envelope->n_preamble);
  out = put_varint(out, n_message);
  if (c->head) {
    out = put_field(out, FIELD_2, n_data);
    out = put_field(out, FIELD_2, n);
  } else {
    out = put_field(out, FIELD_GOODBYE, n);
  }
  out = put_content(out, c);
  if (!with_token) return out;
  return hf_put_bytes(put_field(out, FIELD_TOKEN, envelope->n_preamble), envelope->preamble, envelope->n_preamble);
}

static size_t write_envelope(uint8_t *out, const hf_envelope *envelope, bool first, const content *c) {
  if (envelope->transport == HF_SERMANT) return (size_t)(put_frame(out, envelope, first, c) - out);
  uint8_t *at = hf_put_bytes(out, envelope->preamble, envelope->n_preamble);
  if (envelope->transport == HF_HTTP) {
    char length[32];
    at = hf_put_bytes(at, length, (size_t)snprintf(length, sizeof length, "%zu\r\n\r\n", content_size(c)));
  }
  return (size_t)(put_content(at, c) - out);
}

size_t hf_beat_write(uint8_t *out, const hf_envelope *envelope, bool first, const hf_head *head, const hf_tail *tail) {
  uint8_t text[HF_TAIL_MAX];
  content c = {.head = head, .bytes = text, .n_bytes = hf_tail_write(text, tail)};
  return write_envelope(out, envelope, first, &c);
}

size_t hf_goodbye_write(uint8_t *out, const hf_envelope *envelope, bool first, const uint8_t *payload, size_t n) {
  content c = {.head = NULL, .bytes = payload, .n_bytes = n};
  return write_envelope(out, envelope, first, &c);
}
