// SPDX-License-Identifier: MIT
// The small structures, each against a naive model: slots, the heap of blocks, the timeout list.
#include "hf_heap.h"
#include "hf_timeout_list.h"
#include "hf_test.h"

enum { N_SLABS = 3, N_BLOCKS = N_SLABS * HF_SLAB_BLOCKS };

static void grow(hf_slots *slots, uint32_t n_slabs) {
  for (uint32_t n = 0; n < n_slabs; n++) CHECK_EQ(hf_slots_grow(slots), HF_OK);
}

static bool heap_is_sound(const hf_heap *heap, const hf_slots *slots, const int64_t *model) {
  int64_t least = HF_NEVER;
  uint32_t n_filed = 0;
  for (uint32_t b = 0; b < N_BLOCKS; b++) {
    const hf_block *block = hf_slots_block(slots, b);
    n_filed += model[b] != HF_NEVER;
    least = hf_min_i64(least, model[b]);
    if (block->next_ns != model[b]) return false;
    if ((model[b] == HF_NEVER) != (block->heap_pos == HF_NOT_IN_HEAP)) return false;
    if (model[b] != HF_NEVER && heap->entries[block->heap_pos].block != b) return false;
    if (model[b] != HF_NEVER && heap->entries[block->heap_pos].next_ns != model[b]) return false;
  }
  for (uint32_t pos = 1; pos < heap->n_entries; pos++)
    if (heap->entries[pos].next_ns < heap->entries[(pos - 1) / 4].next_ns) return false;
  return heap->n_entries == n_filed && hf_heap_min(heap) == least;
}

static void heap_gives_the_minimum_whatever_is_filed_moved_or_taken_out(void) {
  for (uint64_t seed = 1; seed <= 8; seed++) {
    hf_random random = hf_random_from(hf_test_seed = seed);
    static int64_t model[N_BLOCKS];
    hf_slots slots;
    hf_heap heap = {0};
    CHECK_EQ(hf_slots_init(&slots), HF_OK);
    grow(&slots, N_SLABS);
    CHECK_EQ(hf_heap_reserve(&heap, N_BLOCKS), HF_OK);
    for (uint32_t b = 0; b < N_BLOCKS; b++) model[b] = HF_NEVER;
    uint32_t n_used = seed % 2 ? N_BLOCKS : 9;  // a few: each place of the heap is hit often
    uint32_t range = seed % 3 ? 1000000 : 5;    // few times: many ties
    for (int n = 0; n < 6000; n++) {
      uint32_t b = hf_random_below(&random, n_used);
      if (hf_random_chance(&random, 3)) {
        model[b] = HF_NEVER;
        hf_heap_file(&heap, &slots, b, HF_NEVER);
      } else {
        model[b] = hf_random_below(&random, range);
        hf_heap_file(&heap, &slots, b, model[b]);
      }
      if (!CHECK(heap_is_sound(&heap, &slots, model))) break;
    }
    int64_t last = INT64_MIN;
    while (heap.n_entries) {  // and it empties in order
      CHECK(hf_heap_min(&heap) >= last);
      last = hf_heap_min(&heap);
      uint32_t b = heap.entries[0].block;
      hf_heap_file(&heap, &slots, b, HF_NEVER);
    }
    CHECK_EQ(hf_heap_min(&heap), HF_NEVER);
    hf_heap_remove(&heap, &slots, 0);  // not in it: nothing happens
    CHECK_EQ(heap.n_entries, 0);
    hf_heap_deinit(&heap);
    hf_slots_deinit(&slots);
  }
}

static void heap_reserve_keeps_what_is_filed(void) {
  hf_slots slots;
  hf_heap heap = {0};
  CHECK_EQ(hf_slots_init(&slots), HF_OK);
  for (uint32_t b = 0; b < N_BLOCKS; b++) {
    if (b % HF_SLAB_BLOCKS == 0) grow(&slots, 1);
    CHECK_EQ(hf_heap_reserve(&heap, b + 1), HF_OK);
    CHECK(heap.capacity > b);
    hf_heap_file(&heap, &slots, b, (int64_t)1000 - b);
    CHECK_EQ(hf_heap_min(&heap), (int64_t)1000 - b);
  }
  CHECK_EQ(heap.n_entries, N_BLOCKS);
  hf_heap_deinit(&heap);
  hf_slots_deinit(&slots);
}

static bool list_is(const hf_slots *slots, const uint32_t *model, uint32_t n) {
  uint32_t i = HF_NO_SLOT;
  for (uint32_t at = 0; at < n; at++) {
    if (hf_slots_tie(slots, i)->next != model[at] || hf_slots_tie(slots, model[at])->prev != i) return false;
    i = model[at];
  }
  return hf_slots_tie(slots, i)->next == HF_NO_SLOT && hf_slots_tie(slots, HF_NO_SLOT)->prev == i;
}

