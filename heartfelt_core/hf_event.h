// SPDX-License-Identifier: MIT
// Events as they leave the core, and the ring that holds those that are not verdicts.
//
// Invariants
//   A verdict (TIME_OUT) never enters a ring: it stays in its shard's timeout list (hf_timeout_list.h) until it is
//   read.
//   A ring never loses an event silently: it counts what it cannot hold, and one OVERFLOW event reports each run of
//   losses, at its place in the ring's own stream, or in the other one if OVERFLOW goes there.
//   With HF_ON_FULL_BLOCK nothing is lost: the ring grows, since a beat must not wait for a reader.
// Cost: push and pop O(1), amortized where the ring grows. Threads: under the ring's own lock, taken after the shards'
// locks.
// Objects: a ring owns the key and extra of each event in it. It hands dropped ones back to the caller, who releases
// them after the locks.
#ifndef HF_EVENT_H
#define HF_EVENT_H

#include <stdlib.h>

#include "hf_base.h"
#include "hf_thread.h"

typedef enum {
  HF_TIME_OUT = 0,
  HF_HEART_BEAT,
  HF_REMOVE_KEY,
  HF_JOIN,
  HF_RECOVER,
  HF_OVERFLOW,
  HF_STALL,
  HF_N_EVENT_TYPES,
} hf_event_type;

#define HF_MASK(type) (1u << (type))

typedef enum { HF_ON_FULL_DROP_OLDEST = 0, HF_ON_FULL_DROP_NEWEST, HF_ON_FULL_BLOCK, HF_N_ON_FULL } hf_on_full;

typedef struct {
  hf_event_type type;
  bool disposable;
  uint32_t missed;
  void *key, *extra;  // owned by whoever holds the event
  int64_t timeout_ns, join_ns, beat_ns, deadline_ns, event_ns;
} hf_event;

typedef struct {
  hf_lock lock;
  hf_on_full on_full;   // const
  bool tells_overflow;  // const; somebody subscribed to OVERFLOW
  uint32_t limit;       // const; the size that the user chose
  // under lock
  hf_event *events;
  uint32_t capacity;
  uint64_t head, tail;   // event n stands at n % capacity; head <= tail
  uint64_t n_dropped;    // ever
  uint64_t n_overflows;  // runs of losses, ever
  uint32_t n_lost_now;   // in the run that no OVERFLOW event has reported yet
  uint64_t lost_at;      // where in the stream it stands: before event lost_at
  int64_t lost_ns;       // when it began
} hf_ring;

static inline hf_status hf_ring_init(hf_ring *ring, uint32_t limit, hf_on_full on_full, bool tells_overflow) {
  hf_status status = hf_lock_init(&ring->lock);
  ring->limit = limit;
  ring->on_full = on_full;
  ring->tells_overflow = tells_overflow;
  ring->events = NULL;
  ring->capacity = 0;
  ring->head = ring->tail = ring->lost_at = 0;
  ring->n_dropped = ring->n_overflows = 0;
  ring->n_lost_now = 0;
  ring->lost_ns = 0;
  return status;
}

// The caller must have taken all events out by hf_ring_pop, and released their objects.
static inline void hf_ring_deinit(hf_ring *ring) {
  free(ring->events);
  hf_lock_deinit(&ring->lock);
}

// Whether a run of losses has yet to be reported.
static inline bool hf_ring_has_lost(const hf_ring *ring) { return ring->n_lost_now != 0 && ring->tells_overflow; }

static inline bool hf_ring_grow(hf_ring *ring) {
  uint32_t capacity = ring->capacity ? ring->capacity * 2 : 64;
  if (ring->on_full != HF_ON_FULL_BLOCK && capacity > ring->limit) capacity = ring->limit;
  if (capacity <= ring->capacity) return false;
  hf_event *events = malloc((size_t)capacity * sizeof *events);
  if (!events) return false;
  for (uint64_t n = ring->head; n < ring->tail; n++) events[n % capacity] = ring->events[n % ring->capacity];
  free(ring->events);
  ring->events = events;
  ring->capacity = capacity;
  return true;
}

static inline void hf_ring_count_loss(hf_ring *ring, uint64_t at, int64_t now_ns) {
  if (ring->n_lost_now == 0) {
    ring->n_overflows++;
    ring->lost_at = at;
    ring->lost_ns = now_ns;
  }
  if (ring->n_lost_now < UINT32_MAX) ring->n_lost_now++;
  ring->n_dropped++;
}

// Appends *event, whose objects are then the ring's. Returns true if an event had to be dropped: *event is then that
// one (the new one, or the oldest), and the caller releases its objects.
static inline bool hf_ring_push(hf_ring *ring, hf_event *event) {
  if (ring->tail - ring->head < ring->capacity || hf_ring_grow(ring)) {
    ring->events[ring->tail++ % ring->capacity] = *event;
    return false;
  }
  if (ring->on_full == HF_ON_FULL_DROP_OLDEST && ring->capacity > 0) {
    hf_event oldest = ring->events[ring->head++ % ring->capacity];
    ring->events[ring->tail++ % ring->capacity] = *event;
    hf_ring_count_loss(ring, ring->head, event->event_ns);
    if (ring->lost_at < ring->head) ring->lost_at = ring->head;
    *event = oldest;
    return true;
  }
  hf_ring_count_loss(ring, ring->tail, event->event_ns);
  return true;
}

// `told_here`: OVERFLOW events go to the ring's own stream, so that this ring's has a place in it.
static inline bool hf_ring_overflow_is_next(const hf_ring *ring, bool told_here) {
  return told_here && hf_ring_has_lost(ring) && ring->lost_at <= ring->head;
}

static inline uint32_t hf_ring_count(const hf_ring *ring, bool told_here) {
  return (uint32_t)(ring->tail - ring->head) + (told_here && hf_ring_has_lost(ring));
}

// The time of the ring's next event; HF_NEVER if there is none. An OVERFLOW that is next never has a later time than
// the event behind it.
static inline int64_t hf_ring_peek_ns(const hf_ring *ring, bool told_here) {
  int64_t next_ns = ring->head < ring->tail ? ring->events[ring->head % ring->capacity].event_ns : HF_NEVER;
  return hf_ring_overflow_is_next(ring, told_here) ? hf_min_i64(ring->lost_ns, next_ns) : next_ns;
}

// Only if hf_ring_has_lost.
static inline hf_event hf_ring_take_overflow(hf_ring *ring) {
  hf_event overflow = {.type = HF_OVERFLOW,
                       .missed = ring->n_lost_now,
                       .event_ns = ring->lost_ns,
                       .deadline_ns = ring->lost_ns,
                       .join_ns = ring->lost_ns,
                       .beat_ns = ring->lost_ns};
  ring->n_lost_now = 0;
  return overflow;
}

// Only if hf_ring_peek_ns says that there is one.
static inline hf_event hf_ring_pop(hf_ring *ring, bool told_here) {
  if (hf_ring_overflow_is_next(ring, told_here)) return hf_ring_take_overflow(ring);
  hf_event event = ring->events[ring->head++ % ring->capacity];
  // A run of losses to which nobody subscribed ends when the ring has room again.
  if (!ring->tells_overflow) ring->n_lost_now = 0;
  return event;
}

#endif
