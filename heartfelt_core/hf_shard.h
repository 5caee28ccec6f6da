// SPDX-License-Identifier: MIT
// A shard: some of a hub's keys, as a state machine. It has no thread and no clock of its own: time is an argument, so
// tests drive it through virtual time.
//
// Invariants (hf_shard_check proves them)
//   Every slot is exactly one of: free, in the map (ALIVE, DOOMED, LOUD, LOST, DEAD), NOTE, trash, untouched.
//   A bit in its block's `watched` <=> ALIVE, DOOMED, LOUD or LOST.
//   A block's next_ns is not later than the deadline of any watched slot in it; it is in the heap unless HF_NEVER.
//   PENDING <=> linked into the timeout list. At most one verdict waits for a key: the slot itself or, when the key
//   lives again, its NOTE (hf_tie_note, hf_tie_owner).
//   The timeout list is in order of event_ns, and the verdicts of one step are in order of deadline.
// Cost: O(1) expected each; step O(blocks due * 64 + verdicts * log).
// Threads: everything here is called under shard->lock; beats that need no lock: hf_beat.h. A function that takes a key
// or extra is called by a thread that may touch the caller's objects; hf_shard_step never touches one.
#ifndef HF_SHARD_H
#define HF_SHARD_H

#include "hf_event.h"
#include "hf_heap.h"
#include "hf_timeout_list.h"
#include "hf_map.h"
#include "hf_slot.h"
#include "hf_stream.h"

typedef struct {
  void (*retain)(void *object);          // adds an owner
  void (*release)(void *object);         // removes an owner; never called under a lock
  hf_map_equal equal;                    // different objects, equal keys?
  uint64_t (*hash)(const void *object);  // of a key; all 64 bits well mixed
} hf_object_ops;

typedef struct {
  hf_object_ops ops;
  int64_t default_timeout_ns;  // 0: none
  bool disposable;
  bool light;  // beats need no ordering of their own: hf_heavy_barrier is available
} hf_shard_config;

// The options of a beat.
typedef struct {
  int64_t timeout_ns;  // 0: not given
  void *extra;         // with has_extra: not owned; retained if it is kept
  bool has_extra;
  int8_t disposable;  // -1: not given
} hf_terms;

enum {                         // modes of a touch
  HF_TOUCH_BEAT = 1,           // beats; without it a watched key is left as it is, and any other joins
  HF_TOUCH_PIN = 2,            // the caller gets an id
  HF_TOUCH_OWN_TERMS = 4,      // a key that joins again keeps the terms that it had
  HF_TOUCH_TERMS_TO_JOIN = 8,  // the terms apply only if the key joins; a watched key keeps its own
};

// The state of a key in another hub. Each duration from 0 to HF_TIMEOUT_MAX_NS.
typedef struct {
  hf_terms terms;        // timeout and disposable must be given
  int64_t remaining_ns;  // until its deadline
  int64_t silent_ns;     // since its last beat
  int64_t watched_ns;    // since it joined
  uint32_t missed;
  bool lost;  // not with disposable
} hf_past;

typedef struct {
  void *key, *extra;  // owned by the caller
  int64_t join_ns, beat_ns, deadline_ns, timeout_ns;
  uint64_t id;
  uint32_t missed;
  bool disposable, lost;
} hf_row;

typedef struct {
  uint64_t n_joins, n_recoveries, n_removals, n_verdicts, n_visits;
  uint64_t n_moved;  // deadlines that passed in a stall and were moved
  int64_t max_lateness_ns;
} hf_counters;

#define HF_STEP_BLOCKS 64u
#ifndef HF_STEP_VERDICTS
#define HF_STEP_VERDICTS 1024u
#endif
typedef struct {
  int64_t deadline_ns;
  uint32_t slot;
} hf_due;

typedef struct {
  // const after init
  _Alignas(HF_CACHE_LINE) const hf_shard_config *config;
  hf_streams *streams;
  const hf_clock *clock;
  uint32_t index;
  // read by beats
  hf_map map;
  hf_slots slots;
  uint32_t n_noticed;  // beats write it, where a GIL serialises them
  // under lock, and in other cache lines: the worker takes the lock each time it wakes up
  _Alignas(HF_CACHE_LINE) hf_lock lock;
  hf_heap heap;
  uint32_t n_watched, n_lost, n_dead;
  int64_t shortest_ns;      // the shortest timeout that any key has had; HF_NEVER: none yet
  uint32_t trash_head;      // NOTEs that were merged away: their objects wait for a caller to release them
  hf_atomic_u32 n_pending;  // written under lock, read by anyone
  hf_counters counters;
  hf_due due[HF_STEP_VERDICTS + HF_BLOCK_SLOTS], due_sorted[HF_STEP_VERDICTS + HF_BLOCK_SLOTS];
} hf_shard;

hf_status hf_shard_init(hf_shard *shard, uint32_t index, const hf_shard_config *config, hf_streams *streams,
                        const hf_clock *clock);
