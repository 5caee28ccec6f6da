// SPDX-License-Identifier: MIT
// The word that decides: two threads beat one key while a worker takes verdicts on it.
//   A beat that said OK is in every later verdict on that life; one that did not finds the verdict taken.
//   A time never goes back. A verdict is taken once, and not early. No step leaves a slot DOOMED.
#include "model_world.h"

enum { JOINED = 100, TIMEOUT = 10, BEATERS = 2, LATEST = 20 };
static int64_t acknowledged[BEATERS];  // the last time that said OK
static int64_t highest;                // of all that a beater has seen in the slot
static uint32_t slot;
static uint64_t n_recovered, n_taken;

static void before(void) {
  model_world_init(TIMEOUT, model_choose(2));
  model_gil_init();
  hf_clock_set(&world.clock, JOINED);
  CHECK(model_touch(0, NULL) == HF_OK);
  // A beat that takes the lock is dated by the clock, which no other beat may be ahead of here.
  hf_clock_set(&world.clock, JOINED + LATEST);
  slot = model_slot(0);
  acknowledged[0] = acknowledged[1] = JOINED;
  n_recovered = n_taken = 0;
}

static hf_state state_now(void) { return hf_slots_state(&world.shard.slots, slot); }

// Under the lock.
static void check_verdict(void) {
  if (state_now() != HF_LOST && state_now() != HF_DEAD) return;
  int64_t known_ns = hf_slots_cold(&world.shard.slots, slot)->verdict_beat_ns;
  for (int n = 0; n < BEATERS; n++) CHECK(known_ns >= acknowledged[n]);
}

static void beat(int self, int64_t now_ns) {
  model_gil_take();
  hf_status status = model_beat(0, now_ns);
  if (status == HF_OK) {
    acknowledged[self] = hf_max_i64(acknowledged[self], now_ns);
    CHECK(HF_LOAD_RLX(hf_slots_beat(&world.shard.slots, slot)) >= now_ns);
  } else {
    hf_lock_acquire(&world.shard.lock);
    hf_state state = state_now();
    // In a parallel build the other beater may have been between, and that one has said OK or is cold, too.
    CHECK(HF_PARALLEL ? state != HF_DOOMED : state == HF_LOST || state == HF_DEAD);
    check_verdict();
    bool recovers = state == HF_LOST || state == HF_DEAD;
    hf_lock_release(&world.shard.lock);
    CHECK(model_touch(0, NULL) == HF_OK);
    if (recovers) n_recovered++;
  }
  model_gil_leave();
}

static void step(int64_t now_ns) {
  hf_lock_acquire(&world.shard.lock);
  uint32_t n = hf_shard_step(&world.shard, now_ns, 0, now_ns);
  CHECK(n <= 1);
  CHECK(state_now() != HF_DOOMED);
  if (n == 1) {
    check_verdict();
    CHECK(hf_slots_cold(&world.shard.slots, slot)->verdict_beat_ns + TIMEOUT <= now_ns);
  }
  n_taken += n;
  hf_lock_release(&world.shard.lock);
}

static void thread(int index) {
  if (index == 2) {
    step(JOINED + 11);
    step(JOINED + 25);
  } else {
    beat(index, JOINED + 5 + 2 * index);
    beat(index, JOINED + 20 - index);
  }
}

static void after(void) {
  int64_t beat_ns = HF_LOAD_RLX(hf_slots_beat(&world.shard.slots, slot));
  for (int n = 0; n < BEATERS; n++) CHECK(beat_ns >= acknowledged[n]);
  CHECK(state_now() != HF_DOOMED);
  check_verdict();
  CHECK(world.shard.counters.n_verdicts >= n_taken);
  CHECK(world.shard.counters.n_recoveries + world.shard.counters.n_joins - 1 <= n_taken);
  model_world_end();
  model_gil_end();
}

const model_scenario scenario = {.n_threads = 3, .before = before, .thread = thread, .after = after};
