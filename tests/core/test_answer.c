// SPDX-License-Identifier: MIT
// Answers of HTTP servers, good and bad, in pieces of every size.
#include "hf_answer.h"
#include "hf_test.h"

// Feeds the text in pieces of n bytes, each on memory of its own length, so that a sanitizer sees a read beyond.
static hf_answer_result read_in_pieces(const char *text, size_t n_text, size_t n, int *status, size_t *n_rest) {
  hf_answer answer;
  hf_answer_result result = HF_ANSWER_MORE;
  hf_answer_init(&answer);
  size_t at = 0;
  while (at < n_text && result == HF_ANSWER_MORE) {
    size_t n_piece = n_text - at < n ? n_text - at : n, n_used;
    uint8_t *piece = malloc(n_piece);
    memcpy(piece, text + at, n_piece);
    result = hf_answer_read(&answer, piece, n_piece, &n_used);
    CHECK(n_used <= n_piece && (n_used == n_piece || result != HF_ANSWER_MORE));
    free(piece);
    at += n_used;
  }
  *status = answer.status;
  *n_rest = n_text - at;
  return result;
}

static void check_answer(const char *text, hf_answer_result expected, int status, size_t n_rest) {
  for (size_t n = 1; n <= strlen(text); n++) {
    int found;
    size_t rest;
    CHECK_EQ(read_in_pieces(text, strlen(text), n, &found, &rest), expected);
    if (expected != HF_ANSWER_BROKEN && expected != HF_ANSWER_MORE) {
      CHECK_EQ(found, status);
      CHECK_EQ(rest, n_rest);
    }
  }
}

static void answers_that_leave_the_connection_open(void) {
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", HF_ANSWER_KEEP, 200, 0);
  check_answer("HTTP/1.1 202 Accepted\r\ncontent-length:0\r\n\r\n", HF_ANSWER_KEEP, 202, 0);
  check_answer("HTTP/1.1 204 No Content\r\n\r\n", HF_ANSWER_KEEP, 204, 0);
  check_answer("HTTP/1.1 401\r\nContent-Length: 3 \r\nConnection: keep-alive\r\n\r\nno!", HF_ANSWER_KEEP, 401, 0);
  check_answer("HTTP/1.1 200 OK\nContent-Length: 1\n\nx", HF_ANSWER_KEEP, 200, 0);
  check_answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HF_ANSWER_KEEP, 200, 0);
}

static void what_follows_an_answer_is_told(void) {
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP", HF_ANSWER_KEEP, 200, 4);
}

static void answers_after_which_the_connection_must_be_closed(void) {
  check_answer("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", HF_ANSWER_CLOSE, 200, 0);
  check_answer("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", HF_ANSWER_CLOSE, 200, 0);
  check_answer("HTTP/1.1 503 Busy\r\n\r\n", HF_ANSWER_CLOSE, 503, 0);
  check_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HF_ANSWER_CLOSE, 200, 0);
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", HF_ANSWER_CLOSE, 200, 0);
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", HF_ANSWER_CLOSE, 200, 0);
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", HF_ANSWER_CLOSE, 200, 0);
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", HF_ANSWER_CLOSE, 200, 0);
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", HF_ANSWER_CLOSE, 200, 0);
}

static void what_is_no_answer_is_broken(void) {
  check_answer("SSH-2.0-OpenSSH\r\n", HF_ANSWER_BROKEN, 0, 0);
  check_answer("HTTP/2 200\r\n", HF_ANSWER_BROKEN, 0, 0);
  check_answer("HTTP/1.1 2000 OK\r\n", HF_ANSWER_BROKEN, 0, 0);
  check_answer("HTTP/1.1 20\r\n", HF_ANSWER_BROKEN, 0, 0);
  check_answer("HTTP/1.1 042 OK\r\n", HF_ANSWER_BROKEN, 0, 0);
  check_answer("\r\n", HF_ANSWER_BROKEN, 0, 0);
  check_answer("HTTP/1.1 101 Switching Protocols\r\n\r\n", HF_ANSWER_BROKEN, 0, 0);
}

static void an_answer_that_is_not_complete_is_waited_for(void) {
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", HF_ANSWER_MORE, 0, 0);
  check_answer("HTTP/1.1 200 OK\r\nContent-Len", HF_ANSWER_MORE, 0, 0);
}

static void long_lines_are_read_and_endless_heads_are_not(void) {
  static char text[HF_ANSWER_HEAD_MAX * 2];
  int status;
  size_t rest;
  int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nX-Long: ");
  memset(text + n, 'x', 8000);
  strcpy(text + n + 8000, "\r\nContent-Length: 0\r\n\r\n");
  CHECK_EQ(read_in_pieces(text, strlen(text), 4096, &status, &rest), HF_ANSWER_KEEP);
  // What is cut off of a header that matters may say anything.
  n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: ");
  memset(text + n, ' ', 200);
  strcpy(text + n + 200, "close\r\n\r\n");
  CHECK_EQ(read_in_pieces(text, strlen(text), 4096, &status, &rest), HF_ANSWER_CLOSE);
  memset(text, 'x', sizeof text);
  memcpy(text, "HTTP/1.1 200 OK\r\n", 17);
  CHECK_EQ(read_in_pieces(text, sizeof text, 4096, &status, &rest), HF_ANSWER_BROKEN);
  for (size_t i = 17; i + 1 < sizeof text; i += 2) memcpy(text + i, "a\n", 2);
  CHECK_EQ(read_in_pieces(text, sizeof text, 4096, &status, &rest), HF_ANSWER_BROKEN);
}

static void noise_never_does_harm(void) {
  static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n{\"taken\": 1}";
  hf_random random = hf_random_from(hf_test_seed = 5);
  for (int round = 0; round < 20000; round++) {
    char text[sizeof good];
    memcpy(text, good, sizeof good);
    for (uint32_t n = hf_random_below(&random, 6); n > 0; n--)
      text[hf_random_below(&random, sizeof good - 1)] = (char)hf_random_below(&random, 256);
    int status;
    size_t rest;
    hf_answer_result result = read_in_pieces(text, sizeof good - 1, 1 + hf_random_below(&random, 20), &status, &rest);
    if (result == HF_ANSWER_KEEP || result == HF_ANSWER_CLOSE) CHECK(status >= 200 && status <= 999);
  }
}

int main(void) {
  RUN(answers_that_leave_the_connection_open);
  RUN(what_follows_an_answer_is_told);
  RUN(answers_after_which_the_connection_must_be_closed);
  RUN(what_is_no_answer_is_broken);
  RUN(an_answer_that_is_not_complete_is_waited_for);
  RUN(long_lines_are_read_and_endless_heads_are_not);
  RUN(noise_never_does_harm);
  return hf_test_end(__FILE__);
}