void hf_shard_deinit(hf_shard *shard);  // releases every object; no other thread may be near

// Cold beats, joins, pins. `id` (may be NULL) gets the slot's id. HF_OK, HF_NO_MEMORY, HF_FULL,
// HF_NO_TIMEOUT; the second also HF_STALE_ID.
hf_status hf_shard_touch(hf_shard *shard, void *key, uint32_t tag, const hf_terms *terms, int mode, uint64_t *id,
                         hf_trash *trash);
hf_status hf_shard_touch_id(hf_shard *shard, uint64_t id, const hf_terms *terms, int mode, hf_trash *trash);
// Joins a key with a past; if the key is watched already, the past that is restored last holds. No other thread may
// beat this shard yet. HF_OK, HF_NO_MEMORY, HF_FULL.
hf_status hf_shard_restore(hf_shard *shard, void *key, uint32_t tag, const hf_past *past, hf_trash *trash);
// HF_NOT_WATCHED if the key was not watched (its ids become stale all the same).
hf_status hf_shard_remove(hf_shard *shard, const void *key, uint32_t tag, hf_trash *trash);

// Takes the verdicts that are due at now_ns, and visits blocks that will be due up to ahead_ns later (a visit too early
// is harmless and saves a wake-up). Works in bounded pieces: if hf_heap_min is still due afterwards, call again.
// horizon_ns: nobody will read until then (now_ns if that is unknown). Returns the number of verdicts.
uint32_t hf_shard_step(hf_shard *shard, int64_t now_ns, int64_t ahead_ns, int64_t horizon_ns);

// Call before the first step after a stall: the time in it does not count against any key.
void hf_shard_stalled(hf_shard *shard, hf_stall stall);

// The first waiting verdict: the time at which it was taken (HF_NEVER: none waits) and its deadline; and taking it with
// its objects, which become the caller's.
int64_t hf_shard_peek(const hf_shard *shard, int64_t *deadline_ns);
void hf_shard_take(hf_shard *shard, hf_event *event);
// Moves objects into the trash: those of verdicts that the worker merged away (it must not release objects itself), and
// of verdicts to which nobody subscribed. A few at a time: each function above that takes a trash does it, too, so what
// accumulates is bounded.
void hf_shard_empty_trash(hf_shard *shard, hf_trash *trash);

hf_status hf_shard_get(hf_shard *shard, const void *key, uint32_t tag, hf_row *row);
// Lists up to `max` watched keys from slot *cursor on (start with 0); *cursor is 0 again at the end. Returns their
// number.
uint32_t hf_shard_list(hf_shard *shard, uint32_t *cursor, hf_row *rows, uint32_t max);
// Sets whether beats of live keys are events from now on.
void hf_shard_set_loud(hf_shard *shard, bool loud);
// NULL, or the name of the invariant that does not hold. O(slots + map).
const char *hf_shard_check(const hf_shard *shard);

// The halves of a key's hash: the upper picks its place in the map, the lower its shard.
static inline uint32_t hf_hash_tag(uint64_t hash) { return (uint32_t)(hash >> 32); }
static inline uint32_t hf_hash_shard(uint64_t hash, uint32_t n_shards) {
  return (uint32_t)(((hash & UINT32_MAX) * n_shards) >> 32);
}

static inline void *hf_shard_retained(const hf_shard *shard, void *object) {
  if (object) shard->config->ops.retain(object);
  return object;
}

// Stops watching a slot. Call while its state still says whether it was LOST. The block keeps its time: at worst the
// worker looks once for nothing.
static inline void hf_shard_unwatch(hf_shard *shard, uint32_t i) {
  hf_slots_block(&shard->slots, hf_slot_block(i))->watched &= ~hf_slot_bit(i);
  shard->n_watched--;
  if (hf_slots_state(&shard->slots, i) == HF_LOST) shard->n_lost--;
}

// Ends a slot's life as a key's: takes it out of the map and frees it. The caller has taken over its objects; the map
// needs the key's address, but does not read the key.
static inline void hf_shard_free_key(hf_shard *shard, uint32_t i) {
  hf_map_erase(&shard->map, &shard->slots, i);
  hf_slots_give_back(&shard->slots, i);
}

// An id: shard << 56 | generation << 32 | slot. Positive as int64; never 0.
static inline uint64_t hf_id_make(uint32_t shard, uint32_t generation, uint32_t slot) {
  return (uint64_t)shard << 56 | (uint64_t)generation << 32 | slot;
}
static inline uint32_t hf_id_shard(uint64_t id) { return (uint32_t)(id >> 56); }
static inline uint32_t hf_id_generation(uint64_t id) { return (uint32_t)(id >> 32) & HF_GENERATION_MASK; }
static inline uint32_t hf_id_slot(uint64_t id) { return (uint32_t)id; }

static inline uint64_t hf_shard_slot_id(const hf_shard *shard, uint32_t i) {
  return hf_id_make(shard->index, hf_word_generation(HF_LOAD_RLX(hf_slots_word(&shard->slots, i))), i);
}

#endif
