// SPDX-License-Identifier: MIT
// The parts of a key's life that both ways to begin it share: a beat (hf_touch.c), and a snapshot (hf_restore.c). These
// two files alone include this one. Threads: under the shard's lock.
#ifndef HF_LIFE_H
#define HF_LIFE_H

#include "hf_shard.h"

static inline hf_state hf_life_live_state(const hf_shard *shard) {
  return hf_streams_want(shard->streams, HF_HEART_BEAT) ? HF_LOUD : HF_ALIVE;
}

static inline void hf_life_set_timeout(hf_shard *shard, uint32_t i, int64_t timeout_ns) {
  *hf_slots_timeout(&shard->slots, i) = timeout_ns;
  shard->shortest_ns = hf_min_i64(shard->shortest_ns, timeout_ns);
}

static inline void hf_life_watch(hf_shard *shard, uint32_t i) {
  hf_slots_block(&shard->slots, hf_slot_block(i))->watched |= hf_slot_bit(i);
  shard->n_watched++;
}

static inline void hf_life_file_deadline(hf_shard *shard, uint32_t i) {
  int64_t deadline_ns = hf_slots_deadline(&shard->slots, i);
  hf_block *block = hf_slots_block(&shard->slots, hf_slot_block(i));
  if (deadline_ns < block->next_ns) hf_heap_file(&shard->heap, &shard->slots, hf_slot_block(i), deadline_ns);
}

// Reserves a slot, so that hf_slots_take and filing its block cannot fail.
static inline hf_status hf_life_reserve_slot(hf_shard *shard) {
  if (hf_slots_has_free(&shard->slots)) return HF_OK;
  uint32_t n_slots = HF_LOAD_RLX(&shard->slots.n_slots);
  hf_status status = hf_heap_reserve(&shard->heap, hf_slot_block(n_slots + hf_slots_growth(&shard->slots)));
  return status == HF_OK ? hf_slots_grow(&shard->slots) : status;
}

static inline void hf_life_emit(hf_shard *shard, hf_event_type type, uint32_t i, int64_t now_ns, hf_trash *trash) {
  if (!hf_streams_want(shard->streams, type)) return;
  hf_slots *slots = &shard->slots;
  const hf_cold *cold = hf_slots_cold(slots, i);
  const hf_tie *tie = hf_slots_tie(slots, i);
  hf_event event = {
      .type = type,
      .disposable = (tie->flags & HF_FLAG_DISPOSABLE) != 0,
      .missed = hf_slots_state(slots, i) == HF_LOST ? tie->missed : 0,
      .key = hf_shard_retained(shard, hf_slots_key(slots, i)),
      .extra = hf_shard_retained(shard, cold->extra),
      .timeout_ns = *hf_slots_timeout(slots, i),
      .join_ns = cold->join_ns,
      .beat_ns = HF_LOAD_RLX(hf_slots_beat(slots, i)),
      .deadline_ns = hf_slots_deadline(slots, i),
      .event_ns = now_ns,
  };
  hf_streams_emit(shard->streams, event, trash);
}

static inline void hf_life_apply_terms(hf_shard *shard, uint32_t i, const hf_terms *terms, hf_trash *trash) {
  hf_cold *cold = hf_slots_cold(&shard->slots, i);
  if (terms->timeout_ns) hf_life_set_timeout(shard, i, terms->timeout_ns);
  if (terms->disposable >= 0)
    hf_tie_set_flag(hf_slots_tie(&shard->slots, i), HF_FLAG_DISPOSABLE, terms->disposable != 0);
  if (terms->has_extra) {
    hf_trash_add(trash, cold->extra);
    cold->extra = hf_shard_retained(shard, terms->extra);
  }
}

// Allocates a slot for a key that is not in the map, applying `terms` and defaults. The caller then begins its life and
// inserts it into the map (hf_map_insert), which cannot fail.
static inline hf_status hf_life_new_slot(hf_shard *shard, void *key, uint32_t tag, const hf_terms *terms,
                                         uint32_t *slot, hf_trash *trash) {
  int64_t timeout_ns = terms->timeout_ns ? terms->timeout_ns : shard->config->default_timeout_ns;
  if (timeout_ns == 0) return HF_NO_TIMEOUT;
  hf_status status = hf_map_reserve(&shard->map, &shard->slots);
  if (status == HF_OK) status = hf_life_reserve_slot(shard);
  if (status != HF_OK) return status;
  uint32_t i = *slot = hf_slots_take(&shard->slots);
  hf_tie *tie = hf_slots_tie(&shard->slots, i);
  tie->next = tie->prev = HF_NO_SLOT;
  hf_tie_set_flag(tie, HF_FLAG_DISPOSABLE, shard->config->disposable);
  hf_life_set_timeout(shard, i, timeout_ns);
  hf_slots_hot(&shard->slots, i)->tag = tag;
  HF_STORE_REL(&hf_slots_hot(&shard->slots, i)->key, (uintptr_t)hf_shard_retained(shard, key));
  hf_life_apply_terms(shard, i, terms, trash);
  return HF_OK;
}

#endif
