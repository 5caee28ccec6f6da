// SPDX-License-Identifier: MIT
#include "hf_hub.h"

#include <string.h>

#if defined(HF_DEBUG_CHECKS)
#include <stdio.h>
#include <stdlib.h>
static void check_now(const hf_shard *shard) {
  const char *wrong = hf_shard_check(shard);
  if (!wrong) return;
  fprintf(stderr, "heartfelt: invariant broken: %s\n", wrong);
  abort();  // debug builds only
}
#else
static void check_now(const hf_shard *shard) { (void)shard; }
#endif

hf_hub hf_hub_unopened = {.closed = 1, .ended = 1, .clock = &hf_hub_unopened.own_clock};

static void release_trash(const hf_hub *hub, hf_trash *trash) {
  for (uint32_t n = 0; n < trash->n; n++) hub->config.ops.release(trash->objects[n]);
}

// What is promised of a verdict on a key with this timeout leaves 0.5 % of it for the clock and the worker together.
// So: two steps of the coarse clock for timeouts from 500 steps on, one from 250 on, below that none.
static int64_t coarse_round_up(int64_t timeout_ns, int64_t step_ns) {
  if (step_ns == 0 || timeout_ns / 250 < step_ns) return 0;
  return timeout_ns / 500 < step_ns ? step_ns : 2 * step_ns;
}

// Before a key gets this timeout: beats may have to be told the time more exactly from now on.
static void notice_timeout(hf_hub *hub, int64_t timeout_ns) {
  int64_t now_ns = HF_LOAD_RLX(&hub->coarse_round_up_ns);
  if (timeout_ns == 0 || now_ns == 0) return;
  int64_t round_up_ns = coarse_round_up(timeout_ns, hf_clock_coarse_step_ns());
  if (round_up_ns < now_ns) HF_STORE_RLX(&hub->coarse_round_up_ns, round_up_ns);
}

hf_status hf_hub_create(const hf_hub_config *config, hf_hub **created) {
  hf_hub *hub = calloc(1, sizeof *hub);
  uint32_t n = config->n_shards;
  if (!hub) return HF_NO_MEMORY;
  hub->allocation = calloc(1, n * sizeof(hf_shard) + n * sizeof(hf_worker) + HF_CACHE_LINE);
  if (!hub->allocation) {
    free(hub);
    return HF_NO_MEMORY;
  }
  hub->shards = (hf_shard *)(((uintptr_t)hub->allocation + HF_CACHE_LINE - 1) & ~(uintptr_t)(HF_CACHE_LINE - 1));
  hub->workers = (hf_worker *)(hub->shards + n);
  if (hf_lock_init(&hub->close_lock) != HF_OK) {
    free(hub->allocation);
    free(hub);
    return HF_NO_MEMORY;
  }
  hub->threaded = config->clock_kind != HF_CLOCK_MANUAL;
  hub->own_clock.kind = config->clock_kind;
  hub->clock = config->manual_clock ? config->manual_clock : &hub->own_clock;
  hub->config = (hf_shard_config){.ops = config->ops,
                                  .default_timeout_ns = config->default_timeout_ns,
                                  .disposable = config->disposable,
                                  .light = !HF_PARALLEL && hf_heavy_barrier_available()};
  if (config->clock_kind == HF_CLOCK_MONOTONIC)
    HF_STORE_RLX(&hub->coarse_round_up_ns, coarse_round_up(HF_TIMEOUT_MAX_NS, hf_clock_coarse_step_ns()));
  notice_timeout(hub, config->default_timeout_ns);
  bool tells_overflow = (config->subscribed & HF_MASK(HF_OVERFLOW)) != 0;
  HF_STORE_RLX(&hub->streams.subscribed, config->subscribed);
  HF_STORE_RLX(&hub->streams.to_callbacks, config->to_callbacks);
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hub->streams.bells[s] = config->bells[s];
    hf_ring_init(&hub->streams.rings[s], config->ring_limit, config->on_full, tells_overflow);
  }
  hf_status status = HF_OK;
  for (; hub->n_shards < n && status == HF_OK; hub->n_shards++) {
    hf_shard *shard = &hub->shards[hub->n_shards];
    status = hf_shard_init(shard, hub->n_shards, &hub->config, &hub->streams, hub->clock);
    if (status != HF_OK) break;
    status = hf_worker_init(&hub->workers[hub->n_shards], shard);
    if (status != HF_OK) {
      hf_shard_deinit(shard);
      break;
    }
  }
  // Every state that a worker may see stands before the first one starts.
  for (uint32_t s = 0; hub->threaded && status == HF_OK && s < n; s++) status = hf_worker_start(&hub->workers[s]);
  if (status != HF_OK) {
    hf_hub_destroy(hub);
    return status;
  }
  *created = hub;
  return HF_OK;
}

