// SPDX-License-Identifier: MIT
// A network of numbers: what a line opens, sends and reads is decided and seen by the test, which drives the line in
// virtual time. One connection at a time, as a line has it.
#ifndef HF_FAKE_NET_H
#define HF_FAKE_NET_H

#include <errno.h>

#include "hf_line.h"
#include "hf_test.h"

#define S HF_NS_PER_S
#define MS HF_NS_PER_MS
#define WALL_MS INT64_C(1700000000000)  // at time 0

typedef struct {
  hf_net net;
  // what happens
  int open_error, connect_error;
  size_t n_room;     // bytes that sends take until there is none left
  int send_error;    //
  int read_error;    // -EAGAIN unless the peer has failed
  bool peer_closed;  //
  const char *says;  // what the peer has written and nobody has read
  // what happened
  int n_open, fd;  // sockets at present, their latest
  int n_opened, n_finished;
  uint32_t last_address;  // the number at the start of the address
  uint8_t sent[1 << 16];
  size_t n_sent;
} hf_fake;

static inline hf_fake *hf_fake_of(const hf_net *net) { return (hf_fake *)(uintptr_t)net; }

static inline int hf_fake_open(const hf_net *net, const hf_address *address, bool datagram, int64_t unacked_ns) {
  (void)datagram, (void)unacked_ns;
  hf_fake *fake = hf_fake_of(net);
  memcpy(&fake->last_address, address->bytes, sizeof fake->last_address);
  fake->n_opened++;
  if (fake->open_error) return -fake->open_error;
  fake->n_open++;
  fake->peer_closed = false;
  return ++fake->fd;
}
static inline int hf_fake_connect_result(const hf_net *net, int fd) {
  CHECK_EQ(fd, hf_fake_of(net)->fd);
  return hf_fake_of(net)->connect_error;
}
static inline ptrdiff_t hf_fake_send(const hf_net *net, int fd, const uint8_t *bytes, size_t n) {
  hf_fake *fake = hf_fake_of(net);
  CHECK_EQ(fd, fake->fd);
  if (fake->send_error) {
    int error = fake->send_error;
    if (error == ECONNREFUSED) fake->send_error = 0;  // told once, as by a system
    return -error;
  }
  if (n > fake->n_room) n = fake->n_room;
  fake->n_room -= n;
  if (fake->n_sent + n > sizeof fake->sent) fake->n_sent = 0;
  memcpy(fake->sent + fake->n_sent, bytes, n);
  fake->n_sent += n;
  return (ptrdiff_t)n;
}
static inline ptrdiff_t hf_fake_receive(const hf_net *net, int fd, uint8_t *bytes, size_t n) {
  hf_fake *fake = hf_fake_of(net);
  CHECK_EQ(fd, fake->fd);
  if (fake->says) {
    size_t n_said = strlen(fake->says);
    if (n_said > n) n_said = n;
    memcpy(bytes, fake->says, n_said);
    fake->says = NULL;
    return (ptrdiff_t)n_said;
  }
  if (fake->peer_closed) return 0;
  int error = fake->read_error ? fake->read_error : EAGAIN;
  fake->read_error = 0;
  return -error;
}
static inline void hf_fake_close(const hf_net *net, int fd) {
  CHECK_EQ(fd, hf_fake_of(net)->fd);
  CHECK_EQ(hf_fake_of(net)->n_open--, 1);
}
static inline void hf_fake_finish(const hf_net *net, int fd) {
  hf_fake_close(net, fd);
  hf_fake_of(net)->n_finished++;
}

// A line to the fake, and the time.
typedef struct {
  hf_fake fake;
  hf_line line;
  int64_t now_ns;
} hf_world_line;

#define HF_HEAD_TEXT "{\"a\":1"

// Raw deflate of HF_HEAD_TEXT as one stored block, then the empty one that a sync flush ends with.
static inline hf_head hf_test_head(void) {
  static uint8_t deflated[] = {0, 6, 0, 0xf9, 0xff, '{', '"', 'a', '"', ':', '1', 0, 0, 0, 0xff, 0xff};
  return (hf_head){.deflated = deflated,
                   .n_deflated = sizeof deflated,
                   .crc = hf_crc32(0, (const uint8_t *)HF_HEAD_TEXT, 6),
                   .n_plain = 6};
}

