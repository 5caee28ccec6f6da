// SPDX-License-Identifier: MIT
// Stop and join. Two threads close a hub, one of which may destroy it when the other has come back, while a third lets
// keys join; the worker sleeps, works, or has not begun.
//   Both come back. When one has, the hub has ended, and nothing is done any more: no verdict comes, no key
//   joins; who calls later is told so. Nothing
//   is used after it was freed.
#include "model_hub.h"

static bool closed, destroys;
static hf_atomic_u32 n_back;  // threads that are done with the hub
static uint64_t n_done;

// Whatever can be done to a key.
static uint64_t done_now(void) {
  hf_shard_stats stats;
  hf_hub_stats(hub, 0, &stats);
  return stats.counters.n_verdicts + stats.counters.n_joins;
}

static void before(void) {
  closed = false;
  n_done = 0;
  destroys = model_choose(2);
  HF_STORE_RLX(&n_back, 0);
  model_hub_init();
}

static void close_it(void) {
  hf_hub_close(hub);
  CHECK(hf_hub_has_ended(hub));
  uint64_t n = done_now();
  if (closed) CHECK(n == n_done);
  n_done = n;
  closed = true;
}

static void thread(int index) {
  if (index == 2) {
    for (int key = 0; key < 2; key++) {
      bool was_closed = closed;
      hf_status status = model_hub_touch(key);
      CHECK(status == (was_closed ? HF_CLOSED : status == HF_CLOSED ? HF_CLOSED : HF_OK));
    }
  } else {
    close_it();
  }
  if (HF_ADD_SC(&n_back, 1u) < 2 || !destroys) return;
  CHECK(done_now() == n_done);
  hf_hub_destroy(hub);
}

static void after(void) {
  if (!destroys) {
    CHECK(done_now() == n_done);
    CHECK(hf_hub_check(hub) == NULL);
    hf_hub_destroy(hub);
  }
  model_hub_end();
}

const model_scenario scenario = {.n_threads = 3, .before = before, .thread = thread, .after = after};
