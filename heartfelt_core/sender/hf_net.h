// SPDX-License-Identifier: MIT
// The sockets of a line, as a table of functions, so that tests can substitute their own network. No call waits, and
// none raises SIGPIPE. POSIX. Called by the owner of a descriptor: the sender's thread.
#ifndef HF_NET_H
#define HF_NET_H

#include "hf_base.h"

typedef struct {
  uint8_t bytes[32];  // a sockaddr_in or sockaddr_in6
  uint32_t n;
} hf_address;

// Converts an IPv4 or IPv6 address from text; false if it is not one.
bool hf_address_from_text(hf_address *address, const char *text, uint16_t port, uint32_t scope_id);

typedef struct hf_net hf_net;
struct hf_net {
  // Opens a socket that connects to the address: its descriptor, or minus an error number. Where the system can, it
  // gives up a stream if sent data is not acknowledged for unacked_ns.
  int (*open)(const hf_net *net, const hf_address *address, bool datagram, int64_t unacked_ns);
  // Once it is writable: 0 if it is connected, otherwise an error number.
  int (*connect_result)(const hf_net *net, int fd);
  // The number of bytes taken, 0 if none can be now, or minus an error number.
  ptrdiff_t (*send)(const hf_net *net, int fd, const uint8_t *bytes, size_t n);
  // The number of bytes received, 0 at the end of a stream, -EAGAIN if none can be read now, or minus another error
  // number.
  ptrdiff_t (*receive)(const hf_net *net, int fd, uint8_t *bytes, size_t n);
  // Ends a connection in order, so that sent data arrives.
  void (*finish)(const hf_net *net, int fd);
  // Closes only the descriptor. In the child of a fork the parent's connection stays.
  void (*close)(const hf_net *net, int fd);
};

extern const hf_net hf_net_system;

#endif
