// SPDX-License-Identifier: MIT
#include "hf_request.h"

#include <string.h>

#define BEATS "/api/v1/beats"
#define PING "/ping"
#define LENGTH(text) (sizeof(text) - 1)
#define LENGTH_DIGITS_MAX 6u

enum { TOKEN = 1, VALUE = 2, TARGET = 4, HOST_NAME = 8, IN_BRACKETS = 16, DIGIT = 32 };

// RFC 9110: tchar for names. Values: visible ASCII, space and tab. RFC 3986: targets without "#"; names of hosts
// without "%", which the general server reads; addresses in brackets.
static uint8_t kind_of(uint8_t c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
    return TOKEN | VALUE | TARGET | HOST_NAME | IN_BRACKETS | (c <= '9' ? DIGIT : 0);
  if (c == ' ' || c == '\t') return VALUE;
  if (c <= 0x20 || c >= 0x7f) return 0;
  uint8_t kind = VALUE;
  if (strchr("!#$%&'*+-.^_`|~", c) != NULL) kind |= TOKEN;
  if (strchr("-._~!$&'()*+,;=:@/?%", c) != NULL) kind |= TARGET;
  if (strchr("-._~!$&'()*+,;=", c) != NULL) kind |= HOST_NAME;
  if (strchr(":.%_~-", c) != NULL) kind |= IN_BRACKETS;
  return kind;
}

static uint8_t kinds[256];
__attribute__((constructor)) static void fill_kinds(void) {
  for (unsigned c = 0; c < 256; c++) kinds[c] = kind_of((uint8_t)c);
}

static inline const uint8_t *skip(const uint8_t *at, const uint8_t *end, uint8_t kind) {
  while (at < end && (kinds[*at] & kind)) at++;
  return at;
}

static inline bool starts(const uint8_t *at, const uint8_t *end, const char *text, size_t n) {
  return (size_t)(end - at) >= n && memcmp(at, text, n) == 0;
}

static bool equals(hf_span span, const char *lower, size_t n) {
  if (span.n != n) return false;
  for (size_t k = 0; k < n; k++) {
    uint8_t c = span.at[k];
    if (c >= 'A' && c <= 'Z') c |= 0x20;
    if (c != (uint8_t)lower[k]) return false;
  }
  return true;
}

typedef enum { UNKNOWN = 0, IGNORED, HOST, N_BODY, AUTHORIZATION, CONNECTION } field_kind;

// Fields that neither server acts upon, as common clients send them. One that is not here is left to the general
// server, since a later version of it may act upon it.
static const char *const IGNORED_FIELDS[] = {
    "accept", "accept-encoding", "accept-language", "cache-control", "content-type",
    "pragma", "x-request-id",    "traceparent",     "tracestate",    "user-agent",
};

static field_kind field_of(hf_span name) {
  if (equals(name, "host", 4)) return HOST;
  if (equals(name, "content-length", 14)) return N_BODY;
  if (equals(name, "authorization", 13)) return AUTHORIZATION;
  if (equals(name, "connection", 10)) return CONNECTION;
  for (size_t k = 0; k < sizeof IGNORED_FIELDS / sizeof *IGNORED_FIELDS; k++)
    if (equals(name, IGNORED_FIELDS[k], strlen(IGNORED_FIELDS[k]))) return IGNORED;
  return UNKNOWN;
}

static bool read_length(hf_span text, size_t *length) {
  if (text.n == 0 || text.n > LENGTH_DIGITS_MAX) return false;
  *length = 0;
  for (size_t k = 0; k < text.n; k++) {
    if (text.at[k] < '0' || text.at[k] > '9') return false;
    *length = *length * 10 + (size_t)(text.at[k] - '0');
  }
  return true;
}

// The same decision as the general server's, which refuses others: a name or an address, with an optional port.
static bool is_host(hf_span host) {
  const uint8_t *end = host.at + host.n, *at = host.at;
  if (*at == '[') {
    const uint8_t *stop = skip(at + 1, end, IN_BRACKETS);
    if (stop == at + 1 || stop == end || *stop != ']') return false;
    at = stop + 1;
  } else {
    at = skip(at, end, HOST_NAME);
  }
  return at == end || (*at == ':' && skip(at + 1, end, DIGIT) == end);
}

