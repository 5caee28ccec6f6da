// SPDX-License-Identifier: MIT
// How verdicts are handed over, in a whole hub: its worker takes them, a reader waits for the bell and drains, and a
// caller beats and lets a key join again. Either the caller closes the hub, at any time, or the reader does when it has
// got a timeout of each key.
//   The reader gets every timeout that was counted, once, and comes to its end: no wake-up is lost, neither the
//   worker's nor the reader's. No verdict comes early.
#include "model_hub.h"

enum { KEYS = 2 };
static uint64_t n_missed;
static bool reader_closes;

static void before(void) {
  n_missed = 0;
  reader_closes = model_choose(2);
  model_hub_init();
}

static void thread(int index) {
  if (index == 0) {
    CHECK(hf_bell_open(&bells[HF_TO_READERS], -1, -1));
    for (;;) {
      bool ended = hf_hub_has_ended(hub);
      uint32_t n;
      n_missed += model_hub_drain(&n);
      if (n == 0 && ended) break;
      if (reader_closes && n_missed >= KEYS) hf_hub_close(hub);
      if (n == 0) hf_bell_wait(&bells[HF_TO_READERS], -1);
    }
  } else {
    CHECK(model_hub_touch(0) == HF_OK);
    hf_status status = model_hub_beat(0);
    CHECK(status == HF_OK || status == HF_SLOW || (reader_closes && status == HF_CLOSED));
    if (status == HF_SLOW) (void)model_hub_touch(0);
    if (model_hub_touch(1) == HF_CLOSED) CHECK(reader_closes && n_missed >= KEYS);
    if (reader_closes) return;
    hf_hub_close(hub);
    CHECK(hf_hub_has_ended(hub));
  }
}

static void after(void) {
  hf_shard_stats stats;
  CHECK(hf_hub_check(hub) == NULL);
  hf_hub_stats(hub, 0, &stats);
  CHECK(stats.counters.n_verdicts == n_missed);
  CHECK(stats.n_pending == 0);
  hf_hub_destroy(hub);
  model_hub_end();
}

const model_scenario scenario = {.n_threads = 2, .before = before, .thread = thread, .after = after};