bool hf_hub_has_ended(const hf_hub *hub) { return HF_LOAD_SC(&((hf_hub *)(uintptr_t)hub)->ended) != 0; }

static void end(hf_hub *hub) {
  for (uint32_t s = 0; s < hub->n_shards; s++) hf_worker_stop(&hub->workers[s]);
  for (uint32_t s = 0; s < hub->n_shards; s++) hf_worker_join(&hub->workers[s]);
  HF_STORE_SC(&hub->ended, 1u);
  for (int s = 0; s < HF_N_STREAMS; s++) hf_bell_ring(hub->streams.bells[s]);
}

void hf_hub_close(hf_hub *hub) {
  if (hub->n_shards == 0) return;
  HF_STORE_SC(&hub->closed, 1u);
  hf_lock_acquire(&hub->close_lock);  // a second caller waits for the first
  if (!hf_hub_has_ended(hub)) end(hub);
  hf_lock_release(&hub->close_lock);
}

void hf_hub_destroy(hf_hub *hub) {
  hf_hub_close(hub);
  for (uint32_t s = 0; s < hub->n_shards; s++) {
    hf_worker_deinit(&hub->workers[s]);
    hf_shard_deinit(&hub->shards[s]);
  }
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_ring *ring = &hub->streams.rings[s];
    while (hf_ring_peek_ns(ring, false) != HF_NEVER) {
      hf_event event = hf_ring_pop(ring, false);
      if (event.key) hub->config.ops.release(event.key);
      if (event.extra) hub->config.ops.release(event.extra);
    }
    hf_ring_deinit(ring);
  }
  hf_lock_deinit(&hub->close_lock);
  free(hub->allocation);
  free(hub);
}

static hf_shard *enter(hf_hub *hub, uint32_t s) {
  hf_lock_acquire(&hub->shards[s].lock);
  return &hub->shards[s];
}

static void leave(hf_hub *hub, uint32_t s, hf_trash *trash) {
  check_now(&hub->shards[s]);
  hf_worker_notice(&hub->workers[s]);
  hf_lock_release(&hub->shards[s].lock);
  release_trash(hub, trash);
}

hf_status hf_hub_touch(hf_hub *hub, void *key, uint64_t hash, const hf_terms *terms, int mode, uint64_t *id) {
  if (HF_LOAD_RLX(&hub->closed)) return HF_CLOSED;
  hf_trash trash = {0};
  uint32_t s = hf_hash_shard(hash, hub->n_shards);
  notice_timeout(hub, terms->timeout_ns);
#if !HF_PARALLEL
  // With a GIL the map is its holder's, so it can grow without keeping the worker from its verdicts.
  if (hf_map_reserve(&hub->shards[s].map) != HF_OK) return HF_NO_MEMORY;
#endif
  hf_status status = hf_shard_touch(enter(hub, s), key, hf_hash_tag(hash), terms, mode, id, &trash);
  leave(hub, s, &trash);
  return status;
}

hf_status hf_hub_touch_id(hf_hub *hub, uint64_t id, const hf_terms *terms, int mode) {
  if (HF_LOAD_RLX(&hub->closed)) return HF_CLOSED;
  hf_trash trash = {0};
  uint32_t s = hf_id_shard(id);
  if (s >= hub->n_shards) return HF_STALE_ID;
  notice_timeout(hub, terms->timeout_ns);
  hf_status status = hf_shard_touch_id(enter(hub, s), id, terms, mode, &trash);
  leave(hub, s, &trash);
  return status;
}

hf_status hf_hub_remove(hf_hub *hub, const void *key, uint64_t hash) {
  if (HF_LOAD_RLX(&hub->closed)) return HF_CLOSED;
  hf_trash trash = {0};
  uint32_t s = hf_hash_shard(hash, hub->n_shards);
  hf_status status = hf_shard_remove(enter(hub, s), key, hf_hash_tag(hash), &trash);
  leave(hub, s, &trash);
  return status;
}

hf_status hf_hub_get(hf_hub *hub, const void *key, uint64_t hash, hf_row *row) {
  if (hub->n_shards == 0) return HF_NOT_WATCHED;
  uint32_t s = hf_hash_shard(hash, hub->n_shards);
  hf_shard *shard = enter(hub, s);
  hf_status status = hf_shard_get(shard, key, hf_hash_tag(hash), row);
  hf_lock_release(&shard->lock);
  return status;
}

uint32_t hf_hub_list(hf_hub *hub, uint64_t *cursor, hf_row *rows, uint32_t max) {
  uint32_t s = (uint32_t)(*cursor >> 32), from = (uint32_t)*cursor, n = 0;
  while (s < hub->n_shards && n < max) {
    hf_shard *shard = enter(hub, s);
    n += hf_shard_list(shard, &from, rows + n, max - n);
    hf_lock_release(&shard->lock);
    if (from == 0) s++;
  }
  *cursor = s < hub->n_shards ? (uint64_t)s << 32 | from : 0;
  return n;
}

