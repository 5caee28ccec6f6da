// SPDX-License-Identifier: MIT
// Slots: one for each watched key, numbered, in slabs that never move and are never given back while the hub lives.
// What beats write is dense, and apart from what the worker and the cold functions write.
//
// Invariants
//   Slot 0 never has a key: it is the head of the shard's timeout list, and means "none" in every link.
//   A slot's generation grows each time its life as a key's slot ends, so an id of the old life is known to be stale
//   (until 2^24 lives later).
//   A slot that is FREE has no object, no flag and a peer of 0.
// Cost: 88 bytes a slot, 120 in a parallel build. Finding a slot by its number: two loads.
// Threads: beat_ns and word are shared words (see README.md, "The word that decides"); everything else is under the
// shard's lock, except that a parallel build reads `key` while it validates a look-up.
#ifndef HF_SLOT_H
#define HF_SLOT_H

#include <stdlib.h>
#include <string.h>

#include "hf_atomic.h"
#include "hf_base.h"
#include "hf_pages.h"
#include "hf_stall.h"
#include "hf_thread.h"

#ifndef HF_SLAB_BITS  // the model checker's hubs are tiny
#define HF_SLAB_BITS 12
#define HF_SLABS_MAX (1u << 16)
#endif
#define HF_SLAB_SLOTS (1u << HF_SLAB_BITS)
#define HF_BLOCK_BITS 6
#define HF_BLOCK_SLOTS (1u << HF_BLOCK_BITS)  // as many as bits in hf_block.watched
#define HF_SLAB_BLOCKS (HF_SLAB_SLOTS / HF_BLOCK_SLOTS)
#define HF_SLABS_SINGLE 16u                          // the first ones are made one by one
#define HF_SLABS_TOGETHER (HF_PARALLEL ? 17u : 11u)  // then as many as fill two huge pages, or four, to 99 %
#define HF_NO_SLOT 0u
#define HF_NOT_IN_HEAP UINT32_MAX

// The word: generation << 8 | state.
typedef enum {
  HF_FREE = 0,
  HF_ALIVE,   // watched, beats are one store
  HF_DOOMED,  // the worker, inside its step, is about to take the verdict; a beat takes it back
  HF_LOUD,    // watched, and beats take the cold way: each is an event, or the next one clears a late floor
              // (hf_restore.c)
  HF_LOST,    // still watched (not disposable), timed out, has not beaten since
  HF_DEAD,    // no longer watched; kept while its verdict waits to be read, or while an id may rejoin it
  HF_NOTE,    // not a key's slot: the unread verdict of an earlier life of a key that lives again
} hf_state;

#define HF_STATE_MASK 0xffu
#define HF_GENERATION_SHIFT 8
#define HF_GENERATION_MASK 0xffffffu
static inline hf_state hf_word_state(uint32_t word) { return (hf_state)(word & HF_STATE_MASK); }
static inline uint32_t hf_word_generation(uint32_t word) { return word >> HF_GENERATION_SHIFT; }
static inline uint32_t hf_word_make(uint32_t generation, hf_state state) {
  return (generation << HF_GENERATION_SHIFT) | (uint32_t)state;
}

enum {  // hf_tie.flags
  HF_FLAG_DISPOSABLE = 1,
  HF_FLAG_PENDING = 2,  // linked into the timeout list
  HF_FLAG_PINNED = 4,   // the key has an id: the slot stays the key's until it is removed
};

// The record: all that a look-up, a beat and the worker's look at a key read and write, in half a cache line; in a
// parallel build in a line of its own, since another thread may beat the key next to it.
typedef struct {
  // beats (any thread)
  hf_atomic_i64 beat_ns;
  // worker and cold functions write, beats read
  hf_atomic_u32 word;
  // under lock, or under the GIL where look-ups hold it
  uint32_t tag;       // the half of the key's hash that the map uses
  hf_atomic_ptr key;  // owned object
  // under lock
  int64_t timeout_ns;
#if HF_PARALLEL
  char apart[HF_CACHE_LINE / 2];
#endif
} hf_hot;

typedef struct {
  void *extra;  // owned object or NULL
  int64_t join_ns;
  int64_t event_ns;         // when the last verdict was taken
  int64_t verdict_beat_ns;  // the beat time that verdict was taken on
} hf_cold;

