// SPDX-License-Identifier: MIT
// What scenarios share: a shard with a manual clock and no worker, keys that are addresses of numbers, and the GIL.
#ifndef HF_MODEL_WORLD_H
#define HF_MODEL_WORLD_H

#include "hf_beat.h"

static const hf_terms model_no_terms = {.disposable = -1};

// Keys are equal only if they are the same object. All have one tag, so that they meet in the map.
enum { MODEL_KEYS = 8, MODEL_TAG = 0 };
static int model_keys[MODEL_KEYS];
static int model_owners;  // of any key; under whatever lock the core calls us
static void model_retain(void *object) { (void)object, model_owners++; }
static void model_release(void *object) { (void)object, model_owners--; }
static bool model_equal(const void *stored, const void *asked) { return stored == asked; }
static uint64_t model_hash(const void *object) { return (uint64_t)MODEL_TAG << 32 | (object != NULL); }
static const hf_object_ops model_ops = {
    .retain = model_retain, .release = model_release, .equal = model_equal, .hash = model_hash};

typedef struct {
  hf_shard_config config;
  hf_streams streams;
  hf_bell bells[HF_N_STREAMS];
  hf_clock clock;
  hf_shard shard;
} model_world;
static model_world world;

static inline void model_world_init(int64_t timeout_ns, bool disposable) {
  memset(&world, 0, sizeof world);
  model_owners = 0;
  world.config = (hf_shard_config){.ops = model_ops,
                                   .default_timeout_ns = timeout_ns,
                                   .disposable = disposable,
                                   .light = !HF_PARALLEL && hf_heavy_barrier_available()};
  world.clock.kind = HF_CLOCK_MANUAL;
  HF_STORE_RLX(&world.streams.subscribed, HF_MASK(HF_TIME_OUT));
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_bell_init(&world.bells[s]);
    world.streams.bells[s] = &world.bells[s];
    hf_ring_init(&world.streams.rings[s], 16, HF_ON_FULL_BLOCK, false);
  }
  CHECK(hf_shard_init(&world.shard, 0, &world.config, &world.streams, &world.clock) == HF_OK);
}

static inline void model_world_end(void) {
  CHECK(hf_shard_check(&world.shard) == NULL);
  hf_shard_deinit(&world.shard);
  for (int s = 0; s < HF_N_STREAMS; s++) hf_ring_deinit(&world.streams.rings[s]);
  CHECK(model_owners == 0);
}

// The cold way, under the lock.
static inline hf_status model_touch(int key, uint64_t *id) {
  hf_trash trash = {0};
  hf_lock_acquire(&world.shard.lock);
  int mode = HF_TOUCH_BEAT | (id ? HF_TOUCH_PIN : 0);
  hf_status status = hf_shard_touch(&world.shard, &model_keys[key], MODEL_TAG, &model_no_terms, mode, id, &trash);
  hf_lock_release(&world.shard.lock);
  for (uint32_t n = 0; n < trash.n; n++) model_release(trash.objects[n]);
  return status;
}
static inline hf_status model_remove(int key) {
  hf_trash trash = {0};
  hf_lock_acquire(&world.shard.lock);
  hf_status status = hf_shard_remove(&world.shard, &model_keys[key], MODEL_TAG, &trash);
  hf_lock_release(&world.shard.lock);
  for (uint32_t n = 0; n < trash.n; n++) model_release(trash.objects[n]);
  return status;
}
static inline hf_status model_beat(int key, int64_t now_ns) {
  return hf_shard_beat(&world.shard, &model_keys[key], MODEL_TAG, model_equal, now_ns, world.config.light);
}
static inline uint32_t model_slot(int key) {
  return hf_map_find(&world.shard.map, &world.shard.slots, &model_keys[key], MODEL_TAG, model_equal);
}

// Where there is one, callers hold it; workers never do.
static model_mutex model_the_gil;
static inline void model_gil_init(void) {
  if (!HF_PARALLEL) model_mutex_init(&model_the_gil);
}
static inline void model_gil_end(void) {
  if (!HF_PARALLEL) model_mutex_destroy(&model_the_gil);
}
static inline void model_gil_take(void) {
  if (!HF_PARALLEL) model_mutex_lock(&model_the_gil);
}
static inline void model_gil_leave(void) {
  if (!HF_PARALLEL) model_mutex_unlock(&model_the_gil);
}

#endif
