// SPDX-License-Identifier: MIT
// Every hot beat: one beat by key, by hint, by handle or by id, and the beats of many keys in one call. A reader who
// wants to know what a beat costs, or why it needs no lock, reads this file and README.md, "The word that decides".
//
// A beat  Finds the record of its key (hf_hot: 32 bytes), stores the time in it, and then looks at the record's word.
//         ALIVE: done. DOOMED: the worker is about to take the verdict, and one exchange takes it back. Anything else
//         (first sight, LOUD, LOST, DEAD, a removed key, a closed hub) is for the cold functions: hf_hub_touch,
//         hf_hub_touch_id.
// Result  HF_OK: the key has beaten. HF_SLOW, HF_STALE_ID, HF_CLOSED: call the cold function, which decides what it is.
//         A batch is not a transaction: each key of it beats by itself.
// Order   A beat stores (b1), then loads the word (b2); the worker dooms (w1), then loads the time again (w2). Either
//         b2 sees DOOMED or w2 sees the time. What guarantees that:
//           GIL, heavy barrier   b1, b2 relaxed with a compiler barrier between; partner: hf_heavy_barrier in
//                                decide_all (hf_step.c), between w1 and w2
//           GIL, without it      b1, b2, w1, w2 seq_cst
//           free-threaded        b1 a seq_cst exchange to the later time; b2, w1, w2 seq_cst
//         DOOMED goes back to ALIVE by a seq_cst exchange; partner: the worker's, in decide (hf_step.c).
//         A look-up loads table, entry and key with acquire; partners: hf_map_publish, hf_map_place, and the release
//         stores of the key. n_slots: acquire; partner: hf_slots_grow.
// Cost    O(1) expected for each key. No lock, no allocation, no log, no counter; no system call but the clock's.
// Threads With a GIL: any thread that holds it, so two beats never overlap. Free-threaded: any thread, any time, except
//         that the caller must keep the hub, and the objects that it passes, alive. Never the worker.
#ifndef HF_BEAT_H
#define HF_BEAT_H

#include "hf_hub.h"

#define HF_BEAT_GROUP 32u  // as many keys of a batch go through each step together; at most the bits of a uint64_t

// -- The record

// Takes back a verdict that the worker has not taken yet: for a beat whose look did not find ALIVE. HF_SLOW for every
// other state.
static inline hf_status hf_hot_undoom(hf_hot *hot, uint32_t word) {
  uint32_t alive = hf_word_make(hf_word_generation(word), HF_ALIVE);
  // Partner: the exchange in decide (hf_step.c). One of the two wins.
  if (hf_word_state(word) == HF_DOOMED && HF_CAS_SC(&hot->word, &word, alive)) return HF_OK;
  return word == alive ? HF_OK : HF_SLOW;
}

#if !HF_PARALLEL
// The two operations of a beat: store, then look. Returns the word as it was after the beat became visible: the beat is
// done only if it says ALIVE. The time never goes back: a beat with an earlier time than the record's (another beat's,
// or one that was rounded up) stores nothing.
static inline uint32_t hf_hot_beat(hf_hot *hot, int64_t now_ns, bool light) {
  int64_t seen = HF_LOAD_RLX(&hot->beat_ns);
  if (HF_LIKELY(light)) {
    if (HF_LIKELY(seen < now_ns)) HF_STORE_RLX(&hot->beat_ns, now_ns);
    HF_COMPILER_BARRIER();  // partner: hf_heavy_barrier, between the worker's doom and its second look
    return HF_LOAD_RLX(&hot->word);
  }
  if (seen < now_ns) HF_STORE_SC(&hot->beat_ns, now_ns);
  return HF_LOAD_SC(&hot->word);  // partner: the worker's doom, then its second look
}

// Beats a record that is known to be the key's.
static inline hf_status hf_hot_beat_alive(hf_hot *hot, int64_t now_ns, bool light) {
  uint32_t word = hf_hot_beat(hot, now_ns, light);
  return HF_LIKELY(hf_word_state(word) == HF_ALIVE) ? HF_OK : hf_hot_undoom(hot, word);
}
#else
// Beats a record that other threads may remove, free and reuse meanwhile. `expected`: the word that it must have, or 0
// for any that says ALIVE; `key`: the key that it must have, or NULL for any.
//
// The beat time is read first, and exchanged: another key's life begins with another time, so the exchange fails if the
// slot was reused after it was checked. (By one clock that time is later. A time that was rounded up may, once in
// millions, equal the time at which the other key joins: then that key's time is this beat's, too late by as much as
// times are rounded up.)
static inline hf_status hf_hot_beat_checked(hf_hot *hot, uint32_t expected, const void *key, int64_t now_ns) {
  int64_t seen = HF_LOAD_ACQ(&hot->beat_ns);  // partner: join_new (hf_touch.c)
  uint32_t word = HF_LOAD_ACQ(&hot->word);
  if (expected ? word != expected : hf_word_state(word) != HF_ALIVE) return HF_SLOW;
  if (key && HF_LOAD_ACQ(&hot->key) != (uintptr_t)key) return HF_SLOW;
  if (seen < now_ns && !HF_CAS_SC(&hot->beat_ns, &seen, now_ns)) return HF_SLOW;
  uint32_t after = HF_LOAD_SC(&hot->word);  // partner: the worker's doom, then its second look
  if (HF_LIKELY(after == word)) return HF_OK;
  if (hf_word_generation(after) != hf_word_generation(word)) return HF_SLOW;
  return hf_hot_undoom(hot, after);
}
#endif

