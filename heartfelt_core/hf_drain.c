// SPDX-License-Identifier: MIT
// How events leave a hub: which events a stream has, and in what order.
#include "hf_enter.h"
#include "hf_hub.h"

static bool carries_verdicts(const hf_hub *hub, hf_stream stream) {
  return hf_streams_want(&hub->streams, HF_TIME_OUT) && hf_streams_route(&hub->streams, HF_TIME_OUT) == stream;
}

// Locks both rings, in the order of their numbers: an OVERFLOW of one may be for the readers of the other.
static void enter_rings(hf_hub *hub) {
  for (int s = 0; s < HF_N_STREAMS; s++) hf_lock_acquire(&hub->streams.rings[s].lock);
}
static void leave_rings(hf_hub *hub) {
  for (int s = 0; s < HF_N_STREAMS; s++) hf_lock_release(&hub->streams.rings[s].lock);
}

static bool carries_stalls(const hf_hub *hub, hf_stream stream) {
  return hf_streams_route(&hub->streams, HF_STALL) == stream;
}

uint32_t hf_hub_waiting(hf_hub *hub, hf_stream stream) {
  uint32_t n = 0;
  if (hub->n_shards == 0) return 0;
  if (carries_verdicts(hub, stream))
    for (uint32_t s = 0; s < hub->n_shards; s++) n += HF_LOAD_RLX(&hub->shards[s].n_pending);
  if (carries_stalls(hub, stream)) n += hf_guard_count(&hub->guard);
  enter_rings(hub);
  bool told_here = hf_streams_route(&hub->streams, HF_OVERFLOW) == stream;
  n += hf_ring_count(&hub->streams.rings[stream], told_here);
  n += told_here && hf_ring_has_lost(&hub->streams.rings[HF_N_STREAMS - 1 - stream]);
  leave_rings(hub);
  return n;
}

void hf_hub_stream_stats(hf_hub *hub, hf_stream_stats *stats) {
  *stats = (hf_stream_stats){0};
  if (hub->n_shards == 0) return;
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_ring *ring = &hub->streams.rings[s];
    stats->n_waiting[s] = hf_hub_waiting(hub, (hf_stream)s);
    hf_lock_acquire(&ring->lock);
    stats->n_dropped += ring->n_dropped;
    stats->n_overflows += ring->n_overflows;
    hf_lock_release(&ring->lock);
  }
  hf_lock_acquire(&hub->guard.lock);
  stats->n_stalls = hub->guard.n_stalls;
  stats->stalled_ns = hub->guard.stalled_ns;
  hf_lock_release(&hub->guard.lock);
}

// The shard with the first verdict, by the time at which it was taken, then by its deadline; n_shards if none waits.
static uint32_t first_verdict(const hf_hub *hub, int64_t *event_ns) {
  uint32_t best = hub->n_shards;
  int64_t best_deadline_ns = 0;
  *event_ns = HF_NEVER;
  for (uint32_t s = 0; s < hub->n_shards; s++) {
    int64_t deadline_ns = 0, taken_ns = hf_shard_peek(&hub->shards[s], &deadline_ns);
    if (taken_ns > *event_ns || (taken_ns == *event_ns && deadline_ns >= best_deadline_ns)) continue;
    best = s;
    *event_ns = taken_ns;
    best_deadline_ns = deadline_ns;
  }
  return best;
}

static void empty_trash(hf_hub *hub) {
  for (uint32_t s = 0; s < hub->n_shards; s++) {
    hf_trash trash = {0};
    hf_shard_empty_trash(hf_hub_enter(hub, s), &trash);
    hf_hub_leave(hub, s, &trash);
  }
}

typedef enum { FROM_NONE, FROM_SHARD, FROM_RING, FROM_OTHER_RING, FROM_GUARD } source;

