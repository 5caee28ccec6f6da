// SPDX-License-Identifier: MIT
#include "hf_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(MSG_NOSIGNAL)
#define HF_SEND_FLAGS MSG_NOSIGNAL
#else
#define HF_SEND_FLAGS 0  // SO_NOSIGPIPE does it
#endif

_Static_assert(sizeof(struct sockaddr_in6) <= sizeof((hf_address *)0)->bytes, "an address fits");

bool hf_address_from_text(hf_address *address, const char *text, uint16_t port, uint32_t scope_id) {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  memset(address, 0, sizeof *address);
  memset(&v4, 0, sizeof v4);
  memset(&v6, 0, sizeof v6);
  if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    memcpy(address->bytes, &v4, sizeof v4);
    address->n = (uint32_t)sizeof v4;
    return true;
  }
  if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1) return false;
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v6.sin6_scope_id = scope_id;
  memcpy(address->bytes, &v6, sizeof v6);
  address->n = (uint32_t)sizeof v6;
  return true;
}

static void set_option(int fd, int level, int option, int value) {
  // Options that the system lacks are left out: a beat needs none of them to be correct.
  (void)setsockopt(fd, level, option, &value, (socklen_t)sizeof value);
}

static int open_socket(int family, bool datagram) {
  int type = datagram ? SOCK_DGRAM : SOCK_STREAM;
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
  return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
  int fd = socket(family, type, 0);
  if (fd < 0) return fd;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
#endif
}

static int system_open(const hf_net *net, const hf_address *address, bool datagram, int64_t unacked_ns) {
  (void)net;
  struct sockaddr_storage to;
  memcpy(&to, address->bytes, sizeof address->bytes);
  int fd = open_socket(to.ss_family, datagram);
  if (fd < 0) return -errno;
#if defined(SO_NOSIGPIPE)
  set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
  if (!datagram) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    int64_t unacked_ms = hf_min_i64(unacked_ns / HF_NS_PER_MS, INT32_MAX);
#if defined(TCP_USER_TIMEOUT)
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)unacked_ms);
#elif defined(TCP_RXT_CONNDROPTIME)
    set_option(fd, IPPROTO_TCP, TCP_RXT_CONNDROPTIME, (int)(unacked_ms / 1000 + 1));
#else
    (void)unacked_ms;
#endif
  }
  if (connect(fd, (const struct sockaddr *)&to, (socklen_t)address->n) == 0) return fd;
  if (errno == EINPROGRESS || errno == EINTR) return fd;
  int error = errno;
  close(fd);
  return -error;
}

// A socket that connects to an unused port of the range for outgoing connections may be given that very port, and is
// then connected to itself.
static bool is_connected_to_itself(int fd) {
  struct sockaddr_storage here, there;
  memset(&here, 0, sizeof here);
  memset(&there, 0, sizeof there);
  socklen_t n_here = (socklen_t)sizeof here, n_there = (socklen_t)sizeof there;
  if (getsockname(fd, (struct sockaddr *)&here, &n_here) != 0) return false;
  if (getpeername(fd, (struct sockaddr *)&there, &n_there) != 0) return false;
  return n_here == n_there && memcmp(&here, &there, n_here) == 0;
}

static int system_connect_result(const hf_net *net, int fd) {
  (void)net;
  int error = 0;
  socklen_t n = (socklen_t)sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0) return errno;
  return error == 0 && is_connected_to_itself(fd) ? ECONNREFUSED : error;
}

static ptrdiff_t system_send(const hf_net *net, int fd, const uint8_t *bytes, size_t n) {
  (void)net;
  ssize_t sent;
  do {
    sent = send(fd, bytes, n, HF_SEND_FLAGS);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return sent;
  return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}

static ptrdiff_t system_receive(const hf_net *net, int fd, uint8_t *bytes, size_t n) {
  (void)net;
  ssize_t got;
  do {
    got = recv(fd, bytes, n, 0);
  } while (got < 0 && errno == EINTR);
  if (got >= 0) return got;
  return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static void system_close(const hf_net *net, int fd) {
  (void)net;
  close(fd);
}

static void system_finish(const hf_net *net, int fd) {
  uint8_t bytes[1024];
  shutdown(fd, SHUT_WR);
  // Received data that is not read would make the system reset the connection, and drop what is still being sent.
  for (int i = 0; i < 64 && system_receive(net, fd, bytes, sizeof bytes) > 0; i++) {
  }
  close(fd);
}

const hf_net hf_net_system = {
    .open = system_open,
    .connect_result = system_connect_result,
    .send = system_send,
    .receive = system_receive,
    .finish = system_finish,
    .close = system_close,
};
