// SPDX-License-Identifier: MIT
// One shard in virtual time, and short names for what callers and worker do to it. Times are small numbers: ns.
// Keys are named by numbers; each call makes a fresh object for its key, as a caller would.
#ifndef HF_WORLD_H
#define HF_WORLD_H

#include "hf_beat.h"
#include "hf_test.h"

typedef struct {
  hf_shard_config config;
  hf_streams streams;
  hf_bell bells[HF_N_STREAMS];
  hf_clock clock;
  hf_shard shard;
  hf_object *keys[256];  // the object a key was last named by: for hot beats, which know it by its address
  uint32_t most_trash;
} hf_world;

#define HF_EVENTS_ALL (HF_MASK(HF_N_EVENT_TYPES) - 1)
static const hf_terms hf_no_terms = {.disposable = -1};

static inline hf_status hf_world_init(hf_world *world, int64_t default_timeout_ns, bool disposable,
                                      uint32_t subscribed) {
  memset(world, 0, sizeof *world);
  world->config = (hf_shard_config){.ops = hf_object_get_ops(),
                                    .default_timeout_ns = default_timeout_ns,
                                    .disposable = disposable,
                                    .light = !HF_PARALLEL && hf_heavy_barrier_available()};
  world->clock.kind = HF_CLOCK_MANUAL;
  HF_STORE_RLX(&world->streams.subscribed, subscribed);
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_bell_init(&world->bells[s]);
    world->streams.bells[s] = &world->bells[s];
    hf_ring_init(&world->streams.rings[s], 1u << 20, HF_ON_FULL_BLOCK, true);
  }
  hf_status status = hf_shard_init(&world->shard, 0, &world->config, &world->streams, &world->clock);
  if (status == HF_OK) return HF_OK;
  for (int s = 0; s < HF_N_STREAMS; s++) hf_ring_deinit(&world->streams.rings[s]);
  return status;
}

static inline void hf_world_deinit(hf_world *world) {
  hf_shard_deinit(&world->shard);
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_ring *ring = &world->streams.rings[s];
    while (hf_ring_peek_ns(ring, true) != HF_NEVER) {
      hf_event event = hf_ring_pop(ring, true);
      hf_event_release(&event);
    }
    hf_ring_deinit(ring);
    hf_bell_deinit(&world->bells[s]);
  }
  for (uint32_t k = 0; k < 256; k++) hf_object_drop(world->keys[k]);
}

// No world, no object: each owner has let go.
static inline void hf_world_end(hf_world *world) {
  CHECK_SOUND(&world->shard);
  hf_world_deinit(world);
  CHECK_EQ(HF_LOAD_RLX(&hf_objects_alive), 0);
}

static inline int64_t hf_world_now(const hf_world *world) { return hf_clock_now(&world->clock); }

static inline void hf_world_empty(hf_world *world, hf_trash *trash) {
  if (trash->n > world->most_trash) world->most_trash = trash->n;
  CHECK(trash->n <= HF_TRASH_MAX);
  hf_trash_release(trash);
}

// A fresh object named k. Replaces the one that is remembered only if the key then lives under it.
static inline hf_status hf_world_touch(hf_world *world, uint32_t k, const hf_terms *terms, int mode, uint64_t *id) {
  hf_trash trash = {0};
  hf_object *key = hf_object_new(k);
  uint32_t tag = hf_hash_tag(key->hash);
  bool known = hf_map_find(&world->shard.map, &world->shard.slots, key, tag, hf_object_equal) != HF_NO_SLOT;
  hf_status status = hf_shard_touch(&world->shard, key, tag, terms ? terms : &hf_no_terms, mode, id, &trash);
  hf_world_empty(world, &trash);
  if (status != HF_OK || known) {
    hf_object_release(key);
  } else {
    hf_object_drop(world->keys[k]);
    world->keys[k] = key;
  }
  return status;
}

static inline hf_status hf_world_beat(hf_world *world, uint32_t k) {
  return hf_world_touch(world, k, NULL, HF_TOUCH_BEAT, NULL);
}
static inline hf_status hf_world_beat_timeout(hf_world *world, uint32_t k, int64_t timeout_ns) {
  hf_terms terms = {.timeout_ns = timeout_ns, .disposable = -1};
  return hf_world_touch(world, k, &terms, HF_TOUCH_BEAT, NULL);
}
static inline hf_status hf_world_beat_stays(hf_world *world, uint32_t k, int64_t timeout_ns) {
  hf_terms terms = {.timeout_ns = timeout_ns, .disposable = 0};
  return hf_world_touch(world, k, &terms, HF_TOUCH_BEAT, NULL);
}
static inline hf_status hf_world_beat_extra(hf_world *world, uint32_t k, uint32_t extra) {
  hf_terms terms = {.has_extra = true, .extra = hf_object_new(extra), .disposable = -1};
  hf_status status = hf_world_touch(world, k, &terms, HF_TOUCH_BEAT, NULL);
  hf_object_release(terms.extra);
  return status;
}

