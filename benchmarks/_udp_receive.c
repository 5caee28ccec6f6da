/* SPDX-License-Identifier: MIT */
/* The least that receiving datagrams costs: a loop of recv(), one datagram a call. Prints its port; for each line on
   its standard input it prints the CPU time that it has used, in ns, and how many datagrams it has received. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(void) {
  static char buffer[65536];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), room = 8 << 20;
  setsockopt(fd, SOL_SOCKET, 33, &room, sizeof room); /* SO_RCVBUFFORCE */
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || getsockname(fd, (struct sockaddr *)&address, &size))
    return 1;
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  struct pollfd waiting[2] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  for (long n = 0;;) {
    poll(waiting, 2, -1);
    while (recv(fd, buffer, sizeof buffer, 0) >= 0) n++;
    if (waiting[1].revents) {
      struct timespec cpu;
      if (read(0, buffer, sizeof buffer) <= 0) return 0;
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
      printf("%lld %ld\n", cpu.tv_sec * 1000000000LL + cpu.tv_nsec, n);
      fflush(stdout);
    }
  }
}
