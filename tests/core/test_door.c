// SPDX-License-Identifier: MIT
// The door, with real sockets in one thread: accepting, sending, time limits, and a process without descriptors.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hf_door.h"
#include "hf_test.h"

#define SLICE INT64_C(1000000000)

typedef struct {
  hf_door door;
  int listening;
  struct sockaddr_storage address;
  socklen_t n_address;
} world;

static world the;

static void begin(int family) {
  the.listening = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  memset(&the.address, 0, sizeof the.address);
  the.address.ss_family = (sa_family_t)family;
  if (family == AF_INET) ((struct sockaddr_in *)(void *)&the.address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  the.n_address = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
  CHECK_EQ(bind(the.listening, (struct sockaddr *)&the.address, the.n_address), 0);
  CHECK_EQ(listen(the.listening, 1000), 0);
  CHECK_EQ(getsockname(the.listening, (struct sockaddr *)&the.address, &the.n_address), 0);
  CHECK_EQ(hf_door_init(&the.door), 0);
  CHECK_EQ(hf_door_listen(&the.door, the.listening), 0);
}

static void end(void) {
  hf_door_close_all(&the.door);
  CHECK_EQ(the.door.n_open, 0);
  close(the.listening);
}

static int connected(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const struct sockaddr_storage *own = &the.address;
  to.sin_port = own->ss_family == AF_INET ? ((const struct sockaddr_in *)(const void *)own)->sin_port
                                          : ((const struct sockaddr_in6 *)(const void *)own)->sin6_port;
  CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  return fd;
}

static void say(int fd, const char *text) { CHECK_EQ(send(fd, text, strlen(text), 0), strlen(text)); }

// Answers whatever arrives with "ok", until nothing does. Returns the number of answers.
static int serve(int64_t now_ns) {
  int n_answers = 0;
  for (int n_turns = 0; n_turns < 50; n_turns++) {
    hf_door_conn *conn;
    hf_door_begin(&the.door, now_ns, SLICE);
    while ((conn = hf_door_next(&the.door)) != NULL) {
      CHECK(hf_door_append(&the.door, "ok", 2));
      CHECK_EQ(hf_door_send(&the.door, conn), 2);
      CHECK(hf_door_keep(&the.door, conn));
      n_answers++;
    }
  }
  return n_answers;
}

static bool has(int fd, const char *text) {
  char bytes[64];
  ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  return n == (ssize_t)strlen(text) && memcmp(bytes, text, (size_t)n) == 0;
}

static void a_connection_is_served_again_and_again(void) {
  begin(AF_INET);
  int fd = connected();
  CHECK_EQ(serve(1), 0);
  CHECK_EQ(the.door.n_open, 1);
  for (int n = 0; n < 3; n++) {
    say(fd, "x");
    CHECK_EQ(serve(2), 1);
    CHECK(has(fd, "ok"));
  }
  close(fd);
  CHECK_EQ(serve(3), 0);
  CHECK_EQ(the.door.n_open, 0);
  end();
}

static void more_connections_than_a_turn_takes(void) {
  int fds[300];
  begin(AF_INET);
  for (int n = 0; n < 300; n++) {
    fds[n] = connected();
    say(fds[n], "x");
  }
  CHECK_EQ(serve(1), 300);
  for (int n = 0; n < 300; n++) {
    CHECK(has(fds[n], "ok"));
    close(fds[n]);
  }
  CHECK_EQ(serve(1), 0);
  CHECK_EQ(the.door.n_open, 0);
  end();
}

static void a_peer_is_named_without_its_mapping(void) {
  begin(AF_INET6);
  int fd = connected();
  say(fd, "x");
  hf_door_begin(&the.door, 1, SLICE);
  hf_door_conn *conn = hf_door_next(&the.door);
  if (CHECK(conn != NULL)) {
    CHECK(strcmp(conn->peer, "127.0.0.1") == 0);
    int released = hf_door_release(&the.door, conn);
    CHECK_EQ(the.door.n_open, 0);
    CHECK_EQ(send(released, "own", 3, 0), 3);
    CHECK(has(fd, "own"));
    close(released);
  }
  close(fd);
  end();
}

static void time_limits(void) {
  begin(AF_INET);
  int fresh = connected(), idle = connected(), active = connected();
  say(idle, "x");
  say(active, "x");
  CHECK_EQ(serve(100), 2);
  say(active, "x");
  CHECK_EQ(serve(200), 1);
  CHECK(has(idle, "ok"));
  CHECK_EQ(hf_door_expire(&the.door, 100, 100, "late", 4), 0);
  CHECK_EQ(the.door.n_open, 3);
  CHECK_EQ(hf_door_expire(&the.door, 101, 101, "late", 4), 1);
  CHECK_EQ(the.door.n_open, 1);
  CHECK(has(fresh, "late") && has(fresh, "") && has(idle, ""));
  close(fresh), close(idle), close(active);
  end();
}

static void bytes_that_arrived_in_time_are_served_however_late(void) {
  begin(AF_INET);
  int fresh = connected(), idle = connected();
  say(idle, "x");
  CHECK_EQ(serve(100), 1);
  CHECK(has(idle, "ok"));
  say(fresh, "x");
  say(idle, "x");
  CHECK_EQ(hf_door_expire(&the.door, 900, 900, "late", 4), 0);
  CHECK_EQ(serve(901), 2);
  CHECK(has(fresh, "ok") && has(idle, "ok"));
  CHECK_EQ(hf_door_expire(&the.door, 902, 902, "late", 4), 0);
  CHECK_EQ(the.door.n_open, 0);
  close(fresh), close(idle);
  end();
}

static void a_client_that_does_not_read(void) {
  static char bytes[HF_DOOR_OUT_MAX];
  begin(AF_INET);
  int fd = connected(), tiny = 1;
  setsockopt(the.listening, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof tiny);
  int slow = connected();
  setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny);
  say(slow, "x");
  hf_door_begin(&the.door, 1, SLICE);
  hf_door_conn *conn = hf_door_next(&the.door);
  if (CHECK(conn != NULL)) {
    int64_t sent = HF_DOOR_OUT_MAX;
    for (int n = 0; n < 1000 && sent == HF_DOOR_OUT_MAX; n++) {
      the.door.n_out = 0;
      CHECK(hf_door_append(&the.door, bytes, sizeof bytes));
      CHECK(!hf_door_append(&the.door, bytes, 1));
      sent = hf_door_send(&the.door, conn);
    }
    CHECK(sent >= 0 && sent < HF_DOOR_OUT_MAX);
    hf_door_close(&the.door, conn);
  }
  close(fd), close(slow);
  end();
}

