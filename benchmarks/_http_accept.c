/* SPDX-License-Identifier: MIT */
/* The least that answering HTTP costs: accepts, reads what is there, answers 200, closes when the client does. It looks
   at nothing but the end of the head. Prints its port; for each line on its standard input it prints the CPU time that
   it has used, in ns, and how many requests it has answered. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_EVENTS = 256 };

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-type: text/plain; charset=utf-8\r\n"
    "x-content-type-options: nosniff\r\ncontent-length: 2\r\n\r\nOK";

int main(void) {
  static char buffer[65536];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  struct epoll_event event = {.events = EPOLLIN}, events[MOST_EVENTS];
  struct rlimit limit;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), yes = 1;
  long answered = 0;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1 << 16) ||
      getsockname(listener, (struct sockaddr *)&address, &size))
    return 1;
  event.data.fd = listener;
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  event.data.fd = 0;
  epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    int ready = epoll_wait(poller, events, MOST_EVENTS, -1);
    for (int k = 0; k < ready; k++) {
      int fd = events[k].data.fd;
      if (fd == listener) {
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
          event.data.fd = fd;
          epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        }
      } else if (fd == 0) {
        struct timespec cpu;
        if (read(0, buffer, sizeof buffer) <= 0) return 0;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
        printf("%lld %ld\n", cpu.tv_sec * 1000000000LL + cpu.tv_nsec, answered);
        fflush(stdout);
      } else {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0) {
          close(fd);
        } else if (memmem(buffer, n, "\r\n\r\n", 4) != NULL) {
          answered += send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) > 0;
        }
      }
    }
  }
}
