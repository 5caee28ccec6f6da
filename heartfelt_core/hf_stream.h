// SPDX-License-Identifier: MIT
// The two streams of events that leave a hub: one to its readers, one to its callbacks. Each event type goes to one of
// them.
// Threads: any; the masks are atomic, each ring has its lock. hf_streams_emit is called under a shard's lock, so that
// the events of one key keep their true order.
#ifndef HF_STREAM_H
#define HF_STREAM_H

#include "hf_bell.h"
#include "hf_event.h"

typedef enum { HF_TO_READERS = 0, HF_TO_CALLBACKS = 1, HF_N_STREAMS } hf_stream;

// Objects that a function under lock no longer needs: the caller releases them after the locks.
#define HF_TRASH_MAX 40
typedef struct {
  uint32_t n;
  void *objects[HF_TRASH_MAX];
} hf_trash;

static inline void hf_trash_add(hf_trash *trash, void *object) {
  if (object) trash->objects[trash->n++] = object;
}

typedef struct {
  hf_ring rings[HF_N_STREAMS];
  hf_bell *bells[HF_N_STREAMS];  // const; the caller's, outliving the hub
  hf_atomic_u32 subscribed;      // bits of hf_event_type
  hf_atomic_u32 to_callbacks;    // bits whose stream is HF_TO_CALLBACKS
} hf_streams;

static inline bool hf_streams_want(const hf_streams *streams, hf_event_type type) {
  return (HF_LOAD_RLX(&((hf_streams *)(uintptr_t)streams)->subscribed) & HF_MASK(type)) != 0;
}

static inline hf_stream hf_streams_route(const hf_streams *streams, hf_event_type type) {
  uint32_t mask = HF_LOAD_RLX(&((hf_streams *)(uintptr_t)streams)->to_callbacks);
  return (mask & HF_MASK(type)) ? HF_TO_CALLBACKS : HF_TO_READERS;
}

// Appends an event, whose objects become the stream's. The objects of a dropped event go to the trash.
static inline void hf_streams_emit(hf_streams *streams, hf_event event, hf_trash *trash) {
  hf_stream to = hf_streams_route(streams, event.type);
  hf_ring *ring = &streams->rings[to];
  hf_lock_acquire(&ring->lock);
  if (hf_ring_push(ring, &event)) {
    hf_trash_add(trash, event.key);
    hf_trash_add(trash, event.extra);
  }
  bool lost = hf_ring_has_lost(ring);
  hf_lock_release(&ring->lock);
  hf_bell_ring(streams->bells[to]);
  if (lost) hf_bell_ring(streams->bells[hf_streams_route(streams, HF_OVERFLOW)]);
}

#endif
