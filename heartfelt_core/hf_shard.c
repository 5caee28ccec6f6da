// SPDX-License-Identifier: MIT
// How a shard begins and ends, and how its verdicts leave it. How its keys join, beat and leave: hf_touch.c; how one is
// found dead: hf_step.c.
#include "hf_shard.h"

hf_status hf_shard_init(hf_shard *shard, uint32_t index, const hf_shard_config *config, hf_streams *streams,
                        const hf_clock *clock) {
  memset(shard, 0, sizeof *shard);
  shard->index = index;
  shard->config = config;
  shard->streams = streams;
  shard->clock = clock;
  shard->shortest_ns = HF_NEVER;
  hf_status status = hf_lock_init(&shard->lock);
  if (status != HF_OK) return status;
  if (hf_slots_init(&shard->slots) == HF_OK && hf_heap_reserve(&shard->heap, HF_SLAB_BLOCKS) == HF_OK &&
      hf_map_init(&shard->map) == HF_OK)
    return HF_OK;
  hf_heap_deinit(&shard->heap);
  hf_slots_deinit(&shard->slots);
  hf_lock_deinit(&shard->lock);
  return HF_NO_MEMORY;
}

void hf_shard_deinit(hf_shard *shard) {
  for (uint32_t i = 1; i < shard->slots.n_touched; i++) {
    hf_cold *cold = hf_slots_cold(&shard->slots, i);
    void *key = hf_slots_key(&shard->slots, i), *extra = cold->extra;
    if (key) shard->config->ops.release(key);
    if (extra) shard->config->ops.release(extra);
  }
  hf_map_deinit(&shard->map);
  hf_heap_deinit(&shard->heap);
  hf_slots_deinit(&shard->slots);
  hf_lock_deinit(&shard->lock);
}

void hf_shard_empty_trash(hf_shard *shard, hf_trash *trash) {
  for (int n = 0; n < 4 && shard->trash_head != HF_NO_SLOT; n++) {
    uint32_t i = shard->trash_head;
    hf_cold *cold = hf_slots_cold(&shard->slots, i);
    shard->trash_head = hf_slots_tie(&shard->slots, i)->next;
    hf_trash_add(trash, hf_slots_key(&shard->slots, i));
    hf_trash_add(trash, cold->extra);
    hf_slots_give_back(&shard->slots, i);
  }
  if (hf_streams_want(shard->streams, HF_TIME_OUT)) return;
  for (int n = 0; n < 4 && hf_timeout_list_head(&shard->slots) != HF_NO_SLOT; n++) {  // verdicts that nobody wants
    hf_event event;
    hf_shard_take(shard, &event);
    hf_trash_add(trash, event.key);
    hf_trash_add(trash, event.extra);
  }
}

int64_t hf_shard_peek(const hf_shard *shard, int64_t *deadline_ns) {
  uint32_t i = hf_timeout_list_head(&shard->slots);
  if (i == HF_NO_SLOT) return HF_NEVER;
  *deadline_ns = hf_slots_verdict_deadline(&shard->slots, i);
  return hf_slots_cold(&shard->slots, i)->event_ns;
}

void hf_shard_take(hf_shard *shard, hf_event *event) {
  hf_slots *slots = &shard->slots;
  uint32_t i = hf_timeout_list_head(slots);
  hf_cold *cold = hf_slots_cold(slots, i);
  hf_tie *tie = hf_slots_tie(slots, i);
  hf_state state = hf_slots_state(slots, i);
  *event = (hf_event){
      .type = HF_TIME_OUT,
      .disposable = (tie->flags & HF_FLAG_DISPOSABLE) != 0,
      .missed = hf_slots_verdict_missed(slots, i),
      .key = hf_slots_key(slots, i),
      .extra = cold->extra,
      .timeout_ns = *hf_slots_timeout(slots, i),
      .join_ns = cold->join_ns,
      .beat_ns = cold->verdict_beat_ns,
      .deadline_ns = hf_slots_verdict_deadline(slots, i),
      .event_ns = cold->event_ns,
  };
  hf_timeout_list_unlink(slots, i);
  hf_tie_set_flag(tie, HF_FLAG_PENDING, false);
  HF_STORE_RLX(&shard->n_pending, HF_LOAD_RLX(&shard->n_pending) - 1);
  if (state == HF_NOTE) {
    hf_tie_set_note(hf_slots_tie(slots, hf_tie_owner(tie)), HF_NO_SLOT);
    hf_slots_give_back(slots, i);
    return;
  }
  hf_tie_set_earlier(tie, 0);
  if (state == HF_LOST) {
    hf_shard_retained(shard, event->key);
    hf_shard_retained(shard, event->extra);
  } else if (tie->flags & HF_FLAG_PINNED) {
    hf_shard_retained(shard, event->key);
    cold->extra = NULL;
  } else {
    shard->n_dead--;
    hf_shard_free_key(shard, i);
  }
}

void hf_shard_stalled(hf_shard *shard, hf_stall stall) { hf_stalls_add(&shard->slots.stalls, stall); }

void hf_shard_set_loud(hf_shard *shard, bool loud) {
  hf_state from = loud ? HF_ALIVE : HF_LOUD, to = loud ? HF_LOUD : HF_ALIVE;
  for (uint32_t i = 1; i < shard->slots.n_touched; i++) {
    if (hf_slots_state(&shard->slots, i) != from) continue;
    if (!loud && *hf_slots_floor(&shard->slots, i) != 0) continue;  // until its next beat: see hf_restore.c
    hf_slots_set_state(&shard->slots, i, to);
  }
}
