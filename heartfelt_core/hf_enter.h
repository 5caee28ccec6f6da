// SPDX-License-Identifier: MIT
// Entering and leaving a shard: takes the lock; checks, wakes the worker and releases the lock; then releases objects.
// Only for hf_hub.c and hf_drain.c.
#ifndef HF_ENTER_H
#define HF_ENTER_H

#include "hf_hub.h"

#if defined(HF_DEBUG_CHECKS)
#include <stdio.h>
#include <stdlib.h>
static inline void hf_shard_check_now(const hf_shard *shard) {
  const char *wrong = hf_shard_check(shard);
  if (!wrong) return;
  fprintf(stderr, "heartfelt: invariant broken: %s\n", wrong);
  abort();  // debug builds only
}
#else
static inline void hf_shard_check_now(const hf_shard *shard) { (void)shard; }
#endif

static inline void hf_hub_release_trash(const hf_hub *hub, hf_trash *trash) {
  for (uint32_t n = 0; n < trash->n; n++) hub->config.ops.release(trash->objects[n]);
}

static inline hf_shard *hf_hub_enter(hf_hub *hub, uint32_t s) {
  hf_lock_acquire(&hub->shards[s].lock);
  return &hub->shards[s];
}

static inline void hf_hub_leave(hf_hub *hub, uint32_t s, hf_trash *trash) {
  hf_shard_check_now(&hub->shards[s]);
  hf_worker_notice(&hub->workers[s]);
  hf_lock_release(&hub->shards[s].lock);
  hf_hub_release_trash(hub, trash);
}

#endif
