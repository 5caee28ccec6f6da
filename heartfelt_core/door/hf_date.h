// SPDX-License-Identifier: MIT
// The date header of answers, made once a second. Independent of the locale.
#ifndef HF_DATE_H
#define HF_DATE_H

#include <stdint.h>

#define HF_DATE_LINE 37u  // "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

typedef struct {
  int64_t unix_s;
  char line[HF_DATE_LINE + 1];
} hf_date;

// Returns the line, HF_DATE_LINE bytes. unix_s: 0 to the end of the year 9999.
const char *hf_date_line(hf_date *date, int64_t unix_s);

#endif
