// SPDX-License-Identifier: MIT
// A bell: two threads each add to a count and ring; a reader, which makes the descriptor when it comes, takes what is
// there, silences the bell, looks again and waits; or it waits before it looks at all, as an event loop does.
//   The reader gets everything: it does not wait while there is something (relacy would find it waiting for good).
#include "model_world.h"

static hf_bell bell;
static hf_lock lock;
static hf_atomic_u32 n_waiting;
static bool waits_first;

static void before(void) {
  memset(&bell, 0, sizeof bell);
  memset(&lock, 0, sizeof lock);
  hf_bell_init(&bell);
  hf_lock_init(&lock);
  HF_STORE_RLX(&n_waiting, 0);
  waits_first = model_choose(2);
}

static void produce(void) {
  hf_lock_acquire(&lock);
  HF_STORE_RLX(&n_waiting, HF_LOAD_RLX(&n_waiting) + 1);
  hf_lock_release(&lock);
  hf_bell_ring(&bell);
}

static void thread(int index) {
  if (index > 0) {
    produce();
    if (index == 1) produce();
    return;
  }
  CHECK(hf_bell_open(&bell, -1, -1));
  if (waits_first) hf_bell_wait(&bell, -1);
  for (uint32_t n_taken = 0; n_taken < 3;) {
    hf_lock_acquire(&lock);
    uint32_t n = HF_LOAD_RLX(&n_waiting);
    HF_STORE_RLX(&n_waiting, 0);
    hf_lock_release(&lock);
    n_taken += n;
    hf_bell_silence(&bell);
    if (HF_LOAD_RLX(&n_waiting)) hf_bell_ring(&bell);
    if (n_taken < 3) hf_bell_wait(&bell, -1);
  }
}

static void after(void) {
  hf_bell_deinit(&bell);
  hf_lock_deinit(&lock);
}

const model_scenario scenario = {.n_threads = 3, .before = before, .thread = thread, .after = after};
