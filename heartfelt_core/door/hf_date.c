// SPDX-License-Identifier: MIT
#include "hf_date.h"

#include <string.h>
#include <time.h>

static void put(char *to, unsigned value, unsigned n_digits) {
  for (; n_digits > 0; value /= 10) to[--n_digits] = (char)('0' + value % 10);
}

const char *hf_date_line(hf_date *date, int64_t unix_s) {
  static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (date->unix_s == unix_s && date->line[0] != '\0') return date->line;
  struct tm t;
  time_t seconds = (time_t)unix_s;
  gmtime_r(&seconds, &t);
  memcpy(date->line, "date: Sun, 00 Jan 0000 00:00:00 GMT\r\n", HF_DATE_LINE + 1);
  memcpy(date->line + 6, days + 3 * t.tm_wday, 3);
  put(date->line + 11, (unsigned)t.tm_mday, 2);
  memcpy(date->line + 14, months + 3 * t.tm_mon, 3);
  put(date->line + 18, (unsigned)t.tm_year + 1900, 4);
  put(date->line + 23, (unsigned)t.tm_hour, 2);
  put(date->line + 26, (unsigned)t.tm_min, 2);
  put(date->line + 29, (unsigned)t.tm_sec, 2);
  date->unix_s = unix_s;
  return date->line;
}
