// SPDX-License-Identifier: MIT
// The door of the monitor's HTTP port: accepts connections, receives and sends on those that only ping and beat.
//
// One epoll instance holds the listening socket and all connections of the door; its descriptor is readable while one
// of them has something to do, so an event loop watches that one descriptor. The door knows no requests: it hands out
// what a connection has received, and sends what the caller appends. No call blocks.
//
// A connection holds no bytes between two turns: it is fresh (it has sent nothing) or idle (all it has sent is
// answered). Whatever else it is, the caller releases it. So one pair of buffers serves all connections. Lists by last
// activity make each timeout O(what has timed out). One thread at a time. Linux only.
#ifndef HF_DOOR_H
#define HF_DOOR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define HF_DOOR_IN_MAX 16384u
#define HF_DOOR_OUT_MAX 65536u
#define HF_DOOR_EVENTS_MAX 128
#define HF_DOOR_ACCEPTS_MAX 128u
#define HF_DOOR_EVICTIONS_MAX 64u

typedef struct hf_door_conn {
  struct hf_door_conn *before, *after;
  int64_t since_ns;  // of its last activity
  int fd;
  bool watched;                 // the epoll instance has it
  bool served;                  // in the list of idle ones; otherwise of fresh ones
  char peer[INET6_ADDRSTRLEN];  // "1.2.3.4" also for ::ffff:1.2.3.4; "" if the general server must name it
} hf_door_conn;

typedef struct {
  hf_door_conn *first, *last;  // the first has been inactive for longest
} hf_door_list;

typedef struct {
  int epoll_fd;
  int listen_fd;  // -1: none. Not owned
  bool paused;    // accepting waits for a free descriptor
  hf_door_list fresh, idle;
  uint32_t n_open, most_open;  // a connection above most_open is closed at once; the caller may change it
  uint64_t n_accepted, n_accept_errors, n_evicted, n_broken, n_refused;
  int accept_error;  // the last one's errno
  // the turn
  int64_t now_ns, end_ns;
  int n_events, at_event;
  uint32_t n_accepts_left;
  struct epoll_event events[HF_DOOR_EVENTS_MAX];
  size_t n_in, n_out;
  uint8_t in[HF_DOOR_IN_MAX];
  uint8_t out[HF_DOOR_OUT_MAX];
} hf_door;

// Returns 0, or an errno. After a failure only hf_door_close_all may be called.
int hf_door_init(hf_door *door);
int hf_door_listen(hf_door *door, int fd);
void hf_door_stop_listening(hf_door *door);
// Closes all connections, and the epoll instance.
void hf_door_close_all(hf_door *door);

// Begins a turn of at most HF_DOOR_EVENTS_MAX descriptors, which ends after about slice_ns.
void hf_door_begin(hf_door *door, int64_t now_ns, int64_t slice_ns);
// Returns the next connection that has sent something, with its bytes in `in`; NULL: the turn is over. The caller ends
// each with hf_door_keep, hf_door_close or hf_door_release.
hf_door_conn *hf_door_next(hf_door *door);
// Returns false if the bytes do not fit.
bool hf_door_append(hf_door *door, const void *bytes, size_t n);
// Sends `out`, and empties it. Returns how much of it was sent: the rest waits for the client to read; -1: the
// connection is broken.
int64_t hf_door_send(hf_door *door, hf_door_conn *conn);

// Keeps the connection as an idle one. Returns false if the system cannot watch it; it is closed then.
bool hf_door_keep(hf_door *door, hf_door_conn *conn);
void hf_door_close(hf_door *door, hf_door_conn *conn);
// Gives the connection's descriptor away.
int hf_door_release(hf_door *door, hf_door_conn *conn);

// Closes the fresh connections that are inactive since before fresh_ns, after they were sent the text, and the idle
// ones since before idle_ns; not those whose bytes wait to be received. Returns the number of fresh ones.
uint32_t hf_door_expire(hf_door *door, int64_t fresh_ns, int64_t idle_ns, const void *text, size_t n);
// Accepts again, if that had paused.
void hf_door_resume(hf_door *door);

#endif
