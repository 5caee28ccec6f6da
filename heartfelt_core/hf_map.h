// SPDX-License-Identifier: MIT
// One shard's map from key to slot: open addressing, linear probing, deletion by shifting back (so no
// tombstones, and no rehash but to grow). The table is published through one pointer, and beats read it
// without a lock.
//
// Invariants
//   At most 3/4 full; sizes are 2^k and 3*2^(k-1), so at least half full once it has grown.
//   An entry lies at its home or in the unbroken run of entries behind it.
//   key == 0 marks an empty entry. While an entry is overwritten its key is 0.
// Cost: look-up, insert and erase expected O(1); growing O(n), amortised O(1). 16 bytes an entry.
// Threads: one writer at a time, under the shard's lock. Readers without the lock: with a GIL, only
// threads that hold it, and all writers hold it too, so what they see is whole. In a parallel build a
// lock-free reader trusts only an entry whose key is the very object it asks for, and then validates the
// slot (hf_shard.h); everything else it decides under the lock. Old tables stay until the map ends there.
// Does not own keys and never reads one: equality of different objects is the caller's function.
#ifndef HF_MAP_H
#define HF_MAP_H

#include <stdlib.h>
#include <string.h>

#include "hf_atomic.h"
#include "hf_base.h"

typedef struct {
  hf_atomic_ptr key;
  hf_atomic_u64 meta;  // tag << 32 | slot
} hf_map_entry;

typedef struct hf_map_table hf_map_table;
struct hf_map_table {
  uint32_t capacity;
  hf_map_table *retired;  // parallel builds: the table before this one
  void *allocation;       // what to free
  _Alignas(HF_CACHE_LINE) hf_map_entry entries[];
};

#define HF_MAP_LINE 4u  // entries in a cache line; every capacity is a multiple of it

typedef struct {
  hf_atomic_ptr table;
  uint32_t n_keys;  // under lock
} hf_map;

typedef bool (*hf_map_equal)(const void *stored, const void *asked);

#define HF_MAP_MIN_CAPACITY 64u

static inline uint32_t hf_map_home(uint32_t tag, uint32_t capacity) {
  return (uint32_t)(((uint64_t)tag * capacity) >> 32);
}
static inline uint32_t hf_map_next(uint32_t at, uint32_t capacity) { return at + 1 == capacity ? 0 : at + 1; }
static inline hf_map_table *hf_map_get_table(const hf_map *map) {
  return (hf_map_table *)HF_LOAD_ACQ(&((hf_map *)(uintptr_t)map)->table);  // partner: hf_map_publish
}
static inline void hf_map_publish(hf_map *map, hf_map_table *table) { HF_STORE_REL(&map->table, (uintptr_t)table); }

static inline hf_map_table *hf_map_new_table(uint32_t capacity) {
  void *allocation = calloc(1, sizeof(hf_map_table) + (size_t)capacity * sizeof(hf_map_entry) + HF_CACHE_LINE);
  if (!allocation) return NULL;
  hf_map_table *table = (hf_map_table *)hf_align_to_line(allocation);
  table->capacity = capacity;
  table->allocation = allocation;
  return table;
}

static inline hf_status hf_map_init(hf_map *map) {
  hf_map_table *table = hf_map_new_table(HF_MAP_MIN_CAPACITY);
  map->n_keys = 0;
  hf_map_publish(map, table);
  return table ? HF_OK : HF_NO_MEMORY;
}

static inline void hf_map_deinit(hf_map *map) {
  hf_map_table *table = hf_map_get_table(map);
  while (table) {
    hf_map_table *retired = table->retired;
    free(table->allocation);
    table = retired;
  }
  hf_map_publish(map, NULL);
}

// Which entry of the home's cache line this very object has, if it has one there, as it nearly always does: all four
// are looked at without a branch between, since where in the line it is cannot be predicted. -1: not in this line.
static inline int hf_map_in_line(const hf_map_entry *line, const void *key) {
  hf_map_entry *e = (hf_map_entry *)(uintptr_t)line;
  unsigned hits = (unsigned)(HF_LOAD_RLX(&e[0].key) == (uintptr_t)key) |
                  (unsigned)(HF_LOAD_RLX(&e[1].key) == (uintptr_t)key) << 1 |
                  (unsigned)(HF_LOAD_RLX(&e[2].key) == (uintptr_t)key) << 2 |
                  (unsigned)(HF_LOAD_RLX(&e[3].key) == (uintptr_t)key) << 3;
  return hits ? hf_lowest_bit(hits) : -1;
}

