// SPDX-License-Identifier: MIT
// What goes on the wire, byte by byte: gzip with a stored end, frames, requests, datagrams. That any gunzip reads it is
// tested from Python.
#include "hf_envelope.h"
#include "hf_fake_net.h"

static const hf_tail tail = {.time_ms = 1700000000123, .last_time_ms = 1699999997123, .lag_ms = 42, .number = 7};
static const char tail_text[] =
    ",\"heartbeatTime\":1700000000123,\"lastHeartbeatTime\":1699999997123,\"lagMs\":42,\"beat\":7}";

// The text of a gzip whose blocks are all stored, with every field checked. Returns its length.
static size_t unpack_stored(const uint8_t *gzip, size_t n, uint8_t *text) {
  static const uint8_t magic[] = {0x1f, 0x8b, 8, 0};
  if (!CHECK(n >= 18 && memcmp(gzip, magic, 4) == 0)) return 0;
  size_t at = 10, n_text = 0;
  for (bool last = false; !last;) {
    if (!CHECK(at + 5 <= n)) return 0;
    CHECK(gzip[at] <= 1);  // stored
    last = gzip[at] & 1;
    uint32_t length = gzip[at + 1] | (uint32_t)gzip[at + 2] << 8, inverse = gzip[at + 3] | (uint32_t)gzip[at + 4] << 8;
    CHECK_EQ(length ^ inverse, 0xffff);
    if (!CHECK(at + 5 + length <= n)) return 0;
    memcpy(text + n_text, gzip + at + 5, length);
    n_text += length;
    at += 5 + length;
  }
  uint32_t crc = 0, size = 0;
  CHECK_EQ(at + 8, n);
  for (int i = 3; i >= 0; i--) {
    crc = crc << 8 | gzip[at + (size_t)i];
    size = size << 8 | gzip[at + 4 + (size_t)i];
  }
  CHECK_EQ(crc, hf_crc32(0, text, n_text));
  CHECK_EQ(size, n_text);
  return n_text;
}

static void check_gzip(const uint8_t *gzip, size_t n) {
  uint8_t text[1024];
  size_t n_text = unpack_stored(gzip, n, text);
  CHECK_EQ(n_text, 6 + sizeof tail_text - 1);
  CHECK(memcmp(text, HF_HEAD_TEXT, 6) == 0 && memcmp(text + 6, tail_text, sizeof tail_text - 1) == 0);
}

static void a_crc_is_that_of_gzip(void) {
  static const struct {
    const char *text;
    uint32_t crc;
  } known[] = {{"", 0}, {"a", 0xe8b7be43u}, {"123456789", 0xcbf43926u}, {"message digest", 0x20159d7fu}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    const uint8_t *text = (const uint8_t *)known[i].text;
    size_t n = strlen(known[i].text);
    CHECK_EQ(hf_crc32(0, text, n), known[i].crc);
    for (size_t cut = 0; cut <= n; cut++) CHECK_EQ(hf_crc32(hf_crc32(0, text, cut), text + cut, n - cut), known[i].crc);
  }
}

static size_t n_varint(const uint8_t *bytes, size_t *value) {
  size_t n = 0;
  *value = 0;
  do {
    *value |= (size_t)(bytes[n] & 0x7f) << (7 * n);
  } while (bytes[n++] & 0x80);
  return n;
}

static void a_frame_holds_the_beat_and_the_first_one_the_token(void) {
  hf_envelope envelope = {HF_SERMANT, (const uint8_t *)"tok", 3};
  hf_head head = hf_test_head();
  uint8_t out[1024];
  for (int first = 0; first < 2; first++) {
    size_t n = hf_beat_write(out, &envelope, first, &head, &tail), n_frame, n_data, n_gzip;
    CHECK(n <= hf_envelope_room(&envelope, hf_gzip_size(head.n_deflated, HF_TAIL_MAX)));
    size_t at = n_varint(out, &n_frame);
    CHECK_EQ(at + n_frame, n);
    CHECK_EQ(out[at++], 0x12);
    at += n_varint(out + at, &n_data);
    size_t end = at + n_data;
    CHECK_EQ(out[at++], 0x12);
    at += n_varint(out + at, &n_gzip);
    CHECK_EQ(at + n_gzip, end);
    check_gzip(out + at, n_gzip);
    CHECK_EQ(n - end, first ? 6 : 0);
    if (first) CHECK(memcmp(out + end, "\xca\x3e\x03tok", 6) == 0);  // field 1001
  }
}

