// SPDX-License-Identifier: MIT
// No memory: each allocation in turn fails, and the shard stays whole and says so. Linked with --wrap.
#include <sys/mman.h>

#include "hf_hub.h"
#include "hf_world.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_mmap(void *at, size_t size, int protection, int flags, int file, off_t from);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t from);
void *__wrap_realloc(void *old, size_t size);

static int64_t allowed = HF_NEVER;  // so many allocations succeed yet
static bool failed;

static bool fails(void) {
  if (allowed == HF_NEVER || allowed-- > 0) return false;
  return failed = true;
}
// A test's own objects are always to be had.
void *__wrap_malloc(size_t size) { return size != sizeof(hf_object) && fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t from) {
  return fails() ? MAP_FAILED : __real_mmap(at, size, protection, flags, file, from);
}
void *__wrap_realloc(void *old, size_t size) { return fails() ? NULL : __real_realloc(old, size); }

static hf_world w;

static void a_join_without_memory_is_refused_and_changes_nothing(void) {
  hf_world_init(&w, 10, true, HF_EVENTS_ALL);
  uint32_t n_refused = 0, n_joined = 0;
  for (uint32_t k = 0; k < 250; k++) {  // over several sizes of the map
    for (int64_t n = 0;; n++) {
      allowed = n;
      failed = false;
      hf_status status = hf_world_beat_extra(&w, k, k);
      allowed = HF_NEVER;
      CHECK_SOUND(&w.shard);
      CHECK(status == HF_OK || (status == HF_NO_MEMORY && failed));
      CHECK_EQ(w.shard.n_watched, k + (status == HF_OK));
      if (status == HF_OK) break;
      CHECK(!hf_world_watches(&w, k));
      n_refused++;
    }
    n_joined++;
  }
  CHECK(n_refused >= 4);  // the map four times
  hf_world_step_at(&w, 10);
  CHECK_EQ(HF_LOAD_RLX(&w.shard.n_pending), n_joined);
  hf_world_end(&w);
}

static void a_rejoin_or_recovery_without_a_slot_for_its_verdict_is_refused_and_loses_nothing(void) {
  hf_world_init(&w, 10, false, HF_MASK(HF_TIME_OUT));
  enum { N = HF_SLAB_SLOTS - 1 };  // the slab is full
  for (uint32_t n = 0; n < N; n++) {
    hf_trash trash = {0};
    hf_object *key = hf_object_new(n);
    hf_terms terms = {.disposable = n % 2 == 0};
    CHECK_EQ(hf_shard_touch(&w.shard, key, hf_hash_tag(key->hash), &terms, HF_TOUCH_BEAT, NULL, &trash), HF_OK);
    hf_object_release(key);
  }
  CHECK(!hf_slots_has_free(&w.shard.slots));
  hf_world_step_at(&w, 10);
  for (uint32_t k = 0; k < 2; k++) {
    allowed = 0;
    CHECK_EQ(hf_world_beat(&w, k), HF_NO_MEMORY);
    allowed = HF_NEVER;
    CHECK_SOUND(&w.shard);
  }
  CHECK_EQ(w.shard.n_lost, N / 2);
  CHECK_EQ(HF_LOAD_RLX(&w.shard.n_pending), N);
  CHECK_EQ(hf_world_beat(&w, 0), HF_OK);
  CHECK_EQ(hf_world_beat(&w, 1), HF_OK);
  CHECK_EQ(HF_LOAD_RLX(&w.shard.n_pending), N);
  hf_world_end(&w);
}

static void a_ring_without_memory_counts_what_it_loses(void) {
  hf_ring ring;
  CHECK_EQ(hf_ring_init(&ring, 1000, HF_ON_FULL_BLOCK, true), HF_OK);
  for (int64_t ns = 1; ns <= 200; ns++) {
    hf_event event = {.type = HF_JOIN, .event_ns = ns};
    allowed = ns > 64 ? 0 : HF_NEVER;
    CHECK_EQ(hf_ring_push(&ring, &event), ns > 64);
    allowed = HF_NEVER;
  }
  CHECK_EQ(ring.n_dropped, 136);
  for (int64_t ns = 1; ns <= 64; ns++) CHECK_EQ(hf_ring_pop(&ring, true).event_ns, ns);
  CHECK_EQ(hf_ring_pop(&ring, true).missed, 136);
  CHECK_EQ(hf_ring_peek_ns(&ring, true), HF_NEVER);
  hf_ring_deinit(&ring);
}

static void a_hub_without_memory_is_not_made_and_leaves_nothing(void) {
  hf_bell bells[2];
  hf_clock clock = {.kind = HF_CLOCK_MANUAL};
  for (int s = 0; s < 2; s++) hf_bell_init(&bells[s]);
  hf_hub_config config = {.n_shards = 3,
                          .default_timeout_ns = 10,
                          .disposable = true,
                          .subscribed = HF_EVENTS_ALL,
                          .ring_limit = 8,
                          .clock_kind = HF_CLOCK_MANUAL,
                          .manual_clock = &clock,
                          .bells = {&bells[0], &bells[1]},
                          .ops = hf_object_get_ops()};
  uint32_t n_refused = 0;
  for (int64_t n = 0;; n++) {
    hf_hub *hub = NULL;
    allowed = n;
    hf_status status = hf_hub_create(&config, &hub);
    allowed = HF_NEVER;
    CHECK(status == HF_OK ? hub != NULL : status == HF_NO_MEMORY && hub == NULL);
    if (status == HF_OK) {
      hf_hub_destroy(hub);
      break;
    }
    n_refused++;
  }
  // The hub, its shards; a directory of slabs, the first slab, a heap and a map for each.
  CHECK_EQ(n_refused, 2 + 3 * 4);
}

int main(void) {
  RUN(a_join_without_memory_is_refused_and_changes_nothing);
  RUN(a_rejoin_or_recovery_without_a_slot_for_its_verdict_is_refused_and_loses_nothing);
  RUN(a_ring_without_memory_counts_what_it_loses);
  RUN(a_hub_without_memory_is_not_made_and_leaves_nothing);
  return hf_test_end(__FILE__);
}
