// SPDX-License-Identifier: MIT
// Hot beats of many keys in one call: their cache misses lie side by side instead of one after the other.
// Threads and order as for the single hot beats (hf_hub.h); a batch is no transaction.
#ifndef HF_BATCH_H
#define HF_BATCH_H

#include "hf_hub.h"

#define HF_BEAT_GROUP 32u

#if !HF_PARALLEL
// Beats those of a group whose hints lead to themselves; returns a bit for each of the others.
static HF_ALWAYS_INLINE uint64_t hf_hub_beat_hinted_in(hf_hub *hub, const void *const *keys, uint32_t n, int64_t now_ns,
                                                       bool light) {
  const uint32_t *lines[HF_BEAT_GROUP];
  hf_hot *hots[HF_BEAT_GROUP];
  uint64_t others = 0;
  const hf_map_table *table = hf_map_get_table(&hub->shards->map);
  const hf_slots *slots = &hub->shards->slots;
  for (uint32_t k = 0; k < n; k++) {
    lines[k] = hf_map_hint_line(table, keys[k]);
    HF_PREFETCH(lines[k]);
  }
  for (uint32_t k = 0; k < n; k++) {
    hots[k] = hf_slots_hot(slots, hf_map_hint_in(table, lines[k], keys[k]));
    HF_PREFETCH(hots[k]);
  }
  for (uint32_t k = 0; k < n; k++)
    if (HF_UNLIKELY(HF_LOAD_RLX(&hots[k]->key) != (uintptr_t)keys[k] ||
                    hf_hot_beat_alive(hots[k], now_ns, light) != HF_OK))
      others |= UINT64_C(1) << k;
  return others;
}

static HF_ALWAYS_INLINE uint64_t hf_hub_beat_hashed_in(hf_hub *hub, void *const *keys, const uint64_t *hashes,
                                                       uint32_t n, hf_map_equal equal, int64_t now_ns, bool light) {
  const uint32_t *lines[HF_BEAT_GROUP];
  uint32_t slots[HF_BEAT_GROUP];
  uint64_t cold = 0;
  for (uint32_t k = 0; k < n; k++) {
    lines[k] = hf_map_line(hf_map_get_table(&hf_hub_shard_of(hub, hashes[k])->map), hf_hash_tag(hashes[k]));
    HF_PREFETCH(lines[k]);
  }
  for (uint32_t k = 0; k < n; k++) {
    hf_shard *shard = hf_hub_shard_of(hub, hashes[k]);
    const hf_map_table *table = hf_map_get_table(&shard->map);
    uint32_t hits = hf_map_line_hits(table, lines[k], hf_hash_tag(hashes[k]));
    slots[k] = HF_LIKELY(hits) ? lines[k][hf_lowest_bit(hits)] & hf_map_slot_mask(table) : HF_NO_SLOT;
    HF_PREFETCH(hf_slots_hot(&shard->slots, slots[k]));
  }
  for (uint32_t k = 0; k < n; k++) {
    hf_shard *shard = hf_hub_shard_of(hub, hashes[k]);
    uint32_t tag = hf_hash_tag(hashes[k]), i = slots[k];
    if (HF_UNLIKELY(!hf_map_is(hf_slots_hot(&shard->slots, i), keys[k], tag, equal)))
      i = hf_map_find(&shard->map, &shard->slots, keys[k], tag, equal);
    if (HF_UNLIKELY(i == HF_NO_SLOT || hf_hot_beat_alive(hf_slots_hot(&shard->slots, i), now_ns, light) != HF_OK))
      cold |= UINT64_C(1) << k;
    else if (hf_hub_has_hints(hub))
      hf_hub_notice(hub, keys[k], i);
  }
  return cold;
}