// Beats a record that must have the word `expected`.
static inline hf_status hf_hot_beat_expected(hf_hot *hot, uint32_t expected, int64_t now_ns, bool light) {
#if HF_PARALLEL
  (void)light;
  return hf_hot_beat_checked(hot, expected, NULL, now_ns);
#else
  if (HF_UNLIKELY(HF_LOAD_RLX(&hot->word) != expected)) return HF_SLOW;
  uint32_t word = hf_hot_beat(hot, now_ns, light);
  if (HF_LIKELY(word == expected)) return HF_OK;
  return hf_hot_undoom(hot, word);
#endif
}

// -- A shard

// Beats the key whose id this is.
static inline hf_status hf_shard_beat_id(hf_shard *shard, uint64_t id, int64_t now_ns, bool light) {
  uint32_t i = hf_id_slot(id);
  if (HF_UNLIKELY(i >= HF_LOAD_ACQ(&shard->slots.n_slots))) return HF_STALE_ID;  // partner: hf_slots_grow
  return hf_hot_beat_expected(hf_slots_hot(&shard->slots, i), hf_word_make(hf_id_generation(id), HF_ALIVE), now_ns,
                              light);
}

// Beats the key that equals `key`.
static inline hf_status hf_shard_beat(hf_shard *shard, const void *key, uint32_t tag, hf_map_equal equal,
                                      int64_t now_ns, bool light) {
#if HF_PARALLEL
  (void)light, (void)equal;
  uint32_t i = hf_map_find_identical(&shard->map, &shard->slots, key, tag);
  if (HF_UNLIKELY(i == HF_NO_SLOT)) return HF_SLOW;
  return hf_hot_beat_checked(hf_slots_hot(&shard->slots, i), 0, key, now_ns);
#else
  uint32_t i = hf_map_find(&shard->map, &shard->slots, key, tag, equal);
  return HF_LIKELY(i != HF_NO_SLOT) ? hf_hot_beat_alive(hf_slots_hot(&shard->slots, i), now_ns, light) : HF_SLOW;
#endif
}

// -- A hub: one key

static inline int64_t hf_hub_now(const hf_hub *hub) { return hf_clock_now(hub->clock); }

// The time for a beat: never earlier than now. Reads the coarse clock, rounded up, if every timeout of the hub is so
// long that the rounding stays within what is promised about a verdict's lateness.
static inline int64_t hf_hub_beat_time(const hf_hub *hub) {
  int64_t round_up_ns = HF_LOAD_RLX(&((hf_hub *)(uintptr_t)hub)->coarse_round_up_ns);
  return HF_LIKELY(round_up_ns != 0) ? hf_clock_coarse_ns() + round_up_ns : hf_clock_now(hub->clock);
}

static inline hf_shard *hf_hub_shard_of(const hf_hub *hub, uint64_t hash) {
  return HF_LIKELY(hub->n_shards == 1) ? hub->shards : &hub->shards[hf_hash_shard(hash, hub->n_shards)];
}

// Beats by key. `equal` is the hub's own, passed so that the compiler can inline it.
static inline hf_status hf_hub_beat(hf_hub *hub, const void *key, uint64_t hash, hf_map_equal equal, int64_t now_ns) {
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  hf_shard *shard = hf_hub_shard_of(hub, hash);
  return hf_shard_beat(shard, key, hf_hash_tag(hash), equal, now_ns, hub->config.light);
}

// Whether a beat may follow a hint (hf_map.h): with a GIL, and with one shard, since picking a shard takes the hash.
static inline bool hf_hub_has_hints(const hf_hub *hub) { return !HF_PARALLEL && HF_LIKELY(hub->n_shards == 1); }

#if !HF_PARALLEL
// The record that the hint for an object names; slot 0's, which has no key, if there is no hint. The caller compares
// its key with the object, then beats it by hf_hot_beat_alive. Only if hf_hub_has_hints.
static inline hf_hot *hf_hub_hinted(const hf_hub *hub, const void *object) {
  const hf_shard *shard = hub->shards;
  return hf_slots_hot(&shard->slots, hf_map_hint(hf_map_get_table(&shard->map), object));
}

