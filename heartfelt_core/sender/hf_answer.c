// SPDX-License-Identifier: MIT
#include "hf_answer.h"

#include <string.h>

void hf_answer_init(hf_answer *answer) { memset(answer, 0, sizeof *answer); }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The value of the header `name` (lower case), without the spaces before it; NULL if the line is not that header.
static const char *value_of(const char *line, const char *name) {
  for (; *name; name++, line++)
    if (lower(*line) != *name) return NULL;
  if (*line++ != ':') return NULL;
  while (*line == ' ' || *line == '\t') line++;
  return line;
}

static bool contains(const char *text, const char *word) {
  for (; *text; text++) {
    size_t i = 0;
    while (word[i] && lower(text[i]) == word[i]) i++;
    if (!word[i]) return true;
  }
  return false;
}

static bool read_status(hf_answer *answer) {
  const char *l = answer->line;
  if (strncmp(l, "HTTP/1.", 7) != 0 || !is_digit(l[7]) || l[8] != ' ') return false;
  if (!is_digit(l[9]) || !is_digit(l[10]) || !is_digit(l[11]) || l[9] == '0') return false;
  if (l[12] != ' ' && l[12] != '\0') return false;
  answer->status = (l[9] - '0') * 100 + (l[10] - '0') * 10 + (l[11] - '0');
  answer->must_close = l[7] == '0';
  return true;
}

static void read_length(hf_answer *answer, const char *value) {
  uint64_t n = 0;
  const char *c = value;
  for (; is_digit(*c) && n <= HF_ANSWER_BODY_MAX; c++) n = n * 10 + (uint64_t)(*c - '0');
  while (*c == ' ' || *c == '\t') c++;
  bool sound = c != value && *c == '\0' && n <= HF_ANSWER_BODY_MAX && (!answer->has_length || n == answer->n_body);
  if (!sound) answer->must_close = true;
  answer->has_length = true;
  answer->n_body = n;
}

static void read_header(hf_answer *answer) {
  const char *value = value_of(answer->line, "content-length");
  if (value) read_length(answer, value);
  value = value_of(answer->line, "connection");
  if (value && contains(value, "close")) answer->must_close = true;
  if (value_of(answer->line, "transfer-encoding")) answer->must_close = true;
}

static hf_answer_result end_head(hf_answer *answer) {
  if (answer->status < 200) {  // 100 Continue and similar: the answer itself follows
    bool switches = answer->status == 101;
    uint32_t n_head = answer->n_head;
    hf_answer_init(answer);
    answer->begun = true;
    answer->n_head = n_head;
    return switches ? HF_ANSWER_BROKEN : HF_ANSWER_MORE;
  }
  if (answer->must_close) return HF_ANSWER_CLOSE;
  if (answer->status == 204 || answer->status == 304) return HF_ANSWER_KEEP;
  if (!answer->has_length) return HF_ANSWER_CLOSE;
  if (answer->n_body == 0) return HF_ANSWER_KEEP;
  answer->in_body = true;
  return HF_ANSWER_MORE;
}

static hf_answer_result end_line(hf_answer *answer) {
  uint32_t n = answer->n_line < HF_ANSWER_LINE_MAX ? answer->n_line : HF_ANSWER_LINE_MAX - 1;
  bool cut = answer->n_line >= HF_ANSWER_LINE_MAX;
  if (n > 0 && !cut && answer->line[n - 1] == '\r') n--;
  answer->line[n] = '\0';
  answer->n_line = 0;
  if (answer->status == 0) return read_status(answer) ? HF_ANSWER_MORE : HF_ANSWER_BROKEN;
  if (n == 0) return end_head(answer);
  if (cut && (value_of(answer->line, "connection") || value_of(answer->line, "content-length")))
    answer->must_close = true;  // the part that was cut off may say anything
  read_header(answer);
  return HF_ANSWER_MORE;
}

hf_answer_result hf_answer_read(hf_answer *answer, const uint8_t *bytes, size_t n, size_t *n_used) {
  size_t i = 0;
  hf_answer_result result = HF_ANSWER_MORE;
  if (n != 0) answer->begun = true;
  while (i < n && result == HF_ANSWER_MORE && !answer->in_body) {
    char c = (char)bytes[i++];
    if (++answer->n_head > HF_ANSWER_HEAD_MAX)
      result = HF_ANSWER_BROKEN;
    else if (c == '\n')
      result = end_line(answer);
    else if (answer->n_line++ < HF_ANSWER_LINE_MAX - 1)
      answer->line[answer->n_line - 1] = c;
  }
  if (result == HF_ANSWER_MORE && answer->in_body) {
    size_t n_skip = n - i < answer->n_body ? n - i : (size_t)answer->n_body;
    answer->n_body -= n_skip;
    i += n_skip;
    if (answer->n_body == 0) result = HF_ANSWER_KEEP;
  }
  *n_used = i;
  return result;
}