// The beat that takes no lock; HF_SLOW: the caller would touch.
static inline hf_status hf_world_beat_hot(hf_world *world, uint32_t k) {
  if (!world->keys[k]) return HF_SLOW;
  hf_object *key = world->keys[k];
  return hf_shard_beat(&world->shard, key, hf_hash_tag(key->hash), hf_object_equal, hf_world_now(world),
                       world->config.light);
}
static inline hf_status hf_world_beat_id(hf_world *world, uint64_t id) {
  return hf_shard_beat_id(&world->shard, id, hf_world_now(world), world->config.light);
}
static inline hf_status hf_world_touch_id(hf_world *world, uint64_t id) {
  hf_trash trash = {0};
  hf_status status = hf_shard_touch_id(&world->shard, id, &hf_no_terms, HF_TOUCH_BEAT | HF_TOUCH_OWN_TERMS, &trash);
  hf_world_empty(world, &trash);
  return status;
}
static inline uint64_t hf_world_pin(hf_world *world, uint32_t k) {
  uint64_t id = 0;
  CHECK_EQ(hf_world_touch(world, k, NULL, HF_TOUCH_PIN, &id), HF_OK);
  CHECK(id != 0 && (int64_t)id > 0);
  return id;
}

static inline hf_status hf_world_remove(hf_world *world, uint32_t k) {
  hf_trash trash = {0};
  hf_object *key = hf_object_new(k);
  hf_status status = hf_shard_remove(&world->shard, key, hf_hash_tag(key->hash), &trash);
  hf_world_empty(world, &trash);
  hf_object_release(key);
  return status;
}

static inline hf_status hf_world_get(hf_world *world, uint32_t k, hf_row *row) {
  hf_object *key = hf_object_new(k);
  hf_status status = hf_shard_get(&world->shard, key, hf_hash_tag(key->hash), row);
  hf_object_release(key);
  if (status != HF_OK || !row) return status;
  CHECK_EQ(hf_object_number(row->key), k);
  hf_object_release(row->key);  // the shard has its own
  hf_object_drop(row->extra);
  return status;
}
static inline bool hf_world_watches(hf_world *world, uint32_t k) { return hf_world_get(world, k, NULL) == HF_OK; }

// The worker, late: one look at now_ns.
static inline uint32_t hf_world_step_at(hf_world *world, int64_t now_ns) {
  uint32_t n = 0;
  hf_clock_set(&world->clock, now_ns);
  do {
    n += hf_shard_step(&world->shard, now_ns, 0, now_ns);
  } while (hf_heap_min(&world->shard.heap) <= now_ns);
  CHECK_SOUND(&world->shard);
  return n;
}

// The worker, on time at each deadline up to target_ns. horizon: nobody reads before target_ns, and it knows.
static inline void hf_world_advance(hf_world *world, int64_t target_ns, bool horizon) {
  for (int64_t next_ns; (next_ns = hf_heap_min(&world->shard.heap)) <= target_ns;) {
    int64_t now_ns = hf_max_i64(next_ns, hf_world_now(world));
    hf_clock_set(&world->clock, now_ns);
    while (hf_heap_min(&world->shard.heap) <= now_ns)
      hf_shard_step(&world->shard, now_ns, 0, horizon ? target_ns : now_ns);
  }
  hf_clock_set(&world->clock, target_ns);
  CHECK_SOUND(&world->shard);
}

// The next verdict, its objects released: for looking at numbers. type HF_N_EVENT_TYPES: none waits.
static inline hf_event hf_world_take(hf_world *world, uint32_t *k) {
  hf_event event = {.type = HF_N_EVENT_TYPES};
  int64_t deadline_ns = 0, event_ns = hf_shard_peek(&world->shard, &deadline_ns);
  if (event_ns == HF_NEVER) return event;
  hf_shard_take(&world->shard, &event);
  CHECK_EQ(event.type, HF_TIME_OUT);
  CHECK_EQ(event.deadline_ns, deadline_ns);
  CHECK_EQ(event.event_ns, event_ns);
  CHECK(event.deadline_ns <= event.event_ns);
  CHECK(event.beat_ns + event.timeout_ns <= event.deadline_ns);
  *k = hf_object_number(event.key);
  hf_event_release(&event);
  return event;
}

// The next verdict is k's, taken on that deadline, and speaks for so many timeouts.
#define CHECK_VERDICT(world, k, deadline, n_missed)   \
  do {                                                \
    uint32_t number_ = UINT32_MAX;                    \
    hf_event event_ = hf_world_take(world, &number_); \
    CHECK_EQ(number_, k);                             \
    CHECK_EQ(event_.deadline_ns, deadline);           \
    CHECK_EQ(event_.missed, n_missed);                \
  } while (0)
#define CHECK_NO_VERDICT(world) CHECK_EQ(HF_LOAD_RLX(&(world)->shard.n_pending), 0)

// The next event of the readers' ring is this.
static inline hf_event hf_world_pop(hf_world *world) {
  hf_ring *ring = &world->streams.rings[HF_TO_READERS];
  hf_event event = {.type = HF_N_EVENT_TYPES};
  if (hf_ring_peek_ns(ring, true) == HF_NEVER) return event;
  event = hf_ring_pop(ring, true);
  hf_event_release(&event);
  return event;
}

#endif