// Notices that an object has beaten slot i which is not the object that stands for the key. The first time it gets a
// hint; some later time it replaces the other object, so that its beats find the slot by its hint. Not at once: two
// objects that beat in turn would replace each other each time.
#define HF_NOTICES_PER_CHANGE 4u
static inline void hf_hub_notice(hf_hub *hub, void *key, uint32_t i) {
  hf_shard *shard = hub->shards;
  hf_map_table *table = hf_map_get_table(&shard->map);
  void *stands = hf_slots_key(&shard->slots, i);
  bool change = ++shard->n_noticed % HF_NOTICES_PER_CHANGE == 0;
  if (hf_map_hint(table, key) != i) {
    hf_map_set_hint(table, key, i, change);
  } else if (change && stands != key) {
    hf_map_forget_hint(table, stands, i);
    hub->config.ops.retain(key);
    HF_STORE_REL(&hf_slots_hot(&shard->slots, i)->key, (uintptr_t)key);
    hub->config.ops.release(stands);
  }
}

// Beats by key, for an object whose hint did not lead to a slot that has it. `lasts`: the object may beat again.
static inline hf_status hf_hub_beat_past_hint(hf_hub *hub, void *key, uint64_t hash, hf_map_equal equal, bool lasts,
                                              int64_t now_ns) {
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  hf_shard *shard = hub->shards;
  uint32_t i = hf_map_find(&shard->map, &shard->slots, key, hf_hash_tag(hash), equal);
  if (HF_UNLIKELY(i == HF_NO_SLOT)) return HF_SLOW;
  hf_status status = hf_hot_beat_alive(hf_slots_hot(&shard->slots, i), now_ns, hub->config.light);
  if (lasts && HF_LIKELY(status == HF_OK)) hf_hub_notice(hub, key, i);
  return status;
}
#endif

// Beats by id.
static inline hf_status hf_hub_beat_id(hf_hub *hub, uint64_t id, int64_t now_ns) {
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  if (HF_UNLIKELY(hf_id_shard(id) >= hub->n_shards)) return HF_STALE_ID;
  return hf_shard_beat_id(&hub->shards[hf_id_shard(id)], id, now_ns, hub->config.light);
}

// A handle: the record that an id leads to, and the word that the record has while the id is good. In a parallel build
// the id alone, since a handle may be set while another thread beats by it.
typedef struct {
#if HF_PARALLEL
  hf_atomic_u64 id;
#else
  hf_hot *hot;
  uint32_t expected;
#endif
} hf_handle;

// `id` must have been given by this hub, which keeps the memory of its slots while it lives.
static inline void hf_handle_set(hf_handle *handle, const hf_hub *hub, uint64_t id) {
#if HF_PARALLEL
  (void)hub;
  HF_STORE_RLX(&handle->id, id);
#else
  handle->hot = hf_slots_hot(&hub->shards[hf_id_shard(id)].slots, hf_id_slot(id));
  handle->expected = hf_word_make(hf_id_generation(id), HF_ALIVE);
#endif
}

// Beats by handle.
static inline hf_status hf_hub_beat_handle(hf_hub *hub, hf_handle *handle, int64_t now_ns) {
#if HF_PARALLEL
  return hf_hub_beat_id(hub, HF_LOAD_RLX(&handle->id), now_ns);
#else
  if (HF_UNLIKELY(HF_LOAD_RLX(&hub->closed))) return HF_CLOSED;
  return hf_hot_beat_expected(handle->hot, handle->expected, now_ns, hub->config.light);
#endif
}

// -- A hub: many keys. Each step is taken for a whole group before the next step, so that the cache misses of its keys
// overlap. The functions that end in `_in` are the bodies, compiled once for each constant `light`.

#if !HF_PARALLEL
// Beats the objects of a group whose hints lead to slots that have them. Returns a bit for each of the others.
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

// Beats a group of keys by their hashes. Returns a bit for each key that is for the cold function.
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

// Beats ids up to the first that is for the cold function. Returns its index, n if there is none.
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

// Beats those of up to HF_BEAT_GROUP objects that have a hint and stand for a watched key. Returns a bit for each of
// the others. The objects need not be keys.
static inline uint64_t hf_hub_beat_hinted(hf_hub *hub, const void *const *objects, uint32_t n, int64_t now_ns) {
#if !HF_PARALLEL
  if (HF_LIKELY(hf_hub_has_hints(hub) && !HF_LOAD_RLX(&hub->closed)))
    return HF_LIKELY(hub->config.light) ? hf_hub_beat_hinted_in(hub, objects, n, now_ns, true)
                                        : hf_hub_beat_hinted_in(hub, objects, n, now_ns, false);
#endif
  (void)hub, (void)objects, (void)now_ns;
  return ~UINT64_C(0) >> (64 - n);
}

// Beats up to HF_BEAT_GROUP keys. Returns a bit for each that is for the cold function.
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

// Beats ids from `from` on, up to the first that is for the cold function. Returns its index, n if there is none.
static inline size_t hf_hub_beat_ids(hf_hub *hub, const int64_t *ids, size_t from, size_t n) {
  while (from < n) {
    int64_t now_ns = hf_hub_beat_time(hub);  // read again for each group
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