// The slot of the key, 0 if there is none. For a writer (under lock), or a reader that holds the GIL.
static inline uint32_t hf_map_find(const hf_map *map, const void *key, uint32_t tag, hf_map_equal equal) {
  hf_map_table *table = hf_map_get_table(map);
  uint32_t capacity = table->capacity, home = hf_map_home(tag, capacity);
  hf_map_entry *line = &table->entries[home & ~(HF_MAP_LINE - 1)];
  int in_line = hf_map_in_line(line, key);
  if (HF_LIKELY(in_line >= 0)) return (uint32_t)HF_LOAD_RLX(&line[in_line].meta);
  for (uint32_t at = home;; at = hf_map_next(at, capacity)) {
    uintptr_t stored = HF_LOAD_RLX(&table->entries[at].key);
    if (stored == (uintptr_t)key) return (uint32_t)HF_LOAD_RLX(&table->entries[at].meta);
    if (stored == 0) return 0;
    uint64_t meta = HF_LOAD_RLX(&table->entries[at].meta);
    if ((uint32_t)(meta >> 32) == tag && equal((const void *)stored, key)) return (uint32_t)meta;
  }
}

// The slot that this very object is filed under, 0 if it is not found; any thread of a parallel build, no
// lock. A miss may be false while a writer moves entries: look again under the lock.
static inline uint32_t hf_map_find_identical(const hf_map *map, const void *key, uint32_t tag) {
  hf_map_table *table = hf_map_get_table(map);
  uint32_t capacity = table->capacity;
  uint32_t at = hf_map_home(tag, capacity);
  for (uint32_t n = 0; n < capacity; n++, at = hf_map_next(at, capacity)) {
    uintptr_t stored = HF_LOAD_ACQ(&table->entries[at].key);  // partner: hf_map_write's last store
    if (stored == (uintptr_t)key) return (uint32_t)HF_LOAD_ACQ(&table->entries[at].meta);
    if (stored == 0) return 0;
  }
  return 0;
}

static inline void hf_map_write(hf_map_entry *entry, uintptr_t key, uint64_t meta) {
  HF_STORE_REL(&entry->key, (uintptr_t)0);
  HF_STORE_REL(&entry->meta, meta);
  HF_STORE_REL(&entry->key, key);  // partner: hf_map_find_identical
}

static inline void hf_map_place(hf_map_table *table, uintptr_t key, uint64_t meta) {
  uint32_t at = hf_map_home((uint32_t)(meta >> 32), table->capacity);
  while (HF_LOAD_RLX(&table->entries[at].key) != 0) at = hf_map_next(at, table->capacity);
  hf_map_write(&table->entries[at], key, meta);
}

// Makes room for one more key, so that hf_map_insert cannot fail.
static inline hf_status hf_map_reserve(hf_map *map) {
  hf_map_table *old = hf_map_get_table(map);
  if (map->n_keys + 1 <= old->capacity / 4 * 3) return HF_OK;
  bool power_of_two = (old->capacity & (old->capacity - 1)) == 0;
  uint64_t capacity = power_of_two ? (uint64_t)old->capacity * 3 / 2 : (uint64_t)old->capacity * 4 / 3;
  if (capacity > UINT32_MAX) return HF_FULL;
  hf_map_table *table = hf_map_new_table((uint32_t)capacity);
  if (!table) return HF_NO_MEMORY;
  for (uint32_t at = 0; at < old->capacity; at++) {
    uintptr_t key = HF_LOAD_RLX(&old->entries[at].key);
    if (key) hf_map_place(table, key, HF_LOAD_RLX(&old->entries[at].meta));
  }
#if HF_PARALLEL
  table->retired = old;
  hf_map_publish(map, table);
#else
  hf_map_publish(map, table);
  free(old->allocation);
#endif
  return HF_OK;
}

// The key must not be in the map, and hf_map_reserve must have said OK.
static inline void hf_map_insert(hf_map *map, const void *key, uint32_t tag, uint32_t slot) {
  hf_map_place(hf_map_get_table(map), (uintptr_t)key, (uint64_t)tag << 32 | slot);
  map->n_keys++;
}

// Erases the entry of a slot whose stored key object is `key` (the object, not an equal one).
static inline void hf_map_erase(hf_map *map, const void *key, uint32_t tag) {
  hf_map_table *table = hf_map_get_table(map);
  uint32_t capacity = table->capacity;
  uint32_t hole = hf_map_home(tag, capacity);
  while (HF_LOAD_RLX(&table->entries[hole].key) != (uintptr_t)key) hole = hf_map_next(hole, capacity);
  for (uint32_t at = hf_map_next(hole, capacity);; at = hf_map_next(at, capacity)) {
    uintptr_t moved = HF_LOAD_RLX(&table->entries[at].key);
    if (!moved) break;
    uint64_t meta = HF_LOAD_RLX(&table->entries[at].meta);
    uint32_t home = hf_map_home((uint32_t)(meta >> 32), capacity);
    // The entry may fill the hole unless its home lies behind the hole, in the run's own order.
    uint32_t from_home = at >= home ? at - home : at + capacity - home;
    uint32_t from_hole = at >= hole ? at - hole : at + capacity - hole;
    if (from_home < from_hole) continue;
    hf_map_write(&table->entries[hole], moved, meta);
    hole = at;
  }
  HF_STORE_REL(&table->entries[hole].key, (uintptr_t)0);
  map->n_keys--;
}

#endif