// The clients' sockets need descriptors, too, so the limit is set when all are connected.
static void without_descriptors_idle_connections_make_room(void) {
  struct rlimit before, few;
  int fds[60];
  begin(AF_INET);
  for (int n = 0; n < 60; n++) {
    fds[n] = connected();
    if (n >= 10) say(fds[n], "x");  // the first ones stay fresh
  }
  getrlimit(RLIMIT_NOFILE, &before);
  int next = dup(0);
  close(next);
  few = before;
  few.rlim_cur = (rlim_t)next + 30;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  CHECK_EQ(serve(1), 50);
  CHECK(the.door.n_evicted >= 20 && the.door.n_accept_errors > 0 && the.door.accept_error == EMFILE);
  CHECK(!the.door.paused);
  int n_answered = 0;
  for (int n = 10; n < 60; n++) n_answered += has(fds[n], "ok");
  CHECK_EQ(n_answered, 50);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  for (int n = 0; n < 60; n++) close(fds[n]);
  end();
}

static void without_descriptors_and_idle_connections_accepting_pauses(void) {
  struct rlimit before, few;
  int fds[20];
  begin(AF_INET);
  for (int n = 0; n < 20; n++) fds[n] = connected();  // all fresh
  say(fds[19], "x");
  getrlimit(RLIMIT_NOFILE, &before);
  int next = dup(0);
  close(next);
  few = before;
  few.rlim_cur = (rlim_t)next + 10;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  CHECK_EQ(serve(1), 0);
  CHECK_EQ(the.door.n_open, 10);
  CHECK(the.door.paused);
  hf_door_begin(&the.door, 1, SLICE);
  CHECK_EQ(the.door.n_events, 0);  // it does not keep the loop busy
  hf_door_resume(&the.door);
  CHECK_EQ(serve(1), 0);
  CHECK(the.door.paused);
  CHECK_EQ(hf_door_expire(&the.door, 2, 2, "late", 4), 10);
  CHECK(!the.door.paused);
  CHECK_EQ(serve(3), 1);
  CHECK(has(fds[19], "ok"));
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  for (int n = 0; n < 20; n++) close(fds[n]);
  end();
}

static void a_connection_above_the_most_is_closed(void) {
  begin(AF_INET);
  the.door.most_open = 1;
  int first = connected(), second = connected();
  say(first, "x");
  CHECK_EQ(serve(1), 1);
  CHECK(has(first, "ok") && has(second, ""));
  CHECK_EQ(the.door.n_open, 1);
  CHECK_EQ(the.door.n_refused, 1);
  CHECK_EQ(the.door.n_accepted, 1);
  close(first), close(second);
  end();
}

int main(void) {
  RUN(a_connection_is_served_again_and_again);
  RUN(more_connections_than_a_turn_takes);
  RUN(a_peer_is_named_without_its_mapping);
  RUN(time_limits);
  RUN(bytes_that_arrived_in_time_are_served_however_late);
  RUN(a_connection_above_the_most_is_closed);
  RUN(a_client_that_does_not_read);
  RUN(without_descriptors_idle_connections_make_room);
  RUN(without_descriptors_and_idle_connections_accepting_pauses);
  return hf_test_end(__FILE__);
}