typedef struct {
  uint32_t next, prev;  // timeout list, or (next only) free list or trash
  uint32_t missed;      // timeouts since the last beat; in a NOTE: all that its verdict stands for
  uint32_t peer : 28;   // one of three things: read and written only by hf_tie_note, hf_tie_owner, hf_tie_earlier
  uint32_t flags : 4;
} hf_tie;

// 64 neighbouring slots are one timer, which is due when the first of them may be.
typedef struct {
  uint64_t watched;   // a bit for each slot that can time out: ALIVE, DOOMED, LOUD, LOST
  int64_t next_ns;    // no slot of the block is due earlier; HF_NEVER if none is watched
  uint32_t heap_pos;  // its position in the heap
} hf_block;

typedef struct {
  _Alignas(HF_CACHE_LINE) hf_hot hot[HF_SLAB_SLOTS];
  // under lock
  // the earliest possible deadline: the next one of a LOST key, the first of a restored one, or 0
  int64_t floor_ns[HF_SLAB_SLOTS];
  hf_cold cold[HF_SLAB_SLOTS];
  hf_tie tie[HF_SLAB_SLOTS];
  hf_block blocks[HF_SLAB_BLOCKS];
  hf_pages pages;  // of this slab and those that were made with it; empty in those
} hf_slab;

typedef struct {
  hf_slab **slabs;        // const after init: HF_SLABS_MAX pointers, filled from the front
  hf_atomic_u32 n_slots;  // numbers below it exist; grows under lock
  uint32_t n_touched;     // numbers below it were used once; under lock
  uint32_t free_head;     // under lock
  uint32_t n_free;
  hf_stalls stalls;  // by which deadlines are moved; under lock
} hf_slots;

static inline uint32_t hf_slot_block(uint32_t i) { return i >> HF_BLOCK_BITS; }
static inline uint64_t hf_slot_bit(uint32_t i) { return UINT64_C(1) << (i & (HF_BLOCK_SLOTS - 1)); }

// The three meanings of hf_tie.peer. The slot's state and flags say which one holds; no other code reads the field.
#define HF_PEER_MAX 0xfffffffu
// For a key's slot that is not PENDING: the NOTE with the unread verdict of an earlier life, HF_NO_SLOT if there is
// none.
static inline uint32_t hf_tie_note(const hf_tie *tie) { return tie->peer; }
static inline void hf_tie_set_note(hf_tie *tie, uint32_t note) { tie->peer = note & HF_PEER_MAX; }
// For a NOTE: the slot of the key that lives again, HF_NO_SLOT once the NOTE is trash.
static inline uint32_t hf_tie_owner(const hf_tie *tie) { return tie->peer; }
static inline void hf_tie_set_owner(hf_tie *tie, uint32_t owner) { tie->peer = owner & HF_PEER_MAX; }
// For a PENDING slot that is not a NOTE: the unread timeouts of earlier lives that its verdict stands for as well.
static inline uint32_t hf_tie_earlier(const hf_tie *tie) { return tie->peer; }
static inline void hf_tie_set_earlier(hf_tie *tie, uint32_t n_missed) {
  tie->peer = (n_missed < HF_PEER_MAX ? n_missed : HF_PEER_MAX) & HF_PEER_MAX;
}
// Whether no flag is set and peer is 0, whatever it means.
static inline bool hf_tie_is_clear(const hf_tie *tie) { return tie->peer == 0 && tie->flags == 0; }

static inline void hf_tie_set_flag(hf_tie *tie, uint32_t flag, bool on) {
  uint32_t flags = on ? tie->flags | flag : tie->flags & ~flag;
  tie->flags = flags & 0xfu;
}

static inline uint32_t hf_add_capped(uint32_t a, uint32_t b, uint32_t cap) { return b > cap - a ? cap : a + b; }

