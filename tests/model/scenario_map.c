// SPDX-License-Identifier: MIT
// The published map of a parallel build: two threads look keys up without a lock and beat them, while a third lets keys
// join, which fills the map, so that it grows, removes one, which moves others, and lets one join in the slot that came
// free. All keys have one home.
//   A look-up finds the key's own slot or none. It misses a key that stays only while an erasure moves entries.
//   A beat that said OK is in the slot of its own key. In the end every key that stayed is found.
#include "model_world.h"

enum { GONE, STAYS, ALSO_STAYS, MAKES_IT_GROW, REUSES, TIMEOUT = 1000000 };
static uint32_t slots_of[MODEL_KEYS];  // as far as they were joined yet
static bool erasing;
static int64_t stays_ns[2], reuses_ns[2];  // what each reader's beats said

static void join(int key) {
  CHECK(model_touch(key, NULL) == HF_OK);
  hf_lock_acquire(&world.shard.lock);
  slots_of[key] = model_slot(key);
  hf_lock_release(&world.shard.lock);
  CHECK(slots_of[key] != HF_NO_SLOT);
}

static void before(void) {
  model_world_init(TIMEOUT, false);
  world.clock.kind = HF_CLOCK_MONOTONIC;
  memset(slots_of, 0, sizeof slots_of);
  memset(stays_ns, 0, sizeof stays_ns);
  memset(reuses_ns, 0, sizeof reuses_ns);
  erasing = false;
  for (int key = GONE; key <= ALSO_STAYS; key++) join(key);
}

// Under the lock nothing is missed.
static void check_those_that_stay(void) {
  hf_lock_acquire(&world.shard.lock);
  for (int key = STAYS; key <= MAKES_IT_GROW; key++) CHECK(model_slot(key) == slots_of[key]);
  CHECK(model_slot(GONE) == HF_NO_SLOT);
  hf_lock_release(&world.shard.lock);
}

static void look_up(int key) {
  uint32_t i = hf_map_find_identical(&world.shard.map, &world.shard.slots, &model_keys[key], MODEL_TAG);
  if (key <= ALSO_STAYS) {
    CHECK(i == slots_of[key] || i == HF_NO_SLOT);
    if (!erasing) CHECK(i != HF_NO_SLOT);
  } else {
    CHECK(i == HF_NO_SLOT || slots_of[key] == HF_NO_SLOT || i == slots_of[key]);
  }
}

static void beat(int key, int64_t *said_ns) {
  int64_t now_ns = model_clock();
  if (model_beat(key, now_ns) == HF_OK) *said_ns = now_ns;
}

static void thread(int index) {
  if (index == 2) {
    join(MAKES_IT_GROW);
    erasing = true;
    CHECK(model_remove(GONE) == HF_OK);
    check_those_that_stay();
    join(REUSES);
    CHECK(slots_of[REUSES] == slots_of[GONE]);
  } else if (index == 0) {
    look_up(STAYS);
    beat(STAYS, &stays_ns[0]);
    look_up(GONE);
    beat(REUSES, &reuses_ns[0]);
  } else {
    int64_t nobody;
    beat(GONE, &nobody);
    look_up(ALSO_STAYS);
    look_up(REUSES);
    beat(STAYS, &stays_ns[1]);
  }
}

// A beat that began before its key joined said OK, and has nothing to say.
static void check_time(int key, const int64_t said_ns[2]) {
  int64_t join_ns = hf_slots_cold(&world.shard.slots, slots_of[key])->join_ns;
  int64_t latest_ns = hf_max_i64(join_ns, hf_max_i64(said_ns[0], said_ns[1]));
  CHECK(HF_LOAD_RLX(hf_slots_beat(&world.shard.slots, slots_of[key])) == latest_ns);
}

static void after(void) {
  for (int key = STAYS; key <= REUSES; key++) CHECK(model_slot(key) == slots_of[key]);
  CHECK(model_slot(GONE) == HF_NO_SLOT);
  CHECK(world.shard.map.n_keys == 4);
  check_time(STAYS, stays_ns);
  check_time(REUSES, reuses_ns);
  model_world_end();
}

const model_scenario scenario = {.n_threads = 3, .before = before, .thread = thread, .after = after};