uint32_t hf_hub_count(hf_hub *hub) {
  uint32_t n = 0;
  for (uint32_t s = 0; s < hub->n_shards; s++) {
    hf_shard *shard = enter(hub, s);
    n += shard->n_watched;
    hf_lock_release(&shard->lock);
  }
  return n;
}

void hf_hub_stats(hf_hub *hub, uint32_t s, hf_shard_stats *stats) {
  hf_shard *shard = enter(hub, s);
  uint32_t n_pending = HF_LOAD_RLX(&shard->n_pending);
  *stats = (hf_shard_stats){.n_keys = shard->n_watched,
                            .n_lost = shard->n_lost,
                            .n_pending = n_pending,
                            .n_dead = shard->n_dead,
                            .n_wakeups = hub->workers[s].n_wakeups,
                            .cpu_ns = hub->workers[s].cpu_ns,
                            .counters = shard->counters};
  hf_lock_release(&shard->lock);
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
}

static bool carries_verdicts(const hf_hub *hub, hf_stream stream) {
  return hf_streams_want(&hub->streams, HF_TIME_OUT) && hf_streams_route(&hub->streams, HF_TIME_OUT) == stream;
}

// Both rings, in the order of their numbers: OVERFLOW of one may be for the readers of the other.
static void enter_rings(hf_hub *hub) {
  for (int s = 0; s < HF_N_STREAMS; s++) hf_lock_acquire(&hub->streams.rings[s].lock);
}
static void leave_rings(hf_hub *hub) {
  for (int s = 0; s < HF_N_STREAMS; s++) hf_lock_release(&hub->streams.rings[s].lock);
}

uint32_t hf_hub_waiting(hf_hub *hub, hf_stream stream) {
  uint32_t n = 0;
  if (hub->n_shards == 0) return 0;
  if (carries_verdicts(hub, stream))
    for (uint32_t s = 0; s < hub->n_shards; s++) n += HF_LOAD_RLX(&hub->shards[s].n_pending);
  enter_rings(hub);
  const hf_ring *ring = &hub->streams.rings[stream];
  n += (uint32_t)(ring->tail - ring->head);
  if (hf_streams_route(&hub->streams, HF_OVERFLOW) == stream)
    for (int s = 0; s < HF_N_STREAMS; s++) n += hf_ring_has_lost(&hub->streams.rings[s]);
  leave_rings(hub);
  return n;
}

// The shard whose verdict comes first, by when it was taken, then by its deadline; n_shards if none waits.
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
    hf_shard_empty_trash(enter(hub, s), &trash);
    leave(hub, s, &trash);
  }
}

typedef enum { FROM_NONE, FROM_SHARD, FROM_RING, FROM_OTHER_RING } source;

// Where the stream's next event is, under all locks. At one time verdicts come first: what a beat made of its key's
// verdict came after it.
static source next_source(const hf_hub *hub, hf_stream stream, bool verdicts, bool told_here, uint32_t *shard) {
  const hf_ring *ring = &hub->streams.rings[stream], *other = &hub->streams.rings[HF_N_STREAMS - 1 - stream];
  int64_t verdict_ns = HF_NEVER, ring_ns = hf_ring_peek_ns(ring, told_here);
  int64_t other_ns = told_here && hf_ring_has_lost(other) ? other->lost_ns : HF_NEVER;
  if (verdicts) *shard = first_verdict(hub, &verdict_ns);
  if (verdict_ns != HF_NEVER && verdict_ns <= hf_min_i64(ring_ns, other_ns)) return FROM_SHARD;
  if (ring_ns != HF_NEVER && ring_ns <= other_ns) return FROM_RING;
  return other_ns != HF_NEVER ? FROM_OTHER_RING : FROM_NONE;
}

