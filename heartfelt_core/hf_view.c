// SPDX-License-Identifier: MIT
// Views of a shard: one key, all keys, and a check of its invariants.
#include "hf_shard.h"

static void fill_row(hf_shard *shard, uint32_t i, hf_row *row) {
  const hf_cold *cold = hf_slots_cold(&shard->slots, i);
  *row = (hf_row){
      .key = hf_shard_retained(shard, hf_slots_key(&shard->slots, i)),
      .extra = hf_shard_retained(shard, cold->extra),
      .join_ns = cold->join_ns,
      .beat_ns = HF_LOAD_RLX(hf_slots_beat(&shard->slots, i)),
      .deadline_ns = hf_slots_deadline(&shard->slots, i),
      .timeout_ns = *hf_slots_timeout(&shard->slots, i),
      .id = hf_shard_slot_id(shard, i),
      .missed = hf_slots_tie(&shard->slots, i)->missed,
      .disposable = (hf_slots_tie(&shard->slots, i)->flags & HF_FLAG_DISPOSABLE) != 0,
      .lost = hf_slots_state(&shard->slots, i) == HF_LOST,
  };
}

hf_status hf_shard_get(hf_shard *shard, const void *key, uint32_t tag, hf_row *row) {
  uint32_t i = hf_map_find(&shard->map, &shard->slots, key, tag, shard->config->ops.equal);
  if (i == HF_NO_SLOT || hf_slots_state(&shard->slots, i) == HF_DEAD) return HF_NOT_WATCHED;
  if (row) fill_row(shard, i, row);
  return HF_OK;
}

uint32_t hf_shard_list(hf_shard *shard, uint32_t *cursor, hf_row *rows, uint32_t max) {
  uint32_t n = 0, i = *cursor;
  for (; i < shard->slots.n_touched && n < max; i++)
    if (hf_slots_block(&shard->slots, hf_slot_block(i))->watched & hf_slot_bit(i)) fill_row(shard, i, &rows[n++]);
  *cursor = i < shard->slots.n_touched ? i : 0;
  return n;
}

// Checks that each entry of the map is found under its own key, and that its slot is a key's.
static const char *check_map(const hf_shard *shard, uint32_t *n_dead, uint32_t *n_mapped) {
  const hf_map_table *table = hf_map_get_table(&shard->map);
  for (uint32_t at = 0; at < table->capacity; at++) {
    uint32_t i = hf_map_slot_at(table, at);
    if (i == HF_NO_SLOT) continue;
    const void *key = hf_slots_key(&shard->slots, i);
    uint32_t tag = key ? hf_hash_tag(shard->config->ops.hash(key)) : 0;
    if (!key || hf_slots_hot(&shard->slots, i)->tag != tag) return "slot: a key and its tag disagree";
    if (hf_map_find(&shard->map, &shard->slots, key, tag, shard->config->ops.equal) != i)
      return "map: an entry is not found under its key";
    hf_state state = hf_slots_state(&shard->slots, i);
    if (state == HF_FREE || state == HF_NOTE) return "map: an entry whose slot is no key's";
    if (state == HF_DOOMED) return "word: DOOMED outside a step";
    if (state == HF_DEAD) (*n_dead)++;
    (*n_mapped)++;
  }
  return *n_mapped == shard->map.n_keys ? NULL : "map: n_keys";
}