static void list_keeps_its_order_through_append_unlink_and_replace(void) {
  enum { MOST = 60 };
  for (uint64_t seed = 1; seed <= 5; seed++) {
    hf_random random = hf_random_from(hf_test_seed = seed);
    uint32_t model[MOST], n = 0;
    bool in[MOST + 1] = {false};
    hf_slots slots;
    CHECK_EQ(hf_slots_init(&slots), HF_OK);
    CHECK_EQ(hf_timeout_list_head(&slots), HF_NO_SLOT);  // with no slab yet
    grow(&slots, 1);
    for (int step = 0; step < 4000; step++) {
      uint32_t i = 1 + hf_random_below(&random, MOST), at = 0;
      while (at < n && model[at] != i) at++;
      if (!in[i] && hf_random_chance(&random, 2)) {
        hf_timeout_list_append(&slots, model[n++] = i);
        in[i] = true;
      } else if (!in[i] && n > 0) {  // i takes the place of another
        at = hf_random_below(&random, n);
        hf_timeout_list_replace(&slots, model[at], i);
        in[model[at]] = false;
        in[i] = true;
        model[at] = i;
      } else if (in[i]) {
        hf_timeout_list_unlink(&slots, i);
        memmove(&model[at], &model[at + 1], (--n - at) * sizeof *model);
        in[i] = false;
        CHECK(hf_slots_tie(&slots, i)->next == 0 && hf_slots_tie(&slots, i)->prev == 0);
      }
      CHECK_EQ(hf_timeout_list_head(&slots), n ? model[0] : HF_NO_SLOT);
      if (!CHECK(list_is(&slots, model, n))) break;
    }
    hf_slots_deinit(&slots);
  }
}

static void slots_are_reused_last_first_and_a_new_life_has_a_new_generation(void) {
  hf_slots slots;
  CHECK_EQ(hf_slots_init(&slots), HF_OK);
  CHECK_EQ(hf_slots_take(&slots), 1);  // 0 is the list's head
  CHECK_EQ(hf_slots_take(&slots), 2);
  hf_slots_set_state(&slots, 1, HF_ALIVE);
  uint32_t before = HF_LOAD_RLX(hf_slots_word(&slots, 1));
  hf_slots_give_back(&slots, 2);
  hf_slots_give_back(&slots, 1);
  CHECK_EQ(hf_slots_state(&slots, 1), HF_FREE);
  CHECK_EQ(hf_slots_take(&slots), 1);
  CHECK_EQ(hf_word_generation(HF_LOAD_RLX(hf_slots_word(&slots, 1))), hf_word_generation(before) + 1);
  hf_slots_deinit(&slots);
}

static void generation_wraps_without_touching_the_state(void) {
  hf_slots slots;
  CHECK_EQ(hf_slots_init(&slots), HF_OK);
  grow(&slots, 1);
  uint32_t i = hf_slots_take(&slots);
  HF_STORE_RLX(hf_slots_word(&slots, i), hf_word_make(HF_GENERATION_MASK, HF_ALIVE));
  hf_slots_new_generation(&slots, i, HF_DEAD);
  CHECK_EQ(HF_LOAD_RLX(hf_slots_word(&slots, i)), hf_word_make(0, HF_DEAD));
  hf_slots_deinit(&slots);
}

static void slots_no_number_is_out_twice_and_slabs_never_move(void) {
  enum { N = 2 * HF_SLAB_SLOTS };
  hf_random random = hf_random_from(hf_test_seed = 5);
  static bool out[N + HF_SLAB_SLOTS];
  static uint32_t taken[N], generation[N + HF_SLAB_SLOTS];
  memset(out, 0, sizeof out);
  uint32_t n_taken = 0, n_ever = 0;
  hf_slots slots;
  CHECK_EQ(hf_slots_init(&slots), HF_OK);
  grow(&slots, 1);
  const hf_slab *first = slots.slabs[0];
  for (int step = 0; step < 60000; step++) {
    if (n_taken < N - 1 && !hf_random_chance(&random, 3)) {
      if (!hf_slots_has_free(&slots)) grow(&slots, 1);
      uint32_t i = hf_slots_take(&slots);
      if (!CHECK(i != HF_NO_SLOT && i < HF_LOAD_RLX(&slots.n_slots) && !out[i])) break;
      CHECK_EQ(hf_word_generation(HF_LOAD_RLX(hf_slots_word(&slots, i))), generation[i]);
      out[i] = true;
      taken[n_taken++] = i;
      if (i > n_ever) n_ever = i;
    } else if (n_taken > 0) {
      uint32_t at = hf_random_below(&random, n_taken), i = taken[at];
      hf_slots_give_back(&slots, i);
      generation[i]++;
      out[i] = false;
      taken[at] = taken[--n_taken];
    }
    if (slots.n_touched != n_ever + 1 || slots.n_free != n_ever - n_taken) CHECK(!"counts of slots");
  }
  CHECK(HF_LOAD_RLX(&slots.n_slots) > HF_SLAB_SLOTS);
  CHECK(slots.slabs[0] == first);
  CHECK(((uintptr_t)slots.slabs[0] & (HF_CACHE_LINE - 1)) == 0);
  hf_slots_deinit(&slots);
}

int main(void) {
  RUN(heap_gives_the_minimum_whatever_is_filed_moved_or_taken_out);
  RUN(heap_reserve_keeps_what_is_filed);
  RUN(list_keeps_its_order_through_append_unlink_and_replace);
  RUN(slots_are_reused_last_first_and_a_new_life_has_a_new_generation);
  RUN(generation_wraps_without_touching_the_state);
  RUN(slots_no_number_is_out_twice_and_slabs_never_move);
  return hf_test_end(__FILE__);
}
