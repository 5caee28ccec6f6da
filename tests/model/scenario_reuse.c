// SPDX-License-Identifier: MIT
// A slot that changes hands: one thread beats a key by its id and by its object, while another removes it and lets a
// second key join, which gets the slot; a third beats that one.
//   What is beaten for the first key after its removal is not OK. The second key's time is one of its own: that of its
//   join, or of a beat of its own. Beats round their times up, as they do where they read the coarse clock.
#include "model_world.h"

enum { OLD, NEW, TIMEOUT = 1000000, COARSE = 4 };
static uint64_t id_of_old;
static uint32_t slot;
static hf_atomic_u32 removed;
static bool coarse, new_beats;
static int64_t own_ns[2];  // of the new key's beats
static bool said_ok[2];

// Is not before the time at which it is read; steps, if it is coarse. No exact time is a coarse one, too.
static int64_t beat_time(void) {
  int64_t now_ns = model_clock();
  return coarse ? now_ns / COARSE * COARSE + 3 * COARSE : now_ns;
}

static void before(void) {
  model_world_init(TIMEOUT, false);
  model_gil_init();
  world.clock.kind = HF_CLOCK_MONOTONIC;
  coarse = model_choose(2);
  new_beats = model_choose(2);
  HF_STORE_RLX(&removed, 0u);
  CHECK(model_touch(OLD, &id_of_old) == HF_OK);
  slot = model_slot(OLD);
  CHECK(model_beat(OLD, beat_time()) == HF_OK);
  memset(own_ns, 0, sizeof own_ns);
  memset(said_ok, 0, sizeof said_ok);
}

static void beat_old(bool by_id) {
  model_gil_take();
  bool was_removed = HF_LOAD_ACQ(&removed);
  int64_t now_ns = beat_time();
  hf_status status =
      by_id ? hf_shard_beat_id(&world.shard, id_of_old, now_ns, world.config.light) : model_beat(OLD, now_ns);
  CHECK(!(was_removed && status == HF_OK));
  model_gil_leave();
}

static void beat_new(int n) {
  model_gil_take();
  int64_t now_ns = beat_time();
  own_ns[n] = now_ns;  // as soon as it may be seen
  said_ok[n] = model_beat(NEW, now_ns) == HF_OK;
  model_gil_leave();
}

static void thread(int index) {
  if (index == 0) {
    beat_old(true);
    beat_old(false);
  } else if (index == 1) {
    model_gil_take();
    CHECK(model_remove(OLD) == HF_OK);
    HF_STORE_REL(&removed, 1u);
    CHECK(model_touch(NEW, NULL) == HF_OK);
    model_gil_leave();
    if (new_beats) beat_new(0);
  } else if (new_beats) {
    beat_new(1);
  }
}

static void after(void) {
  CHECK(model_slot(OLD) == HF_NO_SLOT);
  CHECK(model_slot(NEW) == slot);
  int64_t beat_ns = HF_LOAD_RLX(hf_slots_beat(&world.shard.slots, slot));
  int64_t join_ns = hf_slots_cold(&world.shard.slots, slot)->join_ns;
  CHECK(beat_ns == join_ns || (beat_ns > join_ns && (beat_ns == own_ns[0] || beat_ns == own_ns[1])));
  for (int n = 0; n < 2; n++) CHECK(!said_ok[n] || beat_ns >= own_ns[n]);
  CHECK(hf_slots_state(&world.shard.slots, slot) == HF_ALIVE);
  model_world_end();
  model_gil_end();
}

const model_scenario scenario = {.n_threads = 3, .before = before, .thread = thread, .after = after};
