// SPDX-License-Identifier: MIT
// Restores a key that another hub watched: it joins with a deadline, a last beat and missed timeouts of its own.
//
// The deadline is the slot's floor; the last beat lies a timeout or more before it. A floor up to one timeout from now
// does not affect beats: each has a later deadline. With a later floor the key is LOUD, even if nobody subscribed to
// its beats: so its first beat takes the cold way, which clears the floor, and from then on its own timeout counts.
#include "hf_life.h"

static void resume(hf_shard *shard, uint32_t i, const hf_past *past, int64_t now_ns) {
  hf_slots *slots = &shard->slots;
  int64_t timeout_ns = *hf_slots_timeout(slots, i);
  bool later = past->remaining_ns > timeout_ns, was_lost = hf_slots_state(slots, i) == HF_LOST;
  hf_slots_cold(slots, i)->join_ns = now_ns - past->watched_ns;
  hf_slots_tie(slots, i)->missed = past->missed;
  HF_STORE_SC(hf_slots_beat(slots, i), now_ns - hf_max_i64(past->silent_ns, timeout_ns - past->remaining_ns));
  *hf_slots_floor(slots, i) = now_ns + past->remaining_ns;
  hf_slots_set_state(slots, i, past->lost ? HF_LOST : later ? HF_LOUD : hf_life_live_state(shard));
  if (past->lost != was_lost) shard->n_lost += past->lost ? 1u : UINT32_MAX;
}

hf_status hf_shard_restore(hf_shard *shard, void *key, uint32_t tag, const hf_past *past, hf_trash *trash) {
  hf_shard_empty_trash(shard, trash);
  hf_slots *slots = &shard->slots;
  uint32_t i = hf_map_find(&shard->map, slots, key, tag, shard->config->ops.equal);
  if (i != HF_NO_SLOT) {  // a listing has a key twice if it left and joined again meanwhile
    if (hf_slots_state(slots, i) == HF_DEAD || hf_slots_tie(slots, i)->flags & HF_FLAG_PENDING) return HF_OK;
    hf_life_apply_terms(shard, i, &past->terms, trash);
    resume(shard, i, past, hf_clock_now(shard->clock));
    hf_life_file_deadline(shard, i);
    return HF_OK;
  }
  hf_status status = hf_life_new_slot(shard, key, tag, &past->terms, &i, trash);
  if (status != HF_OK) return status;
  int64_t now_ns = hf_clock_now(shard->clock);
  resume(shard, i, past, now_ns);
  hf_life_watch(shard, i);
  hf_life_file_deadline(shard, i);
  shard->counters.n_joins++;
  hf_life_emit(shard, HF_JOIN, i, now_ns, trash);
  hf_map_insert(&shard->map, slots, i);
  return HF_OK;
}