static inline hf_slab *hf_slots_slab(const hf_slots *slots, uint32_t i) { return slots->slabs[i >> HF_SLAB_BITS]; }
static inline uint32_t hf_slot_in_slab(uint32_t i) { return i & (HF_SLAB_SLOTS - 1); }
static inline hf_cold *hf_slots_cold(const hf_slots *slots, uint32_t i) {
  return &hf_slots_slab(slots, i)->cold[hf_slot_in_slab(i)];
}
static inline hf_tie *hf_slots_tie(const hf_slots *slots, uint32_t i) {
  return &hf_slots_slab(slots, i)->tie[hf_slot_in_slab(i)];
}
static inline hf_hot *hf_slots_hot(const hf_slots *slots, uint32_t i) {
  return &hf_slots_slab(slots, i)->hot[hf_slot_in_slab(i)];
}
static inline hf_atomic_u32 *hf_slots_word(const hf_slots *slots, uint32_t i) { return &hf_slots_hot(slots, i)->word; }
static inline hf_atomic_i64 *hf_slots_beat(const hf_slots *slots, uint32_t i) {
  return &hf_slots_hot(slots, i)->beat_ns;
}
static inline int64_t *hf_slots_timeout(const hf_slots *slots, uint32_t i) {
  return &hf_slots_hot(slots, i)->timeout_ns;
}
static inline int64_t *hf_slots_floor(const hf_slots *slots, uint32_t i) {
  return &hf_slots_slab(slots, i)->floor_ns[hf_slot_in_slab(i)];
}
static inline hf_block *hf_slots_block(const hf_slots *slots, uint32_t block) {
  return &slots->slabs[block / HF_SLAB_BLOCKS]->blocks[block % HF_SLAB_BLOCKS];
}
static inline void *hf_slots_key(const hf_slots *slots, uint32_t i) {
  return (void *)HF_LOAD_RLX(&hf_slots_hot(slots, i)->key);
}
static inline hf_state hf_slots_state(const hf_slots *slots, uint32_t i) {
  return hf_word_state(HF_LOAD_RLX(hf_slots_word(slots, i)));
}
// The NOTE of a living slot, HF_NO_SLOT if its key has no unread verdict of an earlier life.
static inline uint32_t hf_slots_note(const hf_slots *slots, uint32_t i) {
  const hf_tie *tie = hf_slots_tie(slots, i);
  return tie->flags & HF_FLAG_PENDING ? HF_NO_SLOT : hf_tie_note(tie);
}
// The number of timeouts that a pending verdict stands for.
static inline uint32_t hf_slots_verdict_missed(const hf_slots *slots, uint32_t i) {
  const hf_tie *tie = hf_slots_tie(slots, i);
  return hf_slots_state(slots, i) == HF_NOTE ? tie->missed
                                             : hf_add_capped(tie->missed, hf_tie_earlier(tie), UINT32_MAX);
}
// The deadline that a pending verdict was taken on. A LOST key's floor is already the next one.
static inline int64_t hf_slots_verdict_deadline(const hf_slots *slots, uint32_t i) {
  int64_t floor_ns = *hf_slots_floor(slots, i);
  return hf_slots_state(slots, i) == HF_LOST ? floor_ns - *hf_slots_timeout(slots, i) : floor_ns;
}
// Keeps the generation. Under lock; release, for a parallel build's validation of a look-up.
static inline void hf_slots_set_state(hf_slots *slots, uint32_t i, hf_state state) {
  hf_atomic_u32 *word = hf_slots_word(slots, i);
  HF_STORE_REL(word, hf_word_make(hf_word_generation(HF_LOAD_RLX(word)), state));
}
static inline void hf_slots_new_generation(hf_slots *slots, uint32_t i, hf_state state) {
  hf_atomic_u32 *word = hf_slots_word(slots, i);
  uint32_t generation = (hf_word_generation(HF_LOAD_RLX(word)) + 1) & HF_GENERATION_MASK;
  HF_STORE_REL(word, hf_word_make(generation, state));
}
// The deadline of a slot with this beat time. Under lock.
static inline int64_t hf_slots_deadline_from(const hf_slots *slots, uint32_t i, int64_t beat_ns) {
  int64_t timeout_ns = *hf_slots_timeout(slots, i);
  int64_t counts_from_ns = hf_max_i64(beat_ns, *hf_slots_floor(slots, i) - timeout_ns);
  if (HF_UNLIKELY(slots->stalls.n)) counts_from_ns = hf_stalls_move(&slots->stalls, counts_from_ns);
  return counts_from_ns + timeout_ns;
}
static inline int64_t hf_slots_deadline(const hf_slots *slots, uint32_t i) {
  return hf_slots_deadline_from(slots, i, HF_LOAD_RLX(hf_slots_beat(slots, i)));
}

