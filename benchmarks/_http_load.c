/* SPDX-License-Identifier: MIT */
/* A load of HTTP requests in one thread. It never waits for one response before it sends another connection's request.

     _http_load PORT kept N CONNECTIONS FILE       N requests over kept connections, one outstanding on each
     _http_load PORT fresh N SPREAD_MS FILE        N new connections, one request each, started evenly within SPREAD_MS

   FILE has the requests, each after its length as a 32-bit number in the machine's order; request i is the (i modulo
   their number)th, and always comes from the same loopback address. For each line on standard input it runs one round,
   and prints: ns from the first start to the last response, responses of status 200, other responses, resets, requests
   without a response, ns of the slowest request. A connection that is refused or reset is not tried again. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOURCES = 16, MOST_EVENTS = 256, PATIENCE_S = 60, ROOM = 8192 };

typedef struct {
  int fd;
  int request, n_in;
  int64_t began_ns;
  char in[ROOM];
} connection;

typedef struct {
  long ok, other, resets, unanswered;
  int64_t slowest_ns;
} outcome;

static char **requests;
static uint32_t *lengths;
static int n_requests, port, poller;
static outcome found;

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void load(const char *path) {
  FILE *file = fopen(path, "rb");
  uint32_t length;
  if (file == NULL) exit(2);
  while (fread(&length, sizeof length, 1, file) == 1) {
    requests = realloc(requests, (n_requests + 1) * sizeof *requests);
    lengths = realloc(lengths, (n_requests + 1) * sizeof *lengths);
    requests[n_requests] = malloc(length);
    if (fread(requests[n_requests], 1, length, file) != length) exit(2);
    lengths[n_requests++] = length;
  }
  fclose(file);
  if (n_requests == 0) exit(2);
}

/* Connects without waiting: EPOLLOUT says that it may send. Returns false if there is no descriptor for it now. */
static int start(connection *one, int request) {
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK + 1 + request % SOURCES)}};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = one};
  int yes = 1;
  one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (one->fd < 0) return 0;
  setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(one->fd, IPPROTO_IP, 24, &yes, sizeof yes); /* IP_BIND_ADDRESS_NO_PORT */
  one->request = request;
  one->n_in = 0;
  one->began_ns = now_ns();
  if (bind(one->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
      (connect(one->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)) {
    close(one->fd);
    return 0;
  }
  return epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event) == 0;
}

static int send_request(connection *one) {
  int k = one->request % n_requests;
  return send(one->fd, requests[k], lengths[k], MSG_NOSIGNAL) == (ssize_t)lengths[k];
}

/* The size of the whole response at the start of what was received; 0: not whole yet. */
static int response_size(const connection *one) {
  const char *end = memmem(one->in, one->n_in, "\r\n\r\n", 4);
  const char *length;
  int size;
  if (end == NULL) return 0;
  for (length = one->in; length < end && strncasecmp(length, "\r\ncontent-length:", 17) != 0;) length++;
  size = (int)(end + 4 - one->in) + (length < end ? atoi(length + 17) : 0);
  return size <= one->n_in ? size : 0;
}

/* Reads. Returns 1 when the response is whole, 0 to wait, -1 if the connection has ended without it. */
static int receive(connection *one) {
  for (;;) {
    ssize_t n = recv(one->fd, one->in + one->n_in, ROOM - one->n_in, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) {
      if (n < 0) found.resets++;
      return -1;
    }
    one->n_in += (int)n;
    if (response_size(one)) {
      int64_t took = now_ns() - one->began_ns;
      if (took > found.slowest_ns) found.slowest_ns = took;
      *(memcmp(one->in + 9, "200", 3) == 0 ? &found.ok : &found.other) += 1;
      return 1;
    }
    if (one->n_in == ROOM) return -1;
  }
}

static void reading(connection *one) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
  epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &event);
}

static int64_t fresh(connection *all, int n, int64_t spread_ns) {
  struct epoll_event events[MOST_EVENTS];
  int64_t begin = now_ns(), last = begin;
  int started = 0, ended = 0;
  while (ended < n && now_ns() - last < PATIENCE_S * 1000000000LL) {
    int64_t passed = now_ns() - begin;
    int due = spread_ns == 0 || passed >= spread_ns ? n : (int)((double)n * passed / spread_ns);
    for (int burst = 0; started < due && burst < 32; burst++) {
      if (!start(&all[started], started)) break; /* out of descriptors or ports: when some have ended */
      started++;
    }
    int ready = epoll_wait(poller, events, MOST_EVENTS, started < due ? 0 : 1);
    for (int k = 0; k < ready; k++) {
      connection *one = events[k].data.ptr;
      int state = 0, error = 0;
      socklen_t size = sizeof error;
      if (events[k].events & EPOLLOUT) {
        getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error == 0 && send_request(one)) {
          reading(one);
          continue;
        }
        found.resets++;
        state = -1;
      } else {
        state = receive(one);
      }
      if (state != 0) {
        found.unanswered += state < 0;
        close(one->fd);
        last = now_ns();
        ended++;
      }
    }
  }
  found.unanswered += n - ended;
  return last - begin;
}

static int64_t kept(connection *all, int n, int n_connections) {
  struct epoll_event events[MOST_EVENTS];
  int64_t begin = now_ns(), last = begin;
  int ended = 0;
  for (int k = 0; k < n_connections && k < n; k++) {
    all[k].request = k; /* and then each n_connections-th: the same ones in each round */
    all[k].n_in = 0;
    all[k].began_ns = now_ns();
    if (!send_request(&all[k])) exit(3);
  }
  while (ended < n && now_ns() - last < PATIENCE_S * 1000000000LL) {
    int ready = epoll_wait(poller, events, MOST_EVENTS, 1000);
    for (int k = 0; k < ready; k++) {
      connection *one = events[k].data.ptr;
      int state = receive(one);
      if (state == 0) continue;
      if (state < 0) exit(3); /* a kept connection that ends spoils all rounds */
      ended++;
      last = now_ns();
      one->n_in = 0;
      one->request += n_connections;
      if (one->request < n) {
        one->began_ns = now_ns();
        if (!send_request(one)) exit(3);
      }
    }
  }
  found.unanswered += n - ended;
  return last - begin;
}

static void connect_all(connection *all, int n) {
  for (int k = 0; k < n; k++) {
    struct epoll_event event;
    if (!start(&all[k], k) || epoll_wait(poller, &event, 1, 10000) != 1) exit(4);
    reading(&all[k]);
  }
}

int main(int argc, char **argv) {
  char line[64];
  struct rlimit limit;
  if (argc != 6) return 2;
  port = atoi(argv[1]);
  int is_fresh = strcmp(argv[2], "fresh") == 0, n = atoi(argv[3]), m = atoi(argv[4]);
  load(argv[5]);
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  poller = epoll_create1(0);
  connection *all = calloc(is_fresh ? n : m, sizeof *all);
  if (all == NULL || poller < 0) return 2;
  if (!is_fresh) connect_all(all, m);
  puts("ready");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    found = (outcome){0};
    int64_t took = is_fresh ? fresh(all, n, m * 1000000LL) : kept(all, n, m);
    printf("%lld %ld %ld %ld %ld %lld\n", (long long)took, found.ok, found.other, found.resets, found.unanswered,
           (long long)found.slowest_ns);
    fflush(stdout);
  }
  return 0;
}
