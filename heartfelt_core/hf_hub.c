// SPDX-License-Identifier: MIT
#include "hf_hub.h"

#include <string.h>

#include "hf_enter.h"

hf_hub hf_hub_unopened = {.closed = 1, .ended = 1, .clock = &hf_hub_unopened.own_clock};

// The coarse clock lags by up to two of its steps: one that has not come yet, and the rest that the last one left over.
// A third is for a late tick. A verdict may be late by 0.5 % of the timeout for the clock and the worker together, so
// three steps must be less than 0.4 % of it.
#define HF_COARSE_STEPS 3
#define HF_COARSE_FROM_STEPS 750
static int64_t coarse_round_up(int64_t timeout_ns) {
  int64_t step_ns = hf_clock_coarse_step_ns();
  return timeout_ns / HF_COARSE_FROM_STEPS < step_ns ? 0 : HF_COARSE_STEPS * step_ns;
}

// Call before a key gets this timeout: beats may need a more exact clock from now on.
static void notice_timeout(hf_hub *hub, int64_t timeout_ns) {
  if (timeout_ns) hf_guard_notice_timeout(&hub->guard, timeout_ns, hub->clock);
  int64_t now_ns = HF_LOAD_RLX(&hub->coarse_round_up_ns);
  if (timeout_ns == 0 || now_ns == 0) return;
  int64_t round_up_ns = coarse_round_up(timeout_ns);
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
  hub->shards = (hf_shard *)hf_align_to_line(hub->allocation);
  hub->workers = (hf_worker *)(hub->shards + n);
  if (hf_lock_init(&hub->close_lock) != HF_OK) {
    free(hub->allocation);
    free(hub);
    return HF_NO_MEMORY;
  }
  hub->own_clock.kind = config->clock_kind;
  hub->clock = config->manual_clock ? config->manual_clock : &hub->own_clock;
  hf_guard_kind guard = config->manual_clock ? HF_GUARD_OFF : config->guard;
  if (hf_guard_init(&hub->guard, guard, config->canary_bell, hf_clock_now(hub->clock)) != HF_OK) {
    hf_lock_deinit(&hub->close_lock);
    free(hub->allocation);
    free(hub);
    return HF_NO_MEMORY;
  }
  hub->config = (hf_shard_config){.ops = config->ops,
                                  .default_timeout_ns = config->default_timeout_ns,
                                  .disposable = config->disposable,
                                  .light = !HF_PARALLEL && hf_heavy_barrier_available()};
  if (config->clock_kind == HF_CLOCK_MONOTONIC)
    HF_STORE_RLX(&hub->coarse_round_up_ns, coarse_round_up(HF_TIMEOUT_MAX_NS));
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
    status = hf_worker_init(&hub->workers[hub->n_shards], shard, &hub->guard);
    if (status != HF_OK) {
      hf_shard_deinit(shard);
      break;
    }
  }
  // Every state that a worker may read is initialized before the first one starts.
  for (uint32_t s = 0; config->clock_kind != HF_CLOCK_MANUAL && status == HF_OK && s < n; s++)
    status = hf_worker_start(&hub->workers[s]);
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
  if (hub->guard.canary_bell) hf_bell_ring(hub->guard.canary_bell);
}

void hf_hub_close(hf_hub *hub) {
  if (hub->n_shards == 0) return;
  HF_STORE_SC(&hub->closed, 1u);
  hf_lock_acquire(&hub->close_lock);  // a second caller waits for the first
  if (!hf_hub_has_ended(hub)) end(hub);
  hf_lock_release(&hub->close_lock);
}

void hf_hub_abandon(hf_hub *hub) {
  if (hub->n_shards == 0) return;
  HF_STORE_SC(&hub->closed, 1u);
  HF_STORE_SC(&hub->ended, 1u);
  hub->n_shards = 0;
  for (int s = 0; s < HF_N_STREAMS; s++) hf_bell_abandon(hub->streams.bells[s]);
  if (hub->guard.canary_bell) hf_bell_abandon(hub->guard.canary_bell);
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
  hf_guard_deinit(&hub->guard);
  hf_lock_deinit(&hub->close_lock);
  free(hub->allocation);
  free(hub);
}

// Under a shard's lock. Whoever ends the hub takes each shard's lock after it has set `closed`, so nothing is done
// after the end.
static bool closed_meanwhile(const hf_hub *hub) { return HF_LOAD_SC(&((hf_hub *)(uintptr_t)hub)->closed) != 0; }

hf_status hf_hub_touch(hf_hub *hub, void *key, uint64_t hash, const hf_terms *terms, int mode, uint64_t *id) {
  if (HF_LOAD_RLX(&hub->closed)) return HF_CLOSED;
  hf_trash trash = {0};
  uint32_t s = hf_hash_shard(hash, hub->n_shards);
  notice_timeout(hub, terms->timeout_ns);
#if !HF_PARALLEL
  // With a GIL the map belongs to its holder, so it can grow without keeping the worker from its verdicts. If it cannot
  // grow, hf_shard_touch reports that to a key that joins; any other key needs no room.
  (void)hf_map_reserve(&hub->shards[s].map, &hub->shards[s].slots);
#endif
  hf_shard *shard = hf_hub_enter(hub, s);
  hf_status status =
      closed_meanwhile(hub) ? HF_CLOSED : hf_shard_touch(shard, key, hf_hash_tag(hash), terms, mode, id, &trash);
  hf_hub_leave(hub, s, &trash);
  return status;
}

