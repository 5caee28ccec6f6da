// SPDX-License-Identifier: MIT
// The shard's timers: a 4-ary min-heap of blocks (64 slots each) by the time at which the first slot of the block may
// be due. A block knows its position, so it can be filed earlier or later, or taken out.
//
// Why a heap of blocks rather than a wheel of slots: a look at the 64 dense beat times of a block costs less than one
// step along a list of scattered slots, deadlines keep their full resolution, and a key needs no timer links of its
// own. A heap of n/64 entries is small: 16,000 for a million keys.
// Cost: O(log n) each, min O(1). Threads: under the shard's lock. Allocates only in hf_heap_reserve.
#ifndef HF_HEAP_H
#define HF_HEAP_H

#include "hf_slot.h"

typedef struct {
  int64_t next_ns;
  uint32_t block;
} hf_heap_entry;

typedef struct {
  hf_heap_entry *entries;
  uint32_t n_entries, capacity;
} hf_heap;

// Breaks ties by the order of blocks, so that keys that are due at one time come in the order in which they joined.
static inline bool hf_heap_before(hf_heap_entry a, hf_heap_entry b) {
  return a.next_ns < b.next_ns || (a.next_ns == b.next_ns && a.block < b.block);
}

static inline void hf_heap_deinit(hf_heap *heap) { free(heap->entries); }

static inline hf_status hf_heap_reserve(hf_heap *heap, uint32_t n_blocks) {
  if (n_blocks <= heap->capacity) return HF_OK;
  uint32_t capacity = n_blocks > 2 * heap->capacity ? n_blocks : 2 * heap->capacity;
  hf_heap_entry *entries = realloc(heap->entries, (size_t)capacity * sizeof *entries);
  if (!entries) return HF_NO_MEMORY;
  heap->entries = entries;
  heap->capacity = capacity;
  return HF_OK;
}

static inline int64_t hf_heap_min(const hf_heap *heap) { return heap->n_entries ? heap->entries[0].next_ns : HF_NEVER; }

static inline void hf_heap_put(hf_heap *heap, const hf_slots *slots, uint32_t pos, hf_heap_entry entry) {
  heap->entries[pos] = entry;
  hf_slots_block(slots, entry.block)->heap_pos = pos;
}

static inline void hf_heap_sift_up(hf_heap *heap, const hf_slots *slots, uint32_t pos, hf_heap_entry entry) {
  while (pos > 0) {
    uint32_t parent = (pos - 1) / 4;
    if (!hf_heap_before(entry, heap->entries[parent])) break;
    hf_heap_put(heap, slots, pos, heap->entries[parent]);
    pos = parent;
  }
  hf_heap_put(heap, slots, pos, entry);
}

static inline void hf_heap_sift_down(hf_heap *heap, const hf_slots *slots, uint32_t pos, hf_heap_entry entry) {
  for (;;) {
    uint32_t first = pos * 4 + 1, best = first;
    if (first >= heap->n_entries) break;
    uint32_t end = first + 4 < heap->n_entries ? first + 4 : heap->n_entries;
    for (uint32_t child = first + 1; child < end; child++)
      if (hf_heap_before(heap->entries[child], heap->entries[best])) best = child;
    if (!hf_heap_before(heap->entries[best], entry)) break;
    hf_heap_put(heap, slots, pos, heap->entries[best]);
    pos = best;
  }
  hf_heap_put(heap, slots, pos, entry);
}

static inline void hf_heap_remove(hf_heap *heap, const hf_slots *slots, uint32_t block) {
  hf_block *b = hf_slots_block(slots, block);
  uint32_t pos = b->heap_pos;
  if (pos == HF_NOT_IN_HEAP) return;
  b->heap_pos = HF_NOT_IN_HEAP;
  hf_heap_entry last = heap->entries[--heap->n_entries];
  if (pos == heap->n_entries) return;
  if (pos > 0 && hf_heap_before(last, heap->entries[(pos - 1) / 4]))
    hf_heap_sift_up(heap, slots, pos, last);
  else
    hf_heap_sift_down(heap, slots, pos, last);
}

// Files the block under next_ns, wherever it was; HF_NEVER takes it out.
static inline void hf_heap_file(hf_heap *heap, const hf_slots *slots, uint32_t block, int64_t next_ns) {
  hf_block *b = hf_slots_block(slots, block);
  b->next_ns = next_ns;
  if (next_ns == HF_NEVER) {
    hf_heap_remove(heap, slots, block);
    return;
  }
  hf_heap_entry entry = {.next_ns = next_ns, .block = block};
  uint32_t pos = b->heap_pos;
  if (pos == HF_NOT_IN_HEAP)
    hf_heap_sift_up(heap, slots, heap->n_entries++, entry);
  else if (hf_heap_before(entry, heap->entries[pos]))
    hf_heap_sift_up(heap, slots, pos, entry);
  else
    hf_heap_sift_down(heap, slots, pos, entry);
}

#endif
