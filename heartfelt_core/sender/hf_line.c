// SPDX-License-Identifier: MIT
// The callers' side of a line; the side of time and the network is hf_line_step.c.
#include "hf_line.h"

#include <stdlib.h>

hf_status hf_line_init(hf_line *line, const hf_line_config *config, const hf_net *net) {
  memset(line, 0, sizeof *line);
  line->config = *config;
  line->net = net;
  line->fd = -1;
  line->next_slot_ns = line->until_ns = line->close_ns = HF_NEVER;
  line->backoff = hf_backoff_from(config->first_wait_ns, config->most_wait_ns, config->seed);
  line->preamble = malloc(config->envelope.n_preamble + 1);
  if (!line->preamble) return HF_NO_MEMORY;
  hf_put_bytes(line->preamble, config->envelope.preamble, config->envelope.n_preamble);
  line->config.envelope.preamble = line->preamble;
  HF_STORE_RLX(&line->refreshed_ns, 0);
  return HF_OK;
}

void hf_line_deinit(hf_line *line) {
  if (line->fd >= 0) line->net->close(line->net, line->fd);
  free(line->preamble);
  free(line->head.deflated);
  free(line->goodbye);
  free(line->out);
}

// Makes room in the buffer for an envelope around n bytes, keeping what is on its way. Returns the old buffer if it was
// replaced.
static hf_status reserve(hf_line *line, size_t n, void **old) {
  size_t cap = hf_envelope_room(&line->config.envelope, n);
  *old = NULL;
  if (cap <= line->out_cap) return HF_OK;
  uint8_t *out = malloc(cap);
  if (!out) return HF_NO_MEMORY;
  hf_put_bytes(out, line->out, line->out_n);
  *old = line->out;
  line->out = out;
  line->out_cap = cap;
  return HF_OK;
}

static uint8_t *copy_of(const uint8_t *bytes, size_t n) {
  uint8_t *copy = malloc(n + 1);
  if (copy) hf_put_bytes(copy, bytes, n);
  return copy;
}

hf_status hf_line_set_head(hf_line *line, const hf_head *head, void *old[2]) {
  old[0] = old[1] = NULL;
  if (head->n_deflated > HF_HEAD_MAX) return HF_FULL;
  if (line->stats.state == HF_LINE_CLOSED) return HF_CLOSED;
  uint8_t *deflated = copy_of(head->deflated, head->n_deflated);
  if (!deflated) return HF_NO_MEMORY;
  if (reserve(line, hf_gzip_size(head->n_deflated, HF_TAIL_MAX), &old[0]) != HF_OK) {
    free(deflated);
    return HF_NO_MEMORY;
  }
  old[1] = line->head.deflated;
  line->head = *head;
  line->head.deflated = deflated;
  return HF_OK;
}

void hf_line_set_addresses(hf_line *line, const hf_address *addresses, uint32_t n) {
  if (n > HF_ADDRESSES_MAX) n = HF_ADDRESSES_MAX;
  memcpy(line->addresses, addresses, n * sizeof *addresses);
  line->n_addresses = n;
}

void hf_line_lookup_failed(hf_line *line, int64_t now_ns) {
  line->stats.n_failures++;
  line->stats.failed_at = HF_AT_RESOLVE;
  line->stats.fail_code = 0;
  if (line->stats.state != HF_LINE_RESOLVING) return;  // the last good addresses stay in use
  line->stats.state = HF_LINE_WAITING;
  line->stats.wait_ns = hf_backoff_next(&line->backoff);
  line->until_ns = now_ns + line->stats.wait_ns;
}

bool hf_line_take_wish(hf_line *line) {
  bool wishes = line->wishes;
  line->wishes = false;
  return wishes;
}

void hf_line_start(hf_line *line, int64_t now_ns) {
  if (line->started) return;
  line->started = true;
  if (HF_LOAD_RLX(&line->refreshed_ns) == 0) hf_line_refresh(line, now_ns);
}

void hf_line_beat_now(hf_line *line) { line->wanted = true; }

hf_status hf_line_close(hf_line *line, const uint8_t *goodbye, size_t n, int64_t close_ns) {
  if (line->stats.state == HF_LINE_CLOSED || line->closing) return HF_OK;
  hf_status status = HF_OK;
  if (n > HF_HEAD_MAX) {
    status = HF_FULL;
  } else if (n != 0) {
    void *old;
    uint8_t *copy = copy_of(goodbye, n);
    if (copy && reserve(line, n, &old) == HF_OK) {
      line->goodbye = copy;
      line->n_goodbye = n;
      free(old);
    } else {
      free(copy);
      status = HF_NO_MEMORY;  // it ends without a goodbye
    }
  }
  line->closing = true;
  line->close_ns = close_ns;
  if (!line->started) line->stats.state = HF_LINE_CLOSED;  // nobody will step it
  return status;
}

void hf_line_abandon(hf_line *line) {
  if (line->fd >= 0) line->net->close(line->net, line->fd);
  line->fd = -1;
  line->stats.state = HF_LINE_CLOSED;
}
