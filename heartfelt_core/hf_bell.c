// SPDX-License-Identifier: MIT
#include "hf_bell.h"

#if defined(_WIN32)
#include <winsock2.h>

static bool make_pair(hf_bell *bell) {
  (void)bell;
  return false;  // on Windows the caller passes a pair of sockets
}
static void write_token(int64_t fd) { send((SOCKET)fd, "!", 1, 0); }
static void read_tokens(int64_t fd) {
  char buffer[64];
  while (recv((SOCKET)fd, buffer, sizeof buffer, 0) == (int)sizeof buffer) {
  }
}
static void close_pair(hf_bell *bell) { (void)bell; }  // the owner of the pair closes it

hf_bell_wait_result hf_bell_wait(hf_bell *bell, int64_t timeout_ns) {
  // select is not interrupted by Ctrl-C: look up now and then.
  int64_t slice_ns = HF_NS_PER_S / 20;
  bool last = timeout_ns >= 0 && timeout_ns <= slice_ns;
  if (last) slice_ns = timeout_ns;
  fd_set readable;
  FD_ZERO(&readable);
  FD_SET((SOCKET)bell->read_fd, &readable);
  struct timeval limit = {.tv_sec = 0, .tv_usec = (long)((slice_ns + 999) / 1000)};
  int n = select(0, &readable, NULL, NULL, &limit);
  if (n > 0) return HF_BELL_RUNG;
  return last ? HF_BELL_TIMED_OUT : HF_BELL_INTERRUPTED;
}

#else  // POSIX

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/eventfd.h>
#endif

static bool make_pair(hf_bell *bell) {
#if defined(__linux__)
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return false;
  bell->read_fd = fd;
  HF_STORE_REL(&bell->write_fd, (int64_t)fd);
#else
  int fds[2];
  if (pipe(fds) != 0) return false;
  for (int i = 0; i < 2; i++) {
    fcntl(fds[i], F_SETFL, O_NONBLOCK);
    fcntl(fds[i], F_SETFD, FD_CLOEXEC);
  }
  bell->read_fd = fds[0];
  HF_STORE_REL(&bell->write_fd, (int64_t)fds[1]);
#endif
  return true;
}

// A write fails only when the descriptor is full of tokens, and then it is readable already.
static void write_token(int64_t fd) {
  uint64_t one = 1;
  ssize_t written = write((int)fd, &one, sizeof one);
  (void)written;
}

static void read_tokens(int64_t fd) {
  uint64_t buffer[8];
  ssize_t n;
  do {
    n = read((int)fd, buffer, sizeof buffer);
  } while (n == (ssize_t)sizeof buffer || (n < 0 && errno == EINTR));
}

static void close_pair(hf_bell *bell) {
  int64_t write_fd = HF_LOAD_RLX(&bell->write_fd);
  if (write_fd < 0) return;
  close((int)bell->read_fd);
  if (write_fd != bell->read_fd) close((int)write_fd);
}

hf_bell_wait_result hf_bell_wait(hf_bell *bell, int64_t timeout_ns) {
  struct pollfd one = {.fd = (int)bell->read_fd, .events = POLLIN};
#if defined(__linux__)
  struct timespec limit = {.tv_sec = (time_t)(timeout_ns / HF_NS_PER_S), .tv_nsec = (long)(timeout_ns % HF_NS_PER_S)};
  int n = ppoll(&one, 1, timeout_ns < 0 ? NULL : &limit, NULL);
#else
  int64_t ms = (timeout_ns + 999999) / 1000000;
  int n = poll(&one, 1, timeout_ns < 0 ? -1 : ms > INT32_MAX ? INT32_MAX : (int)ms);
#endif
  if (n > 0) return HF_BELL_RUNG;
  return n == 0 ? HF_BELL_TIMED_OUT : HF_BELL_INTERRUPTED;
}

#endif

void hf_bell_init(hf_bell *bell) {
  HF_STORE_RLX(&bell->rung, 0);
  HF_STORE_RLX(&bell->write_fd, -1);
  bell->read_fd = -1;
}

bool hf_bell_open(hf_bell *bell, int64_t read_fd, int64_t write_fd) {
  if (HF_LOAD_RLX(&bell->write_fd) >= 0) return true;
  if (write_fd < 0) {
    if (!make_pair(bell)) return false;
  } else {
    bell->read_fd = read_fd;
    HF_STORE_REL(&bell->write_fd, write_fd);
  }
  // A ring that saw no descriptor is made up for: at worst the bell rings once for nothing.
  write_token(HF_LOAD_RLX(&bell->write_fd));
  return true;
}

void hf_bell_deinit(hf_bell *bell) { close_pair(bell); }

void hf_bell_abandon(hf_bell *bell) {
  close_pair(bell);
  hf_bell_init(bell);
}

void hf_bell_ring(hf_bell *bell) {
  if (HF_XCHG(&bell->rung, 1u)) return;       // partner: hf_bell_silence
  int64_t fd = HF_LOAD_ACQ(&bell->write_fd);  // partner: hf_bell_open
  if (fd >= 0) write_token(fd);
}

void hf_bell_silence(hf_bell *bell) {
  if (HF_LOAD_ACQ(&bell->write_fd) >= 0) read_tokens(bell->read_fd);  // partner: hf_bell_open
  // An exchange, so that the look that follows sees the events of whoever rang before.
  HF_XCHG(&bell->rung, 0u);  // partner: hf_bell_ring
}