uint32_t hf_hub_drain(hf_hub *hub, hf_stream stream, hf_event *events, uint32_t max) {
  if (hub->n_shards == 0) return 0;
  // All locks at once: so the events of one key, verdicts and others, come in their true order.
  bool verdicts = carries_verdicts(hub, stream), told_here = hf_streams_route(&hub->streams, HF_OVERFLOW) == stream;
  hf_ring *rings = hub->streams.rings;
  uint32_t n = 0, s = 0;
  source from;
  for (uint32_t e = 0; verdicts && e < hub->n_shards; e++) enter(hub, e);
  enter_rings(hub);
  while ((from = next_source(hub, stream, verdicts, told_here, &s)) != FROM_NONE && n < max) {
    if (from == FROM_SHARD)
      hf_shard_take(&hub->shards[s], &events[n++]);
    else if (from == FROM_RING)
      events[n++] = hf_ring_pop(&rings[stream], told_here);
    else
      events[n++] = hf_ring_take_overflow(&rings[HF_N_STREAMS - 1 - stream]);
  }
  leave_rings(hub);
  bool untidy = false;
  for (uint32_t e = 0; verdicts && e < hub->n_shards; e++) {
    untidy |= hub->shards[e].trash_head != HF_NO_SLOT;
    check_now(&hub->shards[e]);
    hf_lock_release(&hub->shards[e].lock);
  }
  if (untidy) empty_trash(hub);
  if (from == FROM_NONE) {
    hf_bell_silence(hub->streams.bells[stream]);
    // Once the hub has ended its bell stays rung, so that no reader waits for what will never come.
    if (hf_hub_has_ended(hub) || hf_hub_waiting(hub, stream)) hf_bell_ring(hub->streams.bells[stream]);
  }
  return n;
}

// Verdicts from before anyone wanted them.
static void discard_verdicts(hf_hub *hub) {
  for (uint32_t s = 0; s < hub->n_shards; s++)
    for (bool more = true; more;) {
      hf_trash trash = {0};
      hf_shard *shard = enter(hub, s);
      hf_shard_empty_trash(shard, &trash);
      more = hf_list_head(&shard->slots) != HF_NO_SLOT;
      leave(hub, s, &trash);
    }
}

void hf_hub_subscribe_callbacks(hf_hub *hub, uint32_t types) {
  if (hub->n_shards == 0) return;
  if (!hf_streams_want(&hub->streams, HF_TIME_OUT)) discard_verdicts(hub);
  for (uint32_t s = 0; s < hub->n_shards; s++) enter(hub, s);
  HF_STORE_RLX(&hub->streams.subscribed, HF_LOAD_RLX(&hub->streams.subscribed) | types);
  HF_STORE_RLX(&hub->streams.to_callbacks, HF_LOAD_RLX(&hub->streams.to_callbacks) | types);
  for (uint32_t s = 0; s < hub->n_shards; s++) {
    hf_shard_set_loud(&hub->shards[s], hf_streams_want(&hub->streams, HF_HEART_BEAT));
    check_now(&hub->shards[s]);
    hf_lock_release(&hub->shards[s].lock);
  }
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_ring *ring = &hub->streams.rings[s];
    hf_lock_acquire(&ring->lock);
    ring->tells_overflow = hf_streams_want(&hub->streams, HF_OVERFLOW);
    hf_lock_release(&ring->lock);
    hf_bell_ring(hub->streams.bells[s]);  // what waits may have changed hands
  }
}

static int64_t next_deadline(hf_hub *const *hubs, uint32_t n_hubs) {
  int64_t next_ns = HF_NEVER;
  for (uint32_t h = 0; h < n_hubs; h++)
    for (uint32_t s = 0; s < hubs[h]->n_shards && !HF_LOAD_RLX(&hubs[h]->closed); s++) {
      hf_shard *shard = enter(hubs[h], s);
      next_ns = hf_min_i64(next_ns, hf_heap_min(&shard->heap));
      hf_lock_release(&shard->lock);
    }
  return next_ns;
}

static void step_to(hf_hub *hub, int64_t now_ns, int64_t horizon_ns) {
  uint32_t n_verdicts = 0;
  for (uint32_t s = 0; s < hub->n_shards; s++) {
    hf_shard *shard = enter(hub, s);
    while (hf_heap_min(&shard->heap) <= now_ns) n_verdicts += hf_shard_step(shard, now_ns, 0, horizon_ns);
    check_now(shard);
    hf_lock_release(&shard->lock);
  }
  if (n_verdicts) hf_bell_ring(hub->streams.bells[hf_streams_route(&hub->streams, HF_TIME_OUT)]);
}

void hf_hub_advance(hf_hub *const *hubs, uint32_t n_hubs, hf_clock *clock, int64_t target_ns) {
  for (;;) {
    int64_t next_ns = next_deadline(hubs, n_hubs);
    if (next_ns > target_ns) break;
    if (next_ns > hf_clock_now(clock)) hf_clock_set(clock, next_ns);
    for (uint32_t h = 0; h < n_hubs; h++)
      if (!HF_LOAD_RLX(&hubs[h]->closed)) step_to(hubs[h], hf_clock_now(clock), target_ns);
  }
  hf_clock_set(clock, target_ns);
}

const char *hf_hub_check(hf_hub *hub) {
  const char *wrong = NULL;
  for (uint32_t s = 0; s < hub->n_shards && !wrong; s++) {
    hf_shard *shard = enter(hub, s);
    wrong = hf_shard_check(shard);
    hf_lock_release(&shard->lock);
  }
  return wrong;
}
