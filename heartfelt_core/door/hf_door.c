// SPDX-License-Identifier: MIT
#include "hf_door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t monotonic_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static hf_door_list *list_of(hf_door *door, const hf_door_conn *conn) {
  return conn->served ? &door->idle : &door->fresh;
}

static void append_to_list(hf_door *door, hf_door_conn *conn) {
  hf_door_list *list = list_of(door, conn);
  conn->before = list->last;
  conn->after = NULL;
  if (list->last != NULL)
    list->last->after = conn;
  else
    list->first = conn;
  list->last = conn;
}

static void remove_from_list(hf_door *door, hf_door_conn *conn) {
  hf_door_list *list = list_of(door, conn);
  if (conn->before != NULL)
    conn->before->after = conn->after;
  else
    list->first = conn->after;
  if (conn->after != NULL)
    conn->after->before = conn->before;
  else
    list->last = conn->before;
}

// -- beginning and end

int hf_door_init(hf_door *door) {
  memset(door, 0, offsetof(hf_door, in));
  door->listen_fd = -1;
  door->most_open = UINT32_MAX;
  door->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  return door->epoll_fd < 0 ? errno : 0;
}

static int watch(hf_door *door, int fd, void *owner) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = owner};
  return epoll_ctl(door->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

int hf_door_listen(hf_door *door, int fd) {
  int error = watch(door, fd, NULL);
  if (error == 0) door->listen_fd = fd;
  return error;
}

void hf_door_stop_listening(hf_door *door) {
  if (door->listen_fd >= 0 && !door->paused) epoll_ctl(door->epoll_fd, EPOLL_CTL_DEL, door->listen_fd, NULL);
  door->listen_fd = -1;
  door->paused = false;
}

void hf_door_close_all(hf_door *door) {
  if (door->epoll_fd < 0) return;
  hf_door_stop_listening(door);
  while (door->fresh.first != NULL) hf_door_close(door, door->fresh.first);
  while (door->idle.first != NULL) hf_door_close(door, door->idle.first);
  close(door->epoll_fd);
  door->epoll_fd = -1;
}

void hf_door_resume(hf_door *door) {
  if (door->paused && watch(door, door->listen_fd, NULL) == 0) door->paused = false;
}

static void forget(hf_door *door, hf_door_conn *conn) {
  remove_from_list(door, conn);
  for (int k = door->at_event; k < door->n_events; k++)
    if (door->events[k].data.ptr == conn) door->events[k].events = 0;
  free(conn);
  door->n_open--;
}

void hf_door_close(hf_door *door, hf_door_conn *conn) {
  close(conn->fd);  // which takes it out of the epoll instance: no other descriptor refers to the connection
  forget(door, conn);
  if (door->paused) hf_door_resume(door);
}

int hf_door_release(hf_door *door, hf_door_conn *conn) {
  int fd = conn->fd;
  if (conn->watched) epoll_ctl(door->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
  forget(door, conn);
  return fd;
}

bool hf_door_keep(hf_door *door, hf_door_conn *conn) {
  if (!conn->watched && watch(door, conn->fd, conn) != 0) {
    door->n_broken++;
    hf_door_close(door, conn);
    return false;
  }
  remove_from_list(door, conn);
  conn->watched = conn->served = true;
  conn->since_ns = door->now_ns;
  append_to_list(door, conn);
  return true;
}

// -- accepting

static void name_peer(hf_door_conn *conn, const struct sockaddr_storage *address) {
  conn->peer[0] = '\0';
  if (address->ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    inet_ntop(AF_INET, &v4->sin_addr, conn->peer, sizeof conn->peer);
  } else if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
      inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, conn->peer, sizeof conn->peer);
    else if (v6->sin6_scope_id == 0)  // with a scope, libraries differ in how they write it
      inet_ntop(AF_INET6, &v6->sin6_addr, conn->peer, sizeof conn->peer);
  }
}