hf_status hf_hub_restore(hf_hub *hub, void *key, uint64_t hash, const hf_past *past) {
  if (HF_LOAD_RLX(&hub->closed)) return HF_CLOSED;
  hf_trash trash = {0};
  uint32_t s = hf_hash_shard(hash, hub->n_shards);
  notice_timeout(hub, past->terms.timeout_ns);
#if !HF_PARALLEL
  (void)hf_map_reserve(&hub->shards[s].map, &hub->shards[s].slots);  // as in hf_hub_touch
#endif
  hf_shard *shard = hf_hub_enter(hub, s);
  hf_status status = closed_meanwhile(hub) ? HF_CLOSED : hf_shard_restore(shard, key, hf_hash_tag(hash), past, &trash);
  hf_hub_leave(hub, s, &trash);
  return status;
}

hf_status hf_hub_touch_id(hf_hub *hub, uint64_t id, const hf_terms *terms, int mode) {
  if (HF_LOAD_RLX(&hub->closed)) return HF_CLOSED;
  hf_trash trash = {0};
  uint32_t s = hf_id_shard(id);
  if (s >= hub->n_shards) return HF_STALE_ID;
  notice_timeout(hub, terms->timeout_ns);
  hf_shard *shard = hf_hub_enter(hub, s);
  hf_status status = closed_meanwhile(hub) ? HF_CLOSED : hf_shard_touch_id(shard, id, terms, mode, &trash);
  hf_hub_leave(hub, s, &trash);
  return status;
}

hf_status hf_hub_remove(hf_hub *hub, const void *key, uint64_t hash) {
  if (HF_LOAD_RLX(&hub->closed)) return HF_CLOSED;
  hf_trash trash = {0};
  uint32_t s = hf_hash_shard(hash, hub->n_shards);
  hf_shard *shard = hf_hub_enter(hub, s);
  hf_status status = closed_meanwhile(hub) ? HF_CLOSED : hf_shard_remove(shard, key, hf_hash_tag(hash), &trash);
  hf_hub_leave(hub, s, &trash);
  return status;
}

hf_status hf_hub_get(hf_hub *hub, const void *key, uint64_t hash, hf_row *row) {
  if (hub->n_shards == 0) return HF_NOT_WATCHED;
  uint32_t s = hf_hash_shard(hash, hub->n_shards);
  hf_shard *shard = hf_hub_enter(hub, s);
  hf_status status = hf_shard_get(shard, key, hf_hash_tag(hash), row);
  hf_lock_release(&shard->lock);
  return status;
}

uint32_t hf_hub_list(hf_hub *hub, uint64_t *cursor, hf_row *rows, uint32_t max) {
  uint32_t s = (uint32_t)(*cursor >> 32), from = (uint32_t)*cursor, n = 0;
  while (s < hub->n_shards && n < max) {
    hf_shard *shard = hf_hub_enter(hub, s);
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
    hf_shard *shard = hf_hub_enter(hub, s);
    n += shard->n_watched;
    hf_lock_release(&shard->lock);
  }
  return n;
}

void hf_hub_stats(hf_hub *hub, uint32_t s, hf_shard_stats *stats) {
  hf_shard *shard = hf_hub_enter(hub, s);
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

static int64_t next_deadline(hf_hub *const *hubs, uint32_t n_hubs) {
  int64_t next_ns = HF_NEVER;
  for (uint32_t h = 0; h < n_hubs; h++)
    for (uint32_t s = 0; s < hubs[h]->n_shards && !HF_LOAD_RLX(&hubs[h]->closed); s++) {
      hf_shard *shard = hf_hub_enter(hubs[h], s);
      next_ns = hf_min_i64(next_ns, hf_heap_min(&shard->heap));
      hf_lock_release(&shard->lock);
    }
  return next_ns;
}

static void step_to(hf_hub *hub, int64_t now_ns, int64_t horizon_ns) {
  uint32_t n_verdicts = 0;
  for (uint32_t s = 0; s < hub->n_shards; s++) {
    hf_shard *shard = hf_hub_enter(hub, s);
    while (hf_heap_min(&shard->heap) <= now_ns) n_verdicts += hf_shard_step(shard, now_ns, 0, horizon_ns);
    hf_shard_check_now(shard);
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

int64_t hf_hub_canary_beat(hf_hub *hub) {
  if (hub->n_shards == 0 || hf_hub_has_ended(hub)) return -1;
  hf_guard *guard = &hub->guard;
  hf_bell_silence(guard->canary_bell);
  int64_t now_ns = hf_clock_now(hub->clock), planned_ns = HF_LOAD_SC(&guard->canary_planned_ns);
  int64_t shortest_ns = HF_LOAD_RLX(&guard->shortest_ns);
  hf_stall stall = {.start_ns = HF_LOAD_RLX(&guard->canary_ns), .end_ns = now_ns};
  if (now_ns > planned_ns && now_ns - planned_ns > hf_guard_tolerance(shortest_ns))
    for (uint32_t s = 0; s < hub->n_shards; s++) hf_worker_starved(&hub->workers[s], stall, planned_ns);
  HF_STORE_SC(&guard->canary_planned_ns, now_ns + hf_guard_tick(shortest_ns));
  HF_STORE_SC(&guard->canary_ns, now_ns);
  for (uint32_t s = 0; s < hub->n_shards; s++) hf_worker_hear_canary(&hub->workers[s]);
  return hf_guard_tick(shortest_ns);
}

const char *hf_hub_check(hf_hub *hub) {
  const char *wrong = NULL;
  for (uint32_t s = 0; s < hub->n_shards && !wrong; s++) {
    hf_shard *shard = hf_hub_enter(hub, s);
    wrong = hf_shard_check(shard);
    hf_lock_release(&shard->lock);
  }
  return wrong;
}