static inline void hf_world_line_head(hf_world_line *w) {
  void *old[2];
  hf_head head = hf_test_head();
  CHECK_EQ(hf_line_set_head(&w->line, &head, old), HF_OK);
  free(old[0]);
  free(old[1]);
}

static inline void hf_world_line_addresses(hf_world_line *w, uint32_t n) {
  hf_address addresses[HF_ADDRESSES_MAX] = {{.n = 4}};
  for (uint32_t i = 0; i < n; i++) memcpy(addresses[i].bytes, &i, sizeof i);
  hf_line_set_addresses(&w->line, addresses, n);
}

// Interval 3 s, waits of 5 to 180 s, limits of 5 s; one address unless it resolves.
static inline void hf_world_line_init(hf_world_line *w, hf_transport transport, const char *preamble, bool resolves) {
  memset(w, 0, sizeof *w);
  w->fake.net = (hf_net){.open = hf_fake_open,
                         .connect_result = hf_fake_connect_result,
                         .send = hf_fake_send,
                         .receive = hf_fake_receive,
                         .finish = hf_fake_finish,
                         .close = hf_fake_close};
  w->fake.n_room = SIZE_MAX / 2;
  w->now_ns = 1000 * S;
  hf_line_config config = {.envelope = {transport, (const uint8_t *)preamble, strlen(preamble)},
                           .resolves = resolves,
                           .interval_ns = 3 * S,
                           .connect_limit_ns = 5 * S,
                           .write_limit_ns = 5 * S,
                           .first_wait_ns = 5 * S,
                           .most_wait_ns = 180 * S,
                           .seed = 1};
  CHECK_EQ(hf_line_init(&w->line, &config, &w->fake.net), HF_OK);
  if (!resolves) hf_world_line_addresses(w, 1);
  hf_world_line_head(w);
  hf_line_start(&w->line, w->now_ns);
}

static inline void hf_world_line_deinit(hf_world_line *w) {
  hf_line_deinit(&w->line);
  CHECK_EQ(w->fake.n_open, 0);
}

// One step, as the sender's thread would take it: what is ready is what is looked for and possible.
static inline void hf_world_line_step(hf_world_line *w) {
  int interest = hf_line_interest(&w->line), ready = 0;
  bool readable = w->fake.says || w->fake.peer_closed || w->fake.read_error;
  if ((interest & HF_READABLE) && readable) ready |= HF_READABLE;
  bool connects = w->line.stats.state == HF_LINE_CONNECTING && w->fake.connect_error != EINPROGRESS;
  if ((interest & HF_WRITABLE) && (connects || (w->line.stats.state == HF_LINE_CONNECTED && w->fake.n_room != 0)))
    ready |= HF_WRITABLE;
  hf_line_step(&w->line, w->now_ns, WALL_MS + w->now_ns / MS, ready);
}

// Steps until nothing is due at this time. A line that never comes to rest is wrong.
static inline void hf_world_line_settle(hf_world_line *w) {
  for (int n = 0; n < 50; n++) {
    hf_world_line_step(w);
    bool connects = w->line.stats.state == HF_LINE_CONNECTING && w->fake.connect_error != EINPROGRESS;
    if (!connects && hf_line_next_ns(&w->line) > w->now_ns) return;
  }
  CHECK(!"the line comes to rest");
}

// On to a time, with a step whenever one is due, and one now for what the test has changed.
static inline void hf_world_line_run_to(hf_world_line *w, int64_t until_ns) {
  hf_world_line_settle(w);
  for (int64_t next_ns = hf_line_next_ns(&w->line); next_ns <= until_ns; next_ns = hf_line_next_ns(&w->line)) {
    w->now_ns = hf_max_i64(w->now_ns, next_ns);
    hf_world_line_settle(w);
  }
  w->now_ns = until_ns;
}
static inline void hf_world_line_run(hf_world_line *w, int64_t for_ns) { hf_world_line_run_to(w, w->now_ns + for_ns); }

#endif
