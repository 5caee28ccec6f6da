// SPDX-License-Identifier: MIT
// The door's reader of requests and its dates.
#include "hf_date.h"
#include "hf_request.h"
#include "hf_test.h"

#define HEAD "GET /ping/a HTTP/1.1\r\nHost: h\r\n"

// On memory of the text's own length, so that a sanitizer sees a read beyond.
static hf_request_result read_text(const char *text, size_t n, hf_request *out) {
  uint8_t *bytes = malloc(n ? n : 1);
  memcpy(bytes, text, n);
  hf_request_result result = hf_request_read(bytes, n, 1000, 100, out);
  free(bytes);
  return result;
}

static void check_ready(const char *text, hf_target target, size_t n_key, bool must_close) {
  hf_request request;
  for (size_t n = 0; n < strlen(text); n++) CHECK_EQ(read_text(text, n, &request), HF_REQUEST_OTHER);
  CHECK_EQ(read_text(text, strlen(text), &request), HF_REQUEST_READY);
  CHECK_EQ(request.target, target);
  CHECK_EQ(request.plain_key.n, n_key);
  CHECK_EQ(request.must_close, must_close);
  CHECK_EQ(request.n_used, strlen(text));
}

static void check_other(const char *text) {
  hf_request request;
  if (!CHECK_EQ(read_text(text, strlen(text), &request), HF_REQUEST_OTHER)) fprintf(stderr, "in: %s\n", text);
}

static void requests_that_the_door_takes(void) {
  check_ready(HEAD "\r\n", HF_TARGET_PING, 1, false);
  check_ready("HEAD /ping/shop/a-b HTTP/1.1\r\nhOST:\th \r\nConnection: Close\r\n\r\n", HF_TARGET_PING, 8, true);
  check_ready("GET /ping/a/b HTTP/1.1\r\nConnection: keep-alive\r\nHost: h\r\n\r\n", HF_TARGET_PING, 3, false);
  check_ready("POST /api/v1/beats HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", HF_TARGET_BEATS, 0, false);
  check_ready("POST /ping/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", HF_TARGET_PING, 0, false);
  check_ready(HEAD "Authorization: Bearer x\r\nAccept:\r\nUser-Agent: a b\r\n\r\n", HF_TARGET_PING, 1, false);
}

static void keys_that_may_be_more_than_a_key_are_not_plain(void) {
  static const char *const paths[] = {"/ping",         "/ping/",      "/ping/a/",    "/ping/a/start",
                                      "/ping/a/OK",    "/ping/a/3",   "/ping/a/-12", "/ping/a%2Fb",
                                      "/ping/a?rid=3", "/ping/a/log", "/ping?key=a", "/ping/a?"};
  for (size_t k = 0; k < sizeof paths / sizeof *paths; k++) {
    char text[100];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", paths[k]);
    check_ready(text, HF_TARGET_PING, 0, false);
  }
  check_ready("GET /ping/start HTTP/1.1\r\nHost: h\r\n\r\n", HF_TARGET_PING, 5, false);
  check_ready("GET /ping/a/12345678901 HTTP/1.1\r\nHost: h\r\n\r\n", HF_TARGET_PING, 13, false);
  check_ready("GET /ping/a/- HTTP/1.1\r\nHost: h\r\n\r\n", HF_TARGET_PING, 3, false);
}

static void requests_that_are_left_to_the_general_server(void) {
  static const char *const lines[] = {
      "Transfer-Encoding: chunked",
      "Expect: 100-continue",
      "Upgrade: h2c",
      "Host: h",
      "Content-Length: +1",
      "Content-Length: 1, 1",
      "Content-Length: 0\r\nContent-Length: 0",
      "Content-Length: 9999999",
      "Content-Length: 101",
      "Content-Length:",
      "Connection: close, keep-alive",
      "Connection: close\r\nConnection: close",
      "Authorization: a\r\nAuthorization: a",
      "Content-Encoding: gzip",
      "Origin: http://h",
      "X-Forwarded-For: 1.2.3.4",
      "Cookie: a=b",
      " folded",
      "Accept : x",
      ": x",
      "no colon",
      "Accept: a\rb",
      "Accept: a\nb",
      "Accept: \x80",
      "Accept: \x01",
  };
  char text[200];
  for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) {
    snprintf(text, sizeof text, HEAD "%s\r\n\r\n", lines[k]);
    check_other(text);
  }
  check_other("GET /ping/a HTTP/1.1\r\n\r\n");
  check_other("GET /ping/a HTTP/1.1\r\nHost:\r\n\r\n");
  check_other("GET /ping/a HTTP/1.0\r\nHost: h\r\n\r\n");
  check_other("GET  /ping/a HTTP/1.1\r\nHost: h\r\n\r\n");
  check_other("GET /ping/a HTTP/1.1\nHost: h\r\n\r\n");
  check_other("GET /pings HTTP/1.1\r\nHost: h\r\n\r\n");
  check_other("GET /ping/a#b HTTP/1.1\r\nHost: h\r\n\r\n");
  check_other("GET http://h/ping/a HTTP/1.1\r\nHost: h\r\n\r\n");
  check_other("PUT /ping/a HTTP/1.1\r\nHost: h\r\n\r\n");
  check_other("\r\n" HEAD "\r\n");
  check_other(HEAD "\r\r\n");
}

static void a_head_or_a_body_above_its_limit_is_left(void) {
  char text[1200];
  hf_request request;
  for (size_t n_head = 995; n_head < 1005; n_head++) {
    int n = snprintf(text, sizeof text, HEAD "Accept: ");
    memset(text + n, 'x', n_head - (size_t)n - 4);
    memcpy(text + n_head - 4, "\r\n\r\n", 4);
    CHECK_EQ(read_text(text, n_head, &request), n_head <= 1000 ? HF_REQUEST_READY : HF_REQUEST_OTHER);
  }
}

static void dates(void) {
  hf_date date = {0};
  CHECK(memcmp(hf_date_line(&date, 784111777), "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", HF_DATE_LINE) == 0);
  CHECK(hf_date_line(&date, 784111777) == date.line);
  CHECK(memcmp(hf_date_line(&date, 951782400), "date: Tue, 29 Feb 2000 00:00:00 GMT\r\n", HF_DATE_LINE) == 0);
  CHECK(memcmp(hf_date_line(&date, 0), "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", HF_DATE_LINE) == 0);
}

int main(void) {
  RUN(requests_that_the_door_takes);
  RUN(keys_that_may_be_more_than_a_key_are_not_plain);
  RUN(requests_that_are_left_to_the_general_server);
  RUN(a_head_or_a_body_above_its_limit_is_left);
  RUN(dates);
  return hf_test_end(__FILE__);
}