static const char *check_slot(const hf_shard *shard, uint32_t i) {
  const hf_slots *slots = &shard->slots;
  const hf_cold *cold = hf_slots_cold(slots, i);
  const hf_tie *tie = hf_slots_tie(slots, i);
  const hf_block *block = hf_slots_block(slots, hf_slot_block(i));
  hf_state state = hf_slots_state(slots, i);
  bool watched = state == HF_ALIVE || state == HF_LOUD || state == HF_LOST;
  if (((block->watched & hf_slot_bit(i)) != 0) != watched) return "slot: watched bit";
  if (watched && block->next_ns > hf_slots_deadline(slots, i)) return "heap: a block is filed too late";
  if (state != HF_FREE && !hf_slots_key(slots, i)) return "slot: a living slot has no key";
  if (state == HF_FREE && (hf_slots_key(slots, i) || cold->extra || !hf_tie_is_clear(tie)))
    return "slot: a free slot keeps something";
  bool pending = (tie->flags & HF_FLAG_PENDING) != 0;
  if (state == HF_NOTE) {
    uint32_t owner = hf_tie_owner(tie);
    if (pending != (owner != HF_NO_SLOT)) return "NOTE: it has an owner if and only if it is pending";
    if (owner != HF_NO_SLOT && hf_slots_note(slots, owner) != i) return "NOTE: its owner has another";
    if (owner != HF_NO_SLOT && hf_slots_state(slots, owner) == HF_NOTE) return "NOTE: its owner is a NOTE";
  } else if (hf_slots_note(slots, i) != HF_NO_SLOT) {
    uint32_t note = hf_slots_note(slots, i);
    if (hf_slots_state(slots, note) != HF_NOTE) return "NOTE: a slot names one that is not a NOTE";
    if (hf_tie_owner(hf_slots_tie(slots, note)) != i) return "NOTE: it has another owner";
  }
  if (state == HF_LOST && (tie->flags & HF_FLAG_DISPOSABLE)) return "slot: LOST but disposable";
  if (state == HF_DEAD && !(tie->flags & (HF_FLAG_PENDING | HF_FLAG_PINNED))) return "slot: DEAD for no reason";
  if ((state == HF_ALIVE || state == HF_LOUD) && (tie->flags & HF_FLAG_PENDING)) return "verdict: pending but alive";
  return NULL;
}

static const char *check_list(const hf_shard *shard, uint32_t *n_linked) {
  const hf_slots *slots = &shard->slots;
  uint32_t previous = HF_NO_SLOT;
  int64_t event_ns = INT64_MIN;
  for (uint32_t i = hf_timeout_list_head(slots); i != HF_NO_SLOT; i = hf_slots_tie(slots, i)->next) {
    const hf_cold *cold = hf_slots_cold(slots, i);
    const hf_tie *tie = hf_slots_tie(slots, i);
    if (tie->prev != previous) return "timeout list: links";
    if (!(tie->flags & HF_FLAG_PENDING)) return "timeout list: holds what is not pending";
    if (cold->event_ns < event_ns) return "timeout list: order";
    event_ns = cold->event_ns;
    previous = i;
    if (++*n_linked > HF_LOAD_RLX(&((hf_shard *)(uintptr_t)shard)->n_pending))
      return "timeout list: longer than n_pending";
  }
  return NULL;
}

static const char *check_heap(const hf_shard *shard) {
  const hf_heap *heap = &shard->heap;
  for (uint32_t pos = 0; pos < heap->n_entries; pos++) {
    const hf_block *block = hf_slots_block(&shard->slots, heap->entries[pos].block);
    if (block->heap_pos != pos || block->next_ns != heap->entries[pos].next_ns) return "heap: entry and block disagree";
    if (pos && hf_heap_before(heap->entries[pos], heap->entries[(pos - 1) / 4])) return "heap: order";
  }
  return NULL;
}

const char *hf_shard_check(const hf_shard *shard) {
  const hf_slots *slots = &shard->slots;
  uint32_t n_dead = 0, n_mapped = 0, n_linked = 0, n_pending = 0, n_watched = 0, n_lost = 0, n_free = 0;
  const char *wrong = check_map(shard, &n_dead, &n_mapped);
  for (uint32_t i = 1; !wrong && i < slots->n_touched; i++) {
    hf_state state = hf_slots_state(slots, i);
    wrong = check_slot(shard, i);
    n_watched += state == HF_ALIVE || state == HF_LOUD || state == HF_LOST;
    n_lost += state == HF_LOST;
    n_free += state == HF_FREE;
    n_pending += (hf_slots_tie(slots, i)->flags & HF_FLAG_PENDING) != 0;
  }
  if (!wrong) wrong = check_list(shard, &n_linked);
  if (!wrong) wrong = check_heap(shard);
  if (wrong) return wrong;
  if (n_linked != n_pending || n_pending != HF_LOAD_RLX(&((hf_shard *)(uintptr_t)shard)->n_pending))
    return "timeout list: not all that is pending";
  if (n_watched != shard->n_watched || n_lost != shard->n_lost || n_dead != shard->n_dead) return "count: states";
  if (n_watched + n_dead != n_mapped) return "count: map and slots";
  if (n_free != slots->n_free) return "count: free slots";
  return NULL;
}
