// SPDX-License-Identifier: MIT
// gzip without a compressor, for a text whose end is written last. The head of the text is raw deflate that ends in a
// sync flush, so on a byte boundary and before the last block; the tail follows as one stored block. Any gunzip reads
// it. O(length of the tail) besides one copy of the head. Pure functions: any thread. Does not check its arguments.
#ifndef HF_GZIP_TAIL_H
#define HF_GZIP_TAIL_H

#include <string.h>

#include "hf_base.h"

#define HF_GZIP_EXTRA 23u        // bytes besides head and tail: header 10, stored block 5, crc and length 8
#define HF_STORED_MAX 0xffffu    // the most that one stored block holds
#define HF_DEFLATE_STORED 0x01u  // the last block, stored

typedef struct {
  uint8_t *deflated;  // raw deflate up to and including a sync flush
  size_t n_deflated;
  uint32_t crc;      // crc32 of the text before it was deflated
  uint32_t n_plain;  // its length
} hf_head;

// The crc32 of gzip, continued: crc is that of the bytes before, 0 if there are none.
static inline uint32_t hf_crc32(uint32_t crc, const uint8_t *bytes, size_t n) {
  static const uint32_t half_byte[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
                                         0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                         0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
  crc = ~crc;
  for (size_t i = 0; i < n; i++) {
    crc ^= bytes[i];
    crc = half_byte[crc & 15] ^ (crc >> 4);
    crc = half_byte[crc & 15] ^ (crc >> 4);
  }
  return ~crc;
}

static inline uint8_t *hf_put_bytes(uint8_t *out, const void *bytes, size_t n) {
  if (n != 0) memcpy(out, bytes, n);
  return out + n;
}
static inline uint8_t *hf_put_le(uint8_t *out, uint32_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; i++) *out++ = (uint8_t)(value >> (8 * i));
  return out;
}

static inline size_t hf_gzip_size(size_t n_deflated, size_t n_tail) { return n_deflated + n_tail + HF_GZIP_EXTRA; }

// Writes hf_gzip_size bytes; n_tail is HF_STORED_MAX at most. Returns the end.
static inline uint8_t *hf_gzip_put(uint8_t *out, const hf_head *head, const uint8_t *tail, size_t n_tail) {
  static const uint8_t header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff};  // deflate, no flags, no time, any system
  out = hf_put_bytes(out, header, sizeof header);
  out = hf_put_bytes(out, head->deflated, head->n_deflated);
  *out++ = HF_DEFLATE_STORED;
  out = hf_put_le(out, (uint32_t)n_tail, 2);
  out = hf_put_le(out, ~(uint32_t)n_tail, 2);
  out = hf_put_bytes(out, tail, n_tail);
  out = hf_put_le(out, hf_crc32(head->crc, tail, n_tail), 4);
  return hf_put_le(out, head->n_plain + (uint32_t)n_tail, 4);
}

#endif
