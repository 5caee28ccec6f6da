// SPDX-License-Identifier: MIT
// The sender's thread with real sockets on loopback, between callers on other threads.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hf_sender.h"
#include "hf_test.h"

enum { N_LINES = 40, N_ROUNDS = 60 };

static int64_t now(void) { return hf_clock_system_ns(HF_CLOCK_MONOTONIC); }
static void nap(void) { poll(NULL, 0, 1); }

#define UNTIL(condition)                            \
  ({                                                \
    int64_t limit_ns = now() + 30 * HF_NS_PER_S;    \
    while (!(condition) && now() < limit_ns) nap(); \
    CHECK(condition);                               \
  })

static int listen_at(uint16_t *port) {
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = (socklen_t)sizeof here;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(fd, (struct sockaddr *)&here, n) == 0 && listen(fd, 128) == 0);
  CHECK_EQ(getsockname(fd, (struct sockaddr *)&here, &n), 0);
  *port = ntohs(here.sin_port);
  return fd;
}

static hf_sender_line *open_line(hf_sender *sender, uint16_t port, int64_t interval_ns) {
  static uint8_t deflated[] = {0, 6, 0, 0xf9, 0xff, '{', '"', 'a', '"', ':', '1', 0, 0, 0, 0xff, 0xff};
  hf_line_config config = {.envelope = {HF_SERMANT, (const uint8_t *)"tok", 3},
                           .interval_ns = interval_ns,
                           .connect_limit_ns = HF_NS_PER_S,
                           .write_limit_ns = HF_NS_PER_S,
                           .first_wait_ns = 10 * HF_NS_PER_MS,
                           .most_wait_ns = 20 * HF_NS_PER_MS};
  hf_sender_line *line = hf_sender_open(sender, &config, &hf_net_system);
  hf_address address;
  CHECK(hf_address_from_text(&address, "127.0.0.1", port, 0));
  hf_sender_set_addresses(line, &address, 1);
  hf_head head = {.deflated = deflated, .n_deflated = sizeof deflated, .crc = 0, .n_plain = 6};
  CHECK_EQ(hf_sender_set_head(line, &head), HF_OK);
  return line;
}

static bool close_line(hf_sender_line *line, int64_t wait_ns) {
  bool sent = hf_sender_close(line, (const uint8_t *)"{}", 2, wait_ns);
  hf_sender_release(line);
  return sent;
}

static void deinit(hf_sender *sender) {
  CHECK(!hf_sender_runs(sender));
  free(sender->polls);
  free(sender->spare);
  hf_bell_deinit(&sender->bell);
  hf_bell_deinit(&sender->wishes);
  hf_lock_deinit(&sender->life);
  hf_lock_deinit(&sender->stepping);
}

static void many_lines_beat_and_end_and_so_does_the_thread(void) {
  hf_sender sender;
  uint16_t port;
  int listener = listen_at(&port);
  CHECK_EQ(hf_sender_init(&sender), HF_OK);
  for (int round = 0; round < 3; round++) {
    hf_sender_line *lines[N_LINES];
    for (int n = 0; n < N_LINES; n++) {
      lines[n] = open_line(&sender, port, 5 * HF_NS_PER_MS);
      CHECK_EQ(hf_sender_start(lines[n]), HF_OK);
      CHECK_EQ(hf_sender_start(lines[n]), HF_OK);
    }
    CHECK(hf_sender_runs(&sender));
    for (int n = 0; n < N_LINES; n++) UNTIL(hf_sender_stats(lines[n]).n_beats >= 3);
    for (int n = 0; n < N_LINES; n++) CHECK(close_line(lines[n], 10 * HF_NS_PER_S));
    CHECK(!hf_sender_runs(&sender));
  }
  deinit(&sender);
  close(listener);
}