// The line's field. Returns the start of the next line, or NULL.
static const uint8_t *read_field(const uint8_t *at, const uint8_t *end, hf_request *out, bool *has_length,
                                 bool *has_connection) {
  const uint8_t *stop = skip(at, end, TOKEN);
  if (stop == at || stop == end || *stop != ':') return NULL;
  hf_span name = {at, (size_t)(stop - at)};
  at = stop + 1;
  while (at < end && (*at == ' ' || *at == '\t')) at++;
  stop = skip(at, end, VALUE);
  if (end - stop < 2 || stop[0] != '\r' || stop[1] != '\n') return NULL;
  const uint8_t *next = stop + 2;
  while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
  hf_span value = {at, (size_t)(stop - at)};
  switch (field_of(name)) {
    case IGNORED:
      return next;
    case HOST:
      if (out->host.at != NULL || value.n == 0 || !is_host(value)) return NULL;
      out->host = value;
      return next;
    case AUTHORIZATION:
      if (out->authorization.at != NULL) return NULL;
      out->authorization = value;
      return next;
    case N_BODY:
      if (*has_length || !read_length(value, &out->body.n)) return NULL;
      *has_length = true;
      return next;
    case CONNECTION:
      if (*has_connection) return NULL;
      *has_connection = true;
      out->must_close = equals(value, "close", 5);
      return out->must_close || equals(value, "keep-alive", 10) ? next : NULL;
    case UNKNOWN:
      break;
  }
  return NULL;
}

static const uint8_t *read_line(const uint8_t *at, const uint8_t *end, hf_request *out) {
  if (starts(at, end, "GET ", 4)) {
    out->method = HF_METHOD_GET;
    at += 4;
  } else if (starts(at, end, "POST ", 5)) {
    out->method = HF_METHOD_POST;
    at += 5;
  } else if (starts(at, end, "HEAD ", 5)) {
    out->method = HF_METHOD_HEAD;
    at += 5;
  } else {
    return NULL;
  }
  const uint8_t *stop = skip(at, end, TARGET);
  if (!starts(stop, end, " HTTP/1.1\r\n", 11)) return NULL;
  const uint8_t *query = memchr(at, '?', (size_t)(stop - at));
  out->path = (hf_span){at, (size_t)((query != NULL ? query : stop) - at)};
  if (query != NULL) out->query = (hf_span){query + 1, (size_t)(stop - query - 1)};
  if (out->path.n == LENGTH(BEATS) && memcmp(at, BEATS, LENGTH(BEATS)) == 0)
    out->target = HF_TARGET_BEATS;
  else if (starts(at, stop, PING, LENGTH(PING)) && (out->path.n == LENGTH(PING) || at[LENGTH(PING)] == '/'))
    out->target = HF_TARGET_PING;
  else
    return NULL;
  return stop + 11;
}

static bool is_word(hf_span last) {
  if (equals(last, "start", 5) || equals(last, "ok", 2) || equals(last, "fail", 4) || equals(last, "log", 3))
    return true;
  size_t k = last.n > 0 && last.at[0] == '-';
  if (last.n == k || last.n - k > 10) return false;
  for (; k < last.n; k++)
    if (last.at[k] < '0' || last.at[k] > '9') return false;
  return true;
}

// The same decision as PingWords.plain_key, but a path with "%" is never plain.
static void find_plain_key(hf_request *out) {
  if (out->query.at != NULL || out->body.n > 0 || out->path.n <= LENGTH(PING) + 1) return;
  hf_span key = {out->path.at + LENGTH(PING) + 1, out->path.n - LENGTH(PING) - 1};
  if (key.at[key.n - 1] == '/' || memchr(key.at, '%', key.n) != NULL) return;
  size_t last = key.n;
  while (last > 0 && key.at[last - 1] != '/') last--;
  if (last > 0 && is_word((hf_span){key.at + last, key.n - last})) return;
  out->plain_key = key;
}

hf_request_result hf_request_read(const uint8_t *bytes, size_t n, size_t most_head, size_t most_body, hf_request *out) {
  const uint8_t *end = bytes + n;
  bool has_length = false, has_connection = false;
  *out = (hf_request){0};
  const uint8_t *at = read_line(bytes, end, out);
  if (at == NULL) return HF_REQUEST_OTHER;
  for (;;) {
    if (end - at < 2) return HF_REQUEST_OTHER;
    if (at[0] == '\r') break;
    at = read_field(at, end, out, &has_length, &has_connection);
    if (at == NULL) return HF_REQUEST_OTHER;
  }
  if (at[1] != '\n' || out->host.at == NULL) return HF_REQUEST_OTHER;
  at += 2;
  if ((size_t)(at - bytes) > most_head || out->body.n > most_body || out->body.n > (size_t)(end - at))
    return HF_REQUEST_OTHER;
  out->body.at = at;
  out->n_used = (size_t)(at - bytes) + out->body.n;
  if (out->target == HF_TARGET_PING) find_plain_key(out);
  return HF_REQUEST_READY;
}
