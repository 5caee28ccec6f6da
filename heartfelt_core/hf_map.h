// SPDX-License-Identifier: MIT
// One shard's map from key to slot: an index of 4 bytes an entry over the slots, which hold the keys. Open addressing,
// linear probing, deletion by shifting back (so no tombstones, and no rehash except to grow). The table is published
// through one pointer, and beats read it without a lock.
//
// An entry is a slot's number and, in the bits above the number, a mark: bits of the key's tag other than those that
// pick its home. A look-up compares the marks of the whole cache line of its home at once, and nearly always matches
// one entry, so that it visits one slot, and the right one. (Python's own dictionary is also an index over dense
// records; comparing a line at once is the way of Abseil's "Swiss tables".)
//
// Behind the entries lies a table of hints: entries of the same form, filed under the address of a key object, in the
// line that the address picks and nowhere else. By a hint a beat finds the slot of an object without reading the object
// itself, whose hash may be as far away as the slot. A hint is a guess: the caller checks that the slot has that very
// object.
//
// Invariants
//   At most 3/4 full; sizes are 2^k and 3*2^(k-1), so at least half full once it has grown.
//   An entry lies at its home or in the unbroken run of entries behind it.
//   0 is an empty entry: slot 0 never has a key.
//   The number of every slot that exists, and of those that the next growth adds, fits below the mark.
// Cost: look-up, insert and erase expected O(1); growing O(slots), amortized O(1).
// Threads: one writer at a time, under the shard's lock. Readers without the lock: with a GIL, only threads that hold
// it; all writers hold it, too, so readers see whole entries. In a parallel build a reader without the lock trusts only
// an entry whose slot has the very object that it asks for, and then validates the slot (hf_beat.h); it decides
// everything else under the lock. Old tables stay there until the map ends.
// Does not own keys and never reads one: the caller's function compares different objects.
#ifndef HF_MAP_H
#define HF_MAP_H

#include "hf_slot.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define HF_MAP_LINE 16u      // entries in a cache line; every capacity is a multiple of it
#ifndef HF_MAP_MIN_CAPACITY  // the tables of a model checker are smaller than a line
#define HF_MAP_MIN_CAPACITY 64u
#endif
#define HF_MAP_MIN_SLOT_BITS 14u
#define HF_MAP_MAX_SLOT_BITS 28u  // HF_SLABS_MAX slabs

typedef struct hf_map_table hf_map_table;
struct hf_map_table {
  uint32_t capacity;
  uint32_t slot_bits;     // of an entry, the lower ones: a slot's number
  hf_map_table *retired;  // parallel builds: the table before this one
  hf_pages pages;         // its own
  uint32_t *hints;        // none in a parallel build
  uint32_t n_hints;
  _Alignas(HF_CACHE_LINE) hf_atomic_u32 entries[];
};

typedef struct {
  hf_atomic_ptr table;
  uint32_t n_keys;  // under lock
} hf_map;

typedef bool (*hf_map_equal)(const void *stored, const void *asked);

static inline uint32_t hf_map_home(const hf_map_table *table, uint32_t tag) {
  return (uint32_t)(((uint64_t)tag * table->capacity) >> 32);
}
static inline uint32_t hf_map_next(const hf_map_table *table, uint32_t at) {
  return at + 1 == table->capacity ? 0 : at + 1;
}
static inline uint32_t hf_map_slot_mask(const hf_map_table *table) { return (1u << table->slot_bits) - 1; }
static inline uint32_t hf_map_mark(const hf_map_table *table, uint32_t tag) { return tag << table->slot_bits; }
static inline uint32_t hf_map_load(const hf_map_table *table, uint32_t at) {
  return HF_LOAD_ACQ(&((hf_map_table *)(uintptr_t)table)->entries[at]);  // partner: hf_map_place
}
// HF_NO_SLOT: the entry is empty.
static inline uint32_t hf_map_slot_at(const hf_map_table *table, uint32_t at) {
  return hf_map_load(table, at) & hf_map_slot_mask(table);
}
static inline hf_map_table *hf_map_get_table(const hf_map *map) {
  return (hf_map_table *)HF_LOAD_ACQ(&((hf_map *)(uintptr_t)map)->table);  // partner: hf_map_publish
}
static inline void hf_map_publish(hf_map *map, hf_map_table *table) { HF_STORE_REL(&map->table, (uintptr_t)table); }

