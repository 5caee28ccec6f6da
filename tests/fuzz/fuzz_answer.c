// SPDX-License-Identifier: MIT
// Feeds the sender's reader of HTTP answers any bytes, whole and in pieces: fuzz_answer SECONDS [SEED]
//
// With clang it is a libFuzzer target (-fsanitize=fuzzer, HF_LIBFUZZER); with any other compiler it mutates good
// answers itself. In pieces must come out what came out of the whole, and no byte beyond the given ones may be looked
// at.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hf_answer.h"

typedef struct {
  hf_answer_result result;
  int status;
  size_t n_used;
} outcome;

// On memory of each piece's own length, so that a sanitizer sees a look beyond it.
static outcome read_in_pieces(const uint8_t *bytes, size_t n, size_t n_piece) {
  hf_answer answer;
  outcome out = {HF_ANSWER_MORE, 0, 0};
  hf_answer_init(&answer);
  while (out.n_used < n && out.result == HF_ANSWER_MORE) {
    size_t n_here = n - out.n_used < n_piece ? n - out.n_used : n_piece, n_used = 0;
    uint8_t *piece = malloc(n_here);
    if (piece == NULL) abort();
    memcpy(piece, bytes + out.n_used, n_here);
    out.result = hf_answer_read(&answer, piece, n_here, &n_used);
    free(piece);
    if (n_used > n_here || (out.result == HF_ANSWER_MORE && n_used != n_here)) abort();
    out.n_used += n_used;
  }
  out.status = answer.status;
  return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  if (n < 2) return 0;
  size_t n_piece = bytes[0] % 31u + 1;
  outcome whole = read_in_pieces(bytes + 1, n - 1, n - 1), pieces = read_in_pieces(bytes + 1, n - 1, n_piece);
  if (whole.result != pieces.result) abort();
  if (whole.result == HF_ANSWER_KEEP || whole.result == HF_ANSWER_CLOSE) {
    if (whole.status != pieces.status || whole.status < 100 || whole.status > 999) abort();
  }
  if (whole.result == HF_ANSWER_KEEP && whole.n_used != pieces.n_used) abort();
  return 0;
}

#ifndef HF_LIBFUZZER
static const char *const GOOD[] = {
    "xHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "yHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 10\r\nConnection: "
    "keep-alive\r\n\r\n0123456789",
    "zHTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nRetry-After: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "aHTTP/1.0 401\nConnection: close\n\n",
};
static const char *const WORDS[] = {
    "\r\n",
    "\n",
    "\r",
    ":",
    " ",
    "HTTP/1.1 ",
    "Content-Length: ",
    "99999999999999999999",
    "-1",
    "Connection: close\r\n",
    "\r\n\r\n",
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint64_t state;
static size_t below(size_t end) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (size_t)(state % end);
}

static size_t mutated(uint8_t *bytes, size_t room) {
  const char *good = GOOD[below(COUNT(GOOD))];
  size_t n = strlen(good);
  memcpy(bytes, good, n);
  bytes[0] = (uint8_t)below(256);
  for (size_t times = below(6); times > 0 && n > 2; times--) {
    size_t at = 1 + below(n - 1);
    const char *word = WORDS[below(COUNT(WORDS))];
    size_t n_word = strlen(word), n_times = below(4) == 0 ? below(400) : 1;
    switch (below(3)) {
      case 0:
        bytes[at] = (uint8_t)below(256);
        break;
      case 1:
        n = at;
        break;
      default:
        for (; n_times > 0 && n + n_word <= room; n_times--, n += n_word) {
          memmove(bytes + at + n_word, bytes + at, n - at);
          memcpy(bytes + at, word, n_word);
        }
    }
  }
  return n;
}

int main(int argc, char **argv) {
  static uint8_t bytes[1 << 16];
  double seconds = argc > 1 ? atof(argv[1]) : 60;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL), n_inputs = 0;
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  do {
    for (int i = 0; i < 1000; i++, n_inputs++) {
      state = (seed + n_inputs) * 0x9e3779b97f4a7c15u | 1;
      LLVMFuzzerTestOneInput(bytes, mutated(bytes, sizeof bytes));
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec) < seconds);
  printf("%llu answers from seed %llu on: nothing wrong\n", (unsigned long long)n_inputs, (unsigned long long)seed);
  return 0;
}
#endif