static void a_goodbye_is_a_frame_of_its_own(void) {
  hf_envelope envelope = {HF_SERMANT, (const uint8_t *)"", 0};
  uint8_t out[64];
  size_t n = hf_goodbye_write(out, &envelope, true, (const uint8_t *)"{}", 2);
  CHECK(n == 6 && memcmp(out, "\x05\xc2\x3e\x02{}", 6) == 0);  // field 1000
}

static void long_frames_have_long_lengths(void) {
  enum { N = 300000 };
  uint8_t *payload = malloc(N), *out = malloc(N + 100);
  memset(payload, 'x', N);
  hf_envelope envelope = {HF_SERMANT, (const uint8_t *)"", 0};
  size_t n = hf_goodbye_write(out, &envelope, true, payload, N), n_frame, n_field;
  size_t at = n_varint(out, &n_frame);
  CHECK(at == 3 && at + n_frame == n);
  at += 2 + n_varint(out + at + 2, &n_field);
  CHECK(n_field == N && at + N == n);
  free(payload);
  free(out);
}

static void a_request_says_how_long_its_body_is(void) {
  static const char request[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ";
  hf_envelope envelope = {HF_HTTP, (const uint8_t *)request, sizeof request - 1};
  hf_head head = hf_test_head();
  uint8_t out[1024];
  size_t n = hf_beat_write(out, &envelope, false, &head, &tail), at = sizeof request - 1;
  CHECK(memcmp(out, request, at) == 0);
  size_t n_body = (size_t)strtoul((char *)out + at, NULL, 10);
  while (out[at] != '\r') at++;
  CHECK(memcmp(out + at, "\r\n\r\n", 4) == 0);
  CHECK_EQ(at + 4 + n_body, n);
  check_gzip(out + at + 4, n_body);
}

static void a_datagram_is_the_gzip_after_the_token_line(void) {
  hf_envelope envelope = {HF_UDP, (const uint8_t *)"Bearer tok\n", 11};
  hf_head head = hf_test_head();
  uint8_t out[1024];
  size_t n = hf_beat_write(out, &envelope, false, &head, &tail);
  CHECK(memcmp(out, "Bearer tok\n", 11) == 0);
  check_gzip(out + 11, n - 11);
}

static void the_longest_tail_fits(void) {
  hf_tail longest = {INT64_MIN, INT64_MIN, INT64_MIN, UINT64_MAX};
  uint8_t out[HF_TAIL_MAX];
  size_t n = hf_tail_write(out, &longest);
  CHECK(n < HF_TAIL_MAX && out[n - 1] == '}');
}

static void an_address_is_made_of_its_text(void) {
  hf_address address;
  CHECK(hf_address_from_text(&address, "127.0.0.1", 1, 0));
  CHECK(hf_address_from_text(&address, "fe80::1", 1, 2));
  CHECK(!hf_address_from_text(&address, "localhost", 1, 0));
  CHECK(!hf_address_from_text(&address, "127.0.0.256", 1, 0));
  CHECK(!hf_address_from_text(&address, "", 1, 0));
}

int main(void) {
  RUN(a_crc_is_that_of_gzip);
  RUN(a_frame_holds_the_beat_and_the_first_one_the_token);
  RUN(a_goodbye_is_a_frame_of_its_own);
  RUN(long_frames_have_long_lengths);
  RUN(a_request_says_how_long_its_body_is);
  RUN(a_datagram_is_the_gzip_after_the_token_line);
  RUN(the_longest_tail_fits);
  RUN(an_address_is_made_of_its_text);
  return hf_test_end(__FILE__);
}