static HF_ALWAYS_INLINE size_t hf_hub_beat_ids_in(hf_hub *hub, const int64_t *ids, size_t n, int64_t now_ns, bool light,
                                                  bool one_shard) {
  hf_hot *hots[HF_BEAT_GROUP];
  hf_slots *slots = &hub->shards->slots;
  uint64_t n_slots = HF_LOAD_RLX(&slots->n_slots), n_shards = hub->n_shards;
  size_t n_known = 0;
  for (; n_known < n; n_known++) {
    uint64_t id = (uint64_t)ids[n_known];
    if (!one_shard) {
      if (HF_UNLIKELY(hf_id_shard(id) >= n_shards)) break;
      slots = &hub->shards[hf_id_shard(id)].slots;
      n_slots = HF_LOAD_RLX(&slots->n_slots);
    }
    uint64_t place = one_shard ? id & ~((uint64_t)HF_GENERATION_MASK << 32) : hf_id_slot(id);
    if (HF_UNLIKELY(place >= n_slots)) break;
    hots[n_known] = hf_slots_hot(slots, (uint32_t)place);
    HF_PREFETCH(hots[n_known]);
  }
  for (size_t k = 0; k < n_known; k++) {
    uint32_t expected = hf_word_make(hf_id_generation((uint64_t)ids[k]), HF_ALIVE);
    if (HF_UNLIKELY(hf_hot_beat_expected(hots[k], expected, now_ns, light) != HF_OK)) return k;
  }
  return n_known;
}
#endif

// Beats the objects of a group that are watched keys themselves, and have a hint. Returns a bit for each that is not
// done. Whether an object is a key at all need not be known.
static inline uint64_t hf_hub_beat_hinted(hf_hub *hub, const void *const *objects, uint32_t n, int64_t now_ns) {
#if !HF_PARALLEL
  if (HF_LIKELY(hf_hub_has_hints(hub) && !HF_LOAD_RLX(&hub->closed)))
    return HF_LIKELY(hub->config.light) ? hf_hub_beat_hinted_in(hub, objects, n, now_ns, true)
                                        : hf_hub_beat_hinted_in(hub, objects, n, now_ns, false);
#endif
  (void)hub, (void)objects, (void)now_ns;
  return ~UINT64_C(0) >> (64 - n);
}

// Beats a group of keys. Returns a bit for each that is for the cold function.
static inline uint64_t hf_hub_beat_hashed(hf_hub *hub, void *const *keys, const uint64_t *hashes, uint32_t n,
                                          hf_map_equal equal, int64_t now_ns) {
#if !HF_PARALLEL
  if (HF_LIKELY(!HF_LOAD_RLX(&hub->closed)))
    return HF_LIKELY(hub->config.light) ? hf_hub_beat_hashed_in(hub, keys, hashes, n, equal, now_ns, true)
                                        : hf_hub_beat_hashed_in(hub, keys, hashes, n, equal, now_ns, false);
#endif
  uint64_t cold = 0;
  for (uint32_t k = 0; k < n; k++)
    cold |= (uint64_t)(hf_hub_beat(hub, keys[k], hashes[k], equal, now_ns) != HF_OK) << k;
  return cold;
}

// Beats ids from `from` on, and stops at the first that is for the cold function. Returns its index, n at the end.
static inline size_t hf_hub_beat_ids(hf_hub *hub, const int64_t *ids, size_t from, size_t n) {
  while (from < n) {
    int64_t now_ns = hf_hub_beat_time(hub);  // looked at again with each group
#if HF_PARALLEL
    for (size_t end = n - from > HF_BEAT_GROUP ? from + HF_BEAT_GROUP : n; from < end; from++)
      if (HF_UNLIKELY(hf_hub_beat_id(hub, (uint64_t)ids[from], now_ns) != HF_OK)) return from;
#else
    if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return from;
    size_t group = n - from > HF_BEAT_GROUP ? HF_BEAT_GROUP : n - from;
    size_t done = HF_LIKELY(hub->config.light && hub->n_shards == 1)
                      ? hf_hub_beat_ids_in(hub, ids + from, group, now_ns, true, true)
                      : hf_hub_beat_ids_in(hub, ids + from, group, now_ns, hub->config.light, false);
    from += done;
    if (HF_UNLIKELY(done < group)) return from;
#endif
  }
  return n;
}

#endif
