// SPDX-License-Identifier: MIT
// How a key's life goes on where another hub's ended: with a deadline, a last beat and missed timeouts of its own.
//
// The deadline stands in the slot's floor; the last beat lies a timeout or more before it. A floor up to one timeout
// from now is no hindrance to beats: any of them has a later deadline. With a later one the key is LOUD, whoever wants
// its beats: so the first takes the cold way, which clears the floor, and from then on the key's own timeout counts.
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
  if (i != HF_NO_SLOT) {  // a list of keys that was made while one left and came again tells of it twice
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