static inline void hf_slots_deinit(hf_slots *slots) {
  if (!slots->slabs) return;
  // From the end, since the first of several slabs that were made together holds their pages.
  for (uint32_t s = HF_LOAD_RLX(&slots->n_slots) >> HF_SLAB_BITS; s-- > 0;)
    if (slots->slabs[s]->pages.start) hf_pages_give_back(slots->slabs[s]->pages);
  free(slots->slabs);
  slots->slabs = NULL;
}

// The number of slots that hf_slots_grow would add: one slab's while there are few, then those of as many slabs as fill
// huge pages.
static inline uint32_t hf_slots_growth(const hf_slots *slots) {
  uint32_t n_slabs = HF_LOAD_RLX(&((hf_slots *)(uintptr_t)slots)->n_slots) >> HF_SLAB_BITS;
  uint32_t together = n_slabs < HF_SLABS_SINGLE ? 1 : HF_SLABS_TOGETHER;
  return (together < HF_SLABS_MAX - n_slabs ? together : HF_SLABS_MAX - n_slabs) << HF_SLAB_BITS;
}

// Under lock.
static inline hf_status hf_slots_grow(hf_slots *slots) {
  uint32_t n_slots = HF_LOAD_RLX(&slots->n_slots), n_new = hf_slots_growth(slots);
  if (n_new == 0) return HF_FULL;
  hf_pages pages = hf_pages_get((n_new >> HF_SLAB_BITS) * sizeof(hf_slab));
  if (!pages.start) return HF_NO_MEMORY;
  hf_slab *slab = pages.start;
  slab->pages = pages;
  for (uint32_t n = 0; n < n_new >> HF_SLAB_BITS; n++, slab++) {
    for (uint32_t b = 0; b < HF_SLAB_BLOCKS; b++) {
      slab->blocks[b].next_ns = HF_NEVER;
      slab->blocks[b].heap_pos = HF_NOT_IN_HEAP;
    }
    slots->slabs[(n_slots >> HF_SLAB_BITS) + n] = slab;
  }
  HF_STORE_REL(&slots->n_slots, n_slots + n_new);   // partner: hf_shard_beat_id reads it before the slot
  if (slots->n_touched == 0) slots->n_touched = 1;  // slot 0 is the head of the timeout list
  return HF_OK;
}

// Makes slot 0, and the rest of its slab.
static inline hf_status hf_slots_init(hf_slots *slots) {
  memset(slots, 0, sizeof *slots);
  slots->slabs = calloc(HF_SLABS_MAX, sizeof *slots->slabs);
  if (slots->slabs && hf_slots_grow(slots) == HF_OK) return HF_OK;
  hf_slots_deinit(slots);
  return HF_NO_MEMORY;
}

// Takes a free slot, HF_NO_SLOT if there is none: grow first. Its generation is new already.
static inline uint32_t hf_slots_take(hf_slots *slots) {
  uint32_t i = slots->free_head;
  if (i != HF_NO_SLOT) {
    slots->free_head = hf_slots_tie(slots, i)->next;
    slots->n_free--;
    return i;
  }
  if (slots->n_touched >= HF_LOAD_RLX(&slots->n_slots)) return HF_NO_SLOT;
  return slots->n_touched++;
}

static inline bool hf_slots_has_free(const hf_slots *slots) {
  return slots->free_head != HF_NO_SLOT || slots->n_touched < HF_LOAD_RLX(&slots->n_slots);
}

// Frees a slot. The caller has taken over its objects.
static inline void hf_slots_give_back(hf_slots *slots, uint32_t i) {
  HF_STORE_REL(&hf_slots_hot(slots, i)->key, (uintptr_t)0);
  hf_slots_new_generation(slots, i, HF_FREE);
  *hf_slots_floor(slots, i) = 0;
  hf_slots_cold(slots, i)->extra = NULL;
  *hf_slots_tie(slots, i) = (hf_tie){.next = slots->free_head};
  slots->free_head = i;
  slots->n_free++;
}

#endif