// The source of the stream's next event, under all locks. Of events at one time verdicts come first: what a beat made
// of its key's verdict happened after it.
static source next_source(hf_hub *hub, hf_stream stream, bool verdicts, bool told_here, uint32_t *shard) {
  const hf_ring *ring = &hub->streams.rings[stream], *other = &hub->streams.rings[HF_N_STREAMS - 1 - stream];
  int64_t verdict_ns = HF_NEVER, ring_ns = hf_ring_peek_ns(ring, told_here);
  int64_t other_ns = told_here && hf_ring_has_lost(other) ? other->lost_ns : HF_NEVER;
  if (verdicts) *shard = first_verdict(hub, &verdict_ns);
  int64_t stall_ns = carries_stalls(hub, stream) ? hf_guard_peek_ns(&hub->guard) : HF_NEVER;
  if (stall_ns != HF_NEVER && stall_ns <= hf_min_i64(verdict_ns, hf_min_i64(ring_ns, other_ns))) return FROM_GUARD;
  if (verdict_ns != HF_NEVER && verdict_ns <= hf_min_i64(ring_ns, other_ns)) return FROM_SHARD;
  if (ring_ns != HF_NEVER && ring_ns <= other_ns) return FROM_RING;
  return other_ns != HF_NEVER ? FROM_OTHER_RING : FROM_NONE;
}

uint32_t hf_hub_drain(hf_hub *hub, hf_stream stream, hf_event *events, uint32_t max) {
  if (hub->n_shards == 0) return 0;
  // All locks at once, so that the events of one key, verdicts and others, come in their true order.
  bool verdicts = carries_verdicts(hub, stream), told_here = hf_streams_route(&hub->streams, HF_OVERFLOW) == stream;
  hf_ring *rings = hub->streams.rings;
  uint32_t n = 0, s = 0;
  source from;
  for (uint32_t e = 0; verdicts && e < hub->n_shards; e++) hf_hub_enter(hub, e);
  enter_rings(hub);
  while ((from = next_source(hub, stream, verdicts, told_here, &s)) != FROM_NONE && n < max) {
    if (from == FROM_SHARD)
      hf_shard_take(&hub->shards[s], &events[n++]);
    else if (from == FROM_RING)
      events[n++] = hf_ring_pop(&rings[stream], told_here);
    else if (from == FROM_GUARD)
      events[n++] = hf_guard_take(&hub->guard);
    else
      events[n++] = hf_ring_take_overflow(&rings[HF_N_STREAMS - 1 - stream]);
  }
  leave_rings(hub);
  bool untidy = false;
  for (uint32_t e = 0; verdicts && e < hub->n_shards; e++) {
    untidy |= hub->shards[e].trash_head != HF_NO_SLOT;
    hf_shard_check_now(&hub->shards[e]);
    hf_lock_release(&hub->shards[e].lock);
  }
  if (untidy) empty_trash(hub);
  if (from == FROM_NONE) {
    hf_bell_silence(hub->streams.bells[stream]);
    // Once the hub has ended its bell stays rung, so that no reader waits for an event that will never come.
    if (hf_hub_has_ended(hub) || hf_hub_waiting(hub, stream)) hf_bell_ring(hub->streams.bells[stream]);
  }
  return n;
}

// Discards verdicts from before anyone subscribed to them.
static void discard_verdicts(hf_hub *hub) {
  for (uint32_t s = 0; s < hub->n_shards; s++)
    for (bool more = true; more;) {
      hf_trash trash = {0};
      hf_shard *shard = hf_hub_enter(hub, s);
      hf_shard_empty_trash(shard, &trash);
      more = hf_timeout_list_head(&shard->slots) != HF_NO_SLOT;
      hf_hub_leave(hub, s, &trash);
    }
}

void hf_hub_subscribe_callbacks(hf_hub *hub, uint32_t types) {
  if (hub->n_shards == 0) return;
  if (!hf_streams_want(&hub->streams, HF_TIME_OUT)) discard_verdicts(hub);
  for (uint32_t s = 0; s < hub->n_shards; s++) hf_hub_enter(hub, s);
  HF_STORE_RLX(&hub->streams.subscribed, HF_LOAD_RLX(&hub->streams.subscribed) | types);
  HF_STORE_RLX(&hub->streams.to_callbacks, HF_LOAD_RLX(&hub->streams.to_callbacks) | types);
  for (uint32_t s = 0; s < hub->n_shards; s++) {
    hf_shard_set_loud(&hub->shards[s], hf_streams_want(&hub->streams, HF_HEART_BEAT));
    hf_shard_check_now(&hub->shards[s]);
    hf_lock_release(&hub->shards[s].lock);
  }
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_ring *ring = &hub->streams.rings[s];
    hf_lock_acquire(&ring->lock);
    ring->tells_overflow = hf_streams_want(&hub->streams, HF_OVERFLOW);
    hf_lock_release(&ring->lock);
    hf_bell_ring(hub->streams.bells[s]);  // what waits may belong to the other stream now
  }
}