// The number of hints for a capacity. Where memory does not matter, the keys' own hints take at most half of the
// places, so few lines are full; in a large table at most three quarters.
static inline uint32_t hf_map_hints(uint32_t capacity) { return capacity < 1u << 17 ? capacity / 2 * 3 : capacity; }

static inline hf_map_table *hf_map_new_table(uint32_t capacity, uint32_t n_slots) {
  uint32_t n_hints = HF_PARALLEL ? 0 : hf_map_hints(capacity);
  hf_pages pages = hf_pages_get(sizeof(hf_map_table) + ((size_t)capacity + n_hints) * sizeof(hf_atomic_u32));
  if (!pages.start) return NULL;
  hf_map_table *table = pages.start;
  table->capacity = capacity;
  table->pages = pages;
  table->hints = (uint32_t *)&table->entries[n_hints ? capacity : 0];
  table->n_hints = n_hints;
  table->slot_bits = HF_MAP_MIN_SLOT_BITS;
  uint64_t room = 2 * (uint64_t)(capacity > n_slots ? capacity : n_slots);
  while (table->slot_bits < HF_MAP_MAX_SLOT_BITS && (uint64_t)1 << table->slot_bits < room) table->slot_bits++;
  return table;
}

static inline hf_status hf_map_init(hf_map *map) {
  hf_map_table *table = hf_map_new_table(HF_MAP_MIN_CAPACITY, 0);
  map->n_keys = 0;
  hf_map_publish(map, table);
  return table ? HF_OK : HF_NO_MEMORY;
}

static inline void hf_map_deinit(hf_map *map) {
  hf_map_table *table = hf_map_get_table(map);
  while (table) {
    hf_map_table *retired = table->retired;
    hf_pages_give_back(table->pages);
    table = retired;
  }
  hf_map_publish(map, NULL);
}

#if !HF_PARALLEL
static inline const uint32_t *hf_map_line(const hf_map_table *table, uint32_t tag) {
  return (const uint32_t *)&table->entries[hf_map_home(table, tag) & ~(HF_MAP_LINE - 1)];
}

