// SPDX-License-Identifier: MIT
// Reads answers of an HTTP/1.1 server, as far as a sender of beats needs them: the status, and where the answer ends.
//
// Incremental: bytes may come in any pieces. Bounded: keeps only the start of one line; status line and headers
// together may be HF_ANSWER_HEAD_MAX bytes long. Skips a body with a Content-Length of at most HF_ANSWER_BODY_MAX. Any
// other answer (chunks, no length, HTTP/1.0, "Connection: close") counts, too, but the connection cannot be used again:
// its rest is not read. Allocates nothing, reads no clock; one thread at a time.
#ifndef HF_ANSWER_H
#define HF_ANSWER_H

#include "hf_base.h"

#define HF_ANSWER_HEAD_MAX 16384u
#define HF_ANSWER_BODY_MAX 1048576u
#define HF_ANSWER_LINE_MAX 128u

typedef enum {
  HF_ANSWER_MORE = 0,  // not complete yet
  HF_ANSWER_KEEP,      // complete, and the connection may be used again
  HF_ANSWER_CLOSE,     // read as far as it matters; the connection must be closed
  HF_ANSWER_BROKEN,    // this is not HTTP, or too long
} hf_answer_result;

typedef struct {
  int status;  // 100 to 999, valid with KEEP and CLOSE
  bool begun;  // a byte has come
  bool in_body;
  bool must_close;
  bool has_length;
  uint64_t n_body;  // still to skip
  uint32_t n_head;
  uint32_t n_line;  // bytes of this line so far; only its start is kept
  char line[HF_ANSWER_LINE_MAX];
} hf_answer;

void hf_answer_init(hf_answer *answer);
// *n_used: the number of bytes that belong to this answer; bytes that follow with KEEP were not asked for.
hf_answer_result hf_answer_read(hf_answer *answer, const uint8_t *bytes, size_t n, size_t *n_used);

#endif