static void what_arrives_is_frames_and_a_goodbye_and_the_end(void) {
  hf_sender sender;
  uint16_t port;
  int listener = listen_at(&port);
  CHECK_EQ(hf_sender_init(&sender), HF_OK);
  hf_sender_line *line = open_line(&sender, port, 2 * HF_NS_PER_MS);
  CHECK_EQ(hf_sender_start(line), HF_OK);
  int peer = accept(listener, NULL, NULL);
  UNTIL(hf_sender_stats(line).n_beats >= 5);
  CHECK(write(peer, "unasked", 7) == 7);
  CHECK(hf_sender_close(line, (const uint8_t *)"{}", 2, 10 * HF_NS_PER_S));
  uint64_t n_beats = hf_sender_stats(line).n_beats, n_frames = 0;
  hf_sender_release(line);
  static uint8_t bytes[1 << 20];
  size_t n_got = 0, at = 0;
  for (ssize_t n; (n = read(peer, bytes + n_got, sizeof bytes - n_got)) > 0;) n_got += (size_t)n;
  while (at < n_got) {
    size_t length = bytes[at++];
    if (length & 0x80) length = (length & 0x7f) | (size_t)bytes[at++] << 7;
    at += length;
    n_frames++;
  }
  CHECK(at == n_got && n_frames == n_beats + 1);
  CHECK(n_got > 6 && memcmp(bytes + n_got - 6, "\x05\xc2\x3e\x02{}", 6) == 0);
  close(peer);
  close(listener);
  deinit(&sender);
}

static void a_finished_connection_ends_in_order_whatever_was_not_read(void) {
  uint16_t port;
  uint8_t bytes[16];
  int listener = listen_at(&port);
  hf_address address;
  CHECK(hf_address_from_text(&address, "127.0.0.1", port, 0));
  int fd = hf_net_system.open(&hf_net_system, &address, false, HF_NS_PER_S);
  int peer = accept(listener, NULL, NULL);
  CHECK(fd >= 0 && write(peer, "unasked", 7) == 7);
  struct pollfd one = {.fd = fd, .events = POLLIN};
  CHECK(poll(&one, 1, 30000) == 1 && hf_net_system.connect_result(&hf_net_system, fd) == 0);
  CHECK_EQ(hf_net_system.send(&hf_net_system, fd, (const uint8_t *)"bye", 3), 3);
  hf_net_system.finish(&hf_net_system, fd);
  CHECK_EQ(read(peer, bytes, sizeof bytes), 3);
  CHECK_EQ(read(peer, bytes, sizeof bytes), 0);  // and no reset
  close(peer);
  close(listener);
}

typedef struct {
  hf_sender *sender;
  uint16_t port;
  hf_atomic_u32 stop;
} shared;

static void *come_and_go(void *argument) {
  shared *s = argument;
  for (int n = 0; n < N_ROUNDS; n++) {
    hf_sender_line *line = open_line(s->sender, s->port, HF_NS_PER_MS);
    CHECK_EQ(hf_sender_start(line), HF_OK);
    hf_sender_refresh(line);
    hf_sender_beat_now(line);
    for (uint32_t i = 0; i < 3; i++) {
      hf_sender_refresh(line);
      (void)hf_sender_stats(line);
      (void)hf_sender_take_wish(line);
      nap();
    }
    if (n % 3 == 0)
      hf_sender_release(line);  // nobody waits for its end
    else
      close_line(line, n % 3 == 1 ? 10 * HF_NS_PER_S : 0);
  }
  return NULL;
}

static void *drop_connections(void *argument) {
  shared *s = argument;
  uint16_t port;
  int listener = listen_at(&port);
  s->port = port;
  struct pollfd one = {.fd = listener, .events = POLLIN};
  while (!HF_LOAD_ACQ(&s->stop)) {
    if (poll(&one, 1, 1) <= 0) continue;
    int peer = accept(listener, NULL, NULL);
    uint8_t byte;
    CHECK(read(peer, &byte, 1) >= -1);
    close(peer);  // with what was not read: the other side is reset
  }
  close(listener);
  return NULL;
}

static void lines_come_and_go_on_many_threads(void) {
  hf_sender sender;
  CHECK_EQ(hf_sender_init(&sender), HF_OK);
  uint16_t port;
  int listener = listen_at(&port);
  shared s = {.sender = &sender, .port = port}, rude = {.sender = &sender};
  pthread_t threads[4], server;
  CHECK_EQ(pthread_create(&server, NULL, drop_connections, &rude), 0);
  for (int n = 0; n < 4; n++) CHECK_EQ(pthread_create(&threads[n], NULL, come_and_go, &s), 0);
  for (int n = 0; n < 4; n++) pthread_join(threads[n], NULL);
  HF_STORE_REL(&rude.stop, 1u);
  pthread_join(server, NULL);
  UNTIL(!hf_sender_runs(&sender));
  hf_sender_line *last = open_line(&sender, port, HF_NS_PER_S);  // its end joins whatever thread there was
  CHECK_EQ(hf_sender_start(last), HF_OK);
  close_line(last, 10 * HF_NS_PER_S);
  close(listener);
  deinit(&sender);
}