// Whether nothing of the client's waits to be received, its end neither.
static bool is_silent(const hf_door_conn *conn) {
  char byte;
  return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

// Closes the connections that have been idle for longest, so that their descriptors can be used. Those that have just
// sent something stay.
static uint32_t evict(hf_door *door) {
  uint32_t n_evicted = 0, n_looked = 0;
  hf_door_conn *conn = door->idle.first;
  while (conn != NULL && n_looked++ < HF_DOOR_EVICTIONS_MAX) {
    hf_door_conn *after = conn->after;
    if (is_silent(conn)) {
      hf_door_close(door, conn);
      n_evicted++;
    }
    conn = after;
  }
  door->n_evicted += n_evicted;
  return n_evicted;
}

// accept(2): errors that are pending on the new connection; the next one may be sound.
static bool is_of_one_client(int error) {
  static const int errors[] = {ECONNABORTED, EPROTO,      ENETDOWN, ENOPROTOOPT, EHOSTDOWN,
                               EHOSTUNREACH, ENETUNREACH, ENONET,   EOPNOTSUPP,  EPERM};
  for (size_t k = 0; k < sizeof errors / sizeof *errors; k++)
    if (errors[k] == error) return true;
  return false;
}

static bool lacks_room(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

// Returns false if there is nothing more to accept for now.
static bool failed_to_accept(hf_door *door, int error) {
  if (error == EAGAIN || error == EWOULDBLOCK) return false;
  if (error == EINTR) return true;
  door->n_accept_errors++;
  door->accept_error = error;
  if (is_of_one_client(error)) return true;
  if (lacks_room(error) && evict(door) > 0) return true;
  epoll_ctl(door->epoll_fd, EPOLL_CTL_DEL, door->listen_fd, NULL);  // or its readiness would keep the loop busy
  door->paused = true;
  return false;
}

static hf_door_conn *accept_one(hf_door *door, bool *more) {
  struct sockaddr_storage address;
  socklen_t n_address = sizeof address;
  int fd = accept4(door->listen_fd, (struct sockaddr *)&address, &n_address, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    *more = failed_to_accept(door, errno);
    return NULL;
  }
  if (door->n_open >= door->most_open) {
    close(fd);
    door->n_refused++;
    return NULL;
  }
  hf_door_conn *conn = calloc(1, sizeof *conn);
  if (conn == NULL) {
    close(fd);
    *more = failed_to_accept(door, ENOMEM);
    return NULL;
  }
  conn->fd = fd;
  conn->since_ns = door->now_ns;
  name_peer(conn, &address);
  append_to_list(door, conn);
  door->n_open++;
  door->n_accepted++;
  return conn;
}

// -- a turn

void hf_door_begin(hf_door *door, int64_t now_ns, int64_t slice_ns) {
  door->now_ns = now_ns;
  door->end_ns = monotonic_ns() + slice_ns;
  door->at_event = 0;
  door->n_accepts_left = 0;
  door->n_out = 0;
  int n = epoll_wait(door->epoll_fd, door->events, HF_DOOR_EVENTS_MAX, 0);
  door->n_events = n < 0 ? 0 : n;
}

// Returns true if the connection has bytes in `in`. Otherwise it waits, or is closed.
static bool receive(hf_door *door, hf_door_conn *conn) {
  ssize_t n;
  do {
    n = recv(conn->fd, door->in, sizeof door->in, 0);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    door->n_in = (size_t)n;
    return true;
  }
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    if (conn->watched) return false;
    if (watch(door, conn->fd, conn) == 0) {
      conn->watched = true;
      return false;
    }
    door->n_broken++;
  }
  hf_door_close(door, conn);  // the client has closed it, or it is broken
  return false;
}

hf_door_conn *hf_door_next(hf_door *door) {
  door->n_out = 0;
  for (uint32_t n = 1;; n++) {
    if (n % 8 == 1 && monotonic_ns() >= door->end_ns) return NULL;
    if (door->n_accepts_left > 0) {
      bool more = true;
      hf_door_conn *conn = accept_one(door, &more);
      door->n_accepts_left = more ? door->n_accepts_left - 1 : 0;
      if (conn != NULL && receive(door, conn)) return conn;
      continue;
    }
    if (door->at_event == door->n_events) return NULL;
    struct epoll_event *event = &door->events[door->at_event++];
    if (event->events == 0) continue;
    if (event->data.ptr == NULL)
      door->n_accepts_left = door->listen_fd >= 0 && !door->paused ? HF_DOOR_ACCEPTS_MAX : 0;
    else if (receive(door, event->data.ptr))
      return event->data.ptr;
  }
}

bool hf_door_append(hf_door *door, const void *bytes, size_t n) {
  if (n > sizeof door->out - door->n_out) return false;
  memcpy(door->out + door->n_out, bytes, n);
  door->n_out += n;
  return true;
}

int64_t hf_door_send(hf_door *door, hf_door_conn *conn) {
  size_t at = 0;
  while (at < door->n_out) {
    ssize_t n = send(conn->fd, door->out + at, door->n_out - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      at += (size_t)n;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      door->n_broken++;
      return -1;
    }
  }
  return (int64_t)at;
}

// -- time limits

uint32_t hf_door_expire(hf_door *door, int64_t fresh_ns, int64_t idle_ns, const void *text, size_t n) {
  uint32_t n_fresh = 0;
  hf_door_conn *conn, *after;
  // After a pause of the process, what arrived meanwhile is received next: that client is not late.
  for (conn = door->fresh.first; conn != NULL && conn->since_ns < fresh_ns; conn = after) {
    after = conn->after;
    if (!is_silent(conn)) continue;
    if (send(conn->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) door->n_broken++;
    hf_door_close(door, conn);
    n_fresh++;
  }
  for (conn = door->idle.first; conn != NULL && conn->since_ns < idle_ns; conn = after) {
    after = conn->after;
    if (is_silent(conn)) hf_door_close(door, conn);
  }
  return n_fresh;
}
