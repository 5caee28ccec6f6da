// SPDX-License-Identifier: MIT
// 200,000 keys (fewer under the thread sanitizer) die at once and nobody reads until the
// last is dead: none is lost, none told twice.
#include "hf_hub_test.h"

#if defined(__SANITIZE_THREAD__)
enum { N = 40000, N_SHARDS = 3 };  // twenty times slower
#else
enum { N = 200000, N_SHARDS = 3 };
#endif

static void a_late_reader_gets_each_verdict_once(void) {
  hf_fixture f;
  hf_object **keys = malloc(N * sizeof *keys);
  hf_fixture_init(
      &f, HF_CLOCK_MONOTONIC,
      (hf_hub_config){.n_shards = N_SHARDS, .disposable = true, .ring_limit = 16, .subscribed = HF_MASK(HF_TIME_OUT)});
  for (uint32_t k = 0; k < N; k++) {
    hf_terms terms = {.timeout_ns = HF_MS + (k * 7919) % 97 * HF_MS, .disposable = -1};
    keys[k] = hf_object_new(k);
    if (hf_fixture_beat(&f, keys[k], &terms) != HF_OK) CHECK(!"a join failed");
  }
  CHECK(HF_UNTIL(hf_hub_waiting(f.hub, HF_TO_READERS) == N));
  CHECK_EQ(hf_hub_count(f.hub), 0);
  CHECK(hf_hub_check(f.hub) == NULL);
  bool *seen = calloc(N, sizeof *seen);
  hf_event events[256];
  int64_t last_ns = 0;
  uint32_t n_all = 0, n_wrong = 0;
  for (uint32_t n; (n = hf_fixture_drain(&f, HF_TO_READERS, events, 256)) > 0; n_all += n)
    for (uint32_t e = 0; e < n; e++) {
      const hf_event *event = &events[e];
      uint32_t k = hf_object_number(event->key);
      n_wrong += seen[k] || event->missed != 1 || event->event_ns < event->deadline_ns ||
                 event->deadline_ns != event->beat_ns + event->timeout_ns || event->event_ns < last_ns;
      last_ns = event->event_ns;
      seen[k] = true;
      hf_event_release(&events[e]);
    }
  CHECK_EQ(n_all, N);
  CHECK_EQ(n_wrong, 0);
  hf_stream_stats stats;
  hf_hub_stream_stats(f.hub, &stats);
  CHECK(stats.n_dropped == 0 && stats.n_waiting[HF_TO_READERS] == 0);
  for (uint32_t s = 0; s < N_SHARDS; s++) {
    hf_shard_stats shard;
    hf_hub_stats(f.hub, s, &shard);
    CHECK(shard.n_keys == 0 && shard.n_pending == 0 && shard.n_dead == 0);
    CHECK_EQ(shard.counters.n_verdicts, shard.counters.n_joins);
  }
  CHECK(hf_hub_check(f.hub) == NULL);
  hf_fixture_deinit(&f);
  for (uint32_t k = 0; k < N; k++) hf_object_release(keys[k]);
  free(keys);
  free(seen);
  CHECK_EQ(HF_LOAD_RLX(&hf_objects_alive), 0);
}

int main(void) {
  RUN(a_late_reader_gets_each_verdict_once);
  return hf_test_end(__FILE__);
}