static void a_close_is_bounded_while_nobody_answers(void) {
  hf_sender sender;
  uint16_t port;
  int listener = listen_at(&port);
  CHECK_EQ(hf_sender_init(&sender), HF_OK);
  hf_sender_line *line = open_line(&sender, port, HF_NS_PER_S);
  close(listener);
  CHECK_EQ(hf_sender_start(line), HF_OK);
  UNTIL(hf_sender_stats(line).n_failures >= 3);
  CHECK(!close_line(line, 10 * HF_NS_PER_S));
  deinit(&sender);
}

static void a_line_that_is_released_ends_before_its_next_beat(void) {
  hf_sender sender;
  uint16_t port;
  int listener = listen_at(&port);
  CHECK_EQ(hf_sender_init(&sender), HF_OK);
  hf_sender_line *line = open_line(&sender, port, 1000 * HF_NS_PER_S);
  CHECK_EQ(hf_sender_start(line), HF_OK);
  UNTIL(hf_sender_stats(line).n_beats == 1);
  hf_sender_release(line);
  UNTIL(!hf_sender_runs(&sender));
  hf_sender_line *last = open_line(&sender, port, HF_NS_PER_S);  // its end joins the thread before it
  CHECK_EQ(hf_sender_start(last), HF_OK);
  close_line(last, 10 * HF_NS_PER_S);
  close(listener);
  deinit(&sender);
}

static void the_child_of_a_fork_begins_anew(void) {
  hf_sender sender;
  uint16_t port;
  int listener = listen_at(&port);
  CHECK_EQ(hf_sender_init(&sender), HF_OK);
  hf_sender_line *line = open_line(&sender, port, 2 * HF_NS_PER_MS);
  CHECK_EQ(hf_sender_start(line), HF_OK);
  UNTIL(hf_sender_stats(line).n_beats >= 2);
  int bell_fd = (int)sender.bell.read_fd;
  for (int n = 0; n < 10; n++) {
    hf_sender_before_fork(&sender);
    pid_t child = fork();
    if (child == 0) {
      hf_sender_after_fork_in_child(&sender);
      bool sound = !hf_sender_runs(&sender) && hf_sender_stats(line).state == HF_LINE_CLOSED;
      sound = sound && fcntl(bell_fd, F_GETFD) == -1;
      sound = sound && !hf_sender_close(line, NULL, 0, HF_NS_PER_S);
#if !defined(__SANITIZE_THREAD__)  // which does not go on with a child that starts threads
      hf_sender_line *fresh = open_line(&sender, port, 2 * HF_NS_PER_MS);
      sound = sound && hf_sender_start(fresh) == HF_OK;
      int64_t limit_ns = now() + 30 * HF_NS_PER_S;
      while (hf_sender_stats(fresh).n_beats < 2 && now() < limit_ns) nap();
      sound = sound && hf_sender_stats(fresh).n_beats >= 2 && close_line(fresh, 10 * HF_NS_PER_S);
#endif
      _exit(sound ? 0 : 1);
    }
    hf_sender_after_fork_in_parent(&sender);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
  uint64_t n_beats = hf_sender_stats(line).n_beats;
  UNTIL(hf_sender_stats(line).n_beats > n_beats);
  CHECK_EQ(hf_sender_stats(line).n_connects, 1);
  CHECK(close_line(line, 10 * HF_NS_PER_S));
  close(listener);
  deinit(&sender);
}

int main(void) {
  RUN(many_lines_beat_and_end_and_so_does_the_thread);
  RUN(what_arrives_is_frames_and_a_goodbye_and_the_end);
  RUN(a_finished_connection_ends_in_order_whatever_was_not_read);
  RUN(lines_come_and_go_on_many_threads);
  RUN(a_close_is_bounded_while_nobody_answers);
  RUN(a_line_that_is_released_ends_before_its_next_beat);
  RUN(the_child_of_a_fork_begins_anew);
  return hf_test_end(__FILE__);
}