// The tag of a hint, from the address. Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4).
static inline uint32_t hf_map_object_tag(const void *object) {
  return (uint32_t)(((uint64_t)(uintptr_t)object >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}
static inline uint32_t *hf_map_hint_line(const hf_map_table *table, const void *object) {
  uint32_t at = (uint32_t)(((uint64_t)hf_map_object_tag(object) * table->n_hints) >> 32);
  return &table->hints[at & ~(HF_MAP_LINE - 1)];
}

// A bit for each entry of a line that has the mark of the tag.
static inline uint32_t hf_map_line_hits(const hf_map_table *table, const uint32_t *line, uint32_t tag) {
#if defined(__SSE2__)
  const __m128i *quads = (const __m128i *)line;
  __m128i shift = _mm_cvtsi32_si128((int)table->slot_bits);
  __m128i mark = _mm_srl_epi32(_mm_sll_epi32(_mm_set1_epi32((int)tag), shift), shift);
  __m128i hits0 = _mm_cmpeq_epi32(_mm_srl_epi32(_mm_load_si128(quads), shift), mark);
  __m128i hits1 = _mm_cmpeq_epi32(_mm_srl_epi32(_mm_load_si128(quads + 1), shift), mark);
  __m128i hits2 = _mm_cmpeq_epi32(_mm_srl_epi32(_mm_load_si128(quads + 2), shift), mark);
  __m128i hits3 = _mm_cmpeq_epi32(_mm_srl_epi32(_mm_load_si128(quads + 3), shift), mark);
  __m128i packed = _mm_packs_epi16(_mm_packs_epi32(hits0, hits1), _mm_packs_epi32(hits2, hits3));
  return (uint32_t)_mm_movemask_epi8(packed);
#else
  uint32_t hits = 0, mark = hf_map_mark(table, tag), slot_mask = hf_map_slot_mask(table);
  for (uint32_t n = 0; n < HF_MAP_LINE; n++) hits |= (uint32_t)((line[n] & ~slot_mask) == mark) << n;
  return hits;
#endif
}

// The slot that the hint for this object names, right or not; HF_NO_SLOT if there is no hint.
static inline uint32_t hf_map_hint_in(const hf_map_table *table, const uint32_t *line, const void *object) {
  uint32_t hits = hf_map_line_hits(table, line, hf_map_object_tag(object));
  return HF_LIKELY(hits) ? line[hf_lowest_bit(hits)] & hf_map_slot_mask(table) : HF_NO_SLOT;
}
static inline uint32_t hf_map_hint(const hf_map_table *table, const void *object) {
  return hf_map_hint_in(table, hf_map_hint_line(table, object), object);
}

// Sets the hint for an object that is, or equals, the key of slot i, replacing an earlier hint for it. If the line is
// full, `insist` replaces the hint for another object.
static inline void hf_map_set_hint(hf_map_table *table, const void *object, uint32_t i, bool insist) {
  uint32_t *line = hf_map_hint_line(table, object), tag = hf_map_object_tag(object), mark = hf_map_mark(table, tag);
  uint32_t hits = hf_map_line_hits(table, line, tag), n = 0;
  if (hits)
    n = (uint32_t)hf_lowest_bit(hits);
  else
    while (n < HF_MAP_LINE && line[n]) n++;
  if (n == HF_MAP_LINE && insist) n = (tag ^ i) % HF_MAP_LINE;
  if (n < HF_MAP_LINE) line[n] = mark | i;
}

// Removes the hint from the object to slot i, if there is one.
static inline void hf_map_forget_hint(hf_map_table *table, const void *object, uint32_t i) {
  uint32_t *line = hf_map_hint_line(table, object), mark = hf_map_mark(table, hf_map_object_tag(object));
  for (uint32_t n = 0; n < HF_MAP_LINE; n++)
    if (line[n] == (mark | i)) line[n] = 0;
}
#else
static inline void hf_map_set_hint(hf_map_table *table, const void *object, uint32_t i, bool insist) {
  (void)table, (void)object, (void)i, (void)insist;
}
static inline void hf_map_forget_hint(hf_map_table *table, const void *object, uint32_t i) {
  (void)table, (void)object, (void)i;
}
#endif

static inline bool hf_map_is(const hf_hot *hot, const void *key, uint32_t tag, hf_map_equal equal) {
  uintptr_t stored = HF_LOAD_RLX(&((hf_hot *)(uintptr_t)hot)->key);
  return stored == (uintptr_t)key || (hot->tag == tag && stored && equal((const void *)stored, key));
}

// Searches from the key's home on, entry by entry.
static HF_NOINLINE uint32_t hf_map_find_by_probing(const hf_map *map, const hf_slots *slots, const void *key,
                                                   uint32_t tag, hf_map_equal equal) {
  const hf_map_table *table = hf_map_get_table(map);
  uint32_t mark = hf_map_mark(table, tag), slot_mask = hf_map_slot_mask(table);
  for (uint32_t at = hf_map_home(table, tag);; at = hf_map_next(table, at)) {
    uint32_t entry = hf_map_load(table, at), i = entry & slot_mask;
    if (i == HF_NO_SLOT) return HF_NO_SLOT;
    if ((entry & ~slot_mask) == mark && hf_map_is(hf_slots_hot(slots, i), key, tag, equal)) return i;
  }
}

// The slot of the key, HF_NO_SLOT if it is not in the map. For a writer (under lock), or a reader that holds the GIL.
static inline uint32_t hf_map_find(const hf_map *map, const hf_slots *slots, const void *key, uint32_t tag,
                                   hf_map_equal equal) {
#if !HF_PARALLEL
  const hf_map_table *table = hf_map_get_table(map);
  const uint32_t *line = hf_map_line(table, tag);
  for (uint32_t hits = hf_map_line_hits(table, line, tag); HF_LIKELY(hits); hits &= hits - 1) {
    uint32_t i = line[hf_lowest_bit(hits)] & hf_map_slot_mask(table);
    if (HF_LIKELY(hf_map_is(hf_slots_hot(slots, i), key, tag, equal))) return i;
  }
#endif
  return hf_map_find_by_probing(map, slots, key, tag, equal);
}

// The slot that this very object is filed under, HF_NO_SLOT if it is not found. For any thread of a parallel build,
// without a lock. A miss may be false while a writer moves entries: look again under the lock.
static inline uint32_t hf_map_find_identical(const hf_map *map, const hf_slots *slots, const void *key, uint32_t tag) {
  const hf_map_table *table = hf_map_get_table(map);
  uint32_t mark = hf_map_mark(table, tag), slot_mask = hf_map_slot_mask(table), at = hf_map_home(table, tag);
  for (uint32_t n = 0; n < table->capacity; n++, at = hf_map_next(table, at)) {
    uint32_t entry = hf_map_load(table, at), i = entry & slot_mask;
    if (i == HF_NO_SLOT) return HF_NO_SLOT;
    if ((entry & ~slot_mask) == mark && HF_LOAD_ACQ(&hf_slots_hot(slots, i)->key) == (uintptr_t)key) return i;
  }
  return HF_NO_SLOT;
}

static inline void hf_map_place(hf_map_table *table, uint32_t tag, uint32_t i) {
  uint32_t at = hf_map_home(table, tag);
  while (HF_LOAD_RLX(&table->entries[at]) != 0) at = hf_map_next(table, at);
  HF_STORE_REL(&table->entries[at], hf_map_mark(table, tag) | i);  // partner: hf_map_load
}

// Makes room for one more key, so that hf_map_insert cannot fail, whatever slot the key gets.
static inline hf_status hf_map_reserve(hf_map *map, const hf_slots *slots) {
  hf_map_table *old = hf_map_get_table(map);
  uint64_t n_slots = (uint64_t)HF_LOAD_RLX(&((hf_slots *)(uintptr_t)slots)->n_slots) + hf_slots_growth(slots);
  bool full = map->n_keys + 1 > old->capacity / 4 * 3;
  bool fits = old->slot_bits == HF_MAP_MAX_SLOT_BITS || n_slots <= (uint64_t)1 << old->slot_bits;
  if (HF_LIKELY(!full && fits)) return HF_OK;
  bool power_of_two = (old->capacity & (old->capacity - 1)) == 0;
  uint64_t capacity = !full          ? old->capacity
                      : power_of_two ? (uint64_t)old->capacity * 3 / 2
                                     : (uint64_t)old->capacity * 4 / 3;
  if (capacity > UINT32_MAX) return HF_FULL;
  hf_map_table *table = hf_map_new_table((uint32_t)capacity, (uint32_t)n_slots);
  if (!table) return HF_NO_MEMORY;
  for (uint32_t i = 1; i < slots->n_touched; i++) {  // slot by slot: the keys' tags in the order of memory
    hf_state state = hf_slots_state(slots, i);
    if (state == HF_FREE || state == HF_NOTE) continue;
    hf_map_place(table, hf_slots_hot(slots, i)->tag, i);
    hf_map_set_hint(table, hf_slots_key(slots, i), i, false);
  }
#if HF_PARALLEL
  table->retired = old;
  hf_map_publish(map, table);
#else
  hf_map_publish(map, table);
  hf_pages_give_back(old->pages);
#endif
  return HF_OK;
}

// Inserts a slot under the key and tag that it has. The key must not be in the map, and hf_map_reserve must have
// returned HF_OK.
static inline void hf_map_insert(hf_map *map, const hf_slots *slots, uint32_t i) {
  hf_map_place(hf_map_get_table(map), hf_slots_hot(slots, i)->tag, i);
  hf_map_set_hint(hf_map_get_table(map), hf_slots_key(slots, i), i, false);
  map->n_keys++;
}

// Erases the entry of a slot that is in the map, and still has its tag and key.
static inline void hf_map_erase(hf_map *map, const hf_slots *slots, uint32_t i) {
  hf_map_table *table = hf_map_get_table(map);
  uint32_t hole = hf_map_home(table, hf_slots_hot(slots, i)->tag);
  while (hf_map_slot_at(table, hole) != i) hole = hf_map_next(table, hole);
  for (uint32_t at = hf_map_next(table, hole);; at = hf_map_next(table, at)) {
    uint32_t moved = hf_map_slot_at(table, at);
    if (moved == HF_NO_SLOT) break;
    uint32_t home = hf_map_home(table, hf_slots_hot(slots, moved)->tag);
    // The entry may fill the hole unless its home lies behind the hole, in the run's own order.
    uint32_t from_home = at >= home ? at - home : at + table->capacity - home;
    uint32_t from_hole = at >= hole ? at - hole : at + table->capacity - hole;
    if (from_home < from_hole) continue;
    HF_STORE_REL(&table->entries[hole], HF_LOAD_RLX(&table->entries[at]));
    hole = at;
  }
  HF_STORE_REL(&table->entries[hole], 0u);
  hf_map_forget_hint(table, hf_slots_key(slots, i), i);
  map->n_keys--;
}

#endif
