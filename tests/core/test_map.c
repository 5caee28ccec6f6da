// SPDX-License-Identifier: MIT
// The map against a plain table, with tags that collide and runs that wrap around the end.
#include "hf_map.h"

#include "hf_test.h"

enum { N_KEYS = 3000 };

static hf_object *objects[N_KEYS], *copies[N_KEYS];  // a copy is equal, but another object
static uint32_t tags[N_KEYS], places[N_KEYS];        // places: the model, each key's slot; 0: not in the map
static hf_slots slots;

static uint32_t tag_of(uint32_t number, uint32_t family) {
  switch (family) {
    case 0:
      return 0;  // all at the first entry
    case 1:
      return UINT32_MAX;  // all at the last: the run wraps around
    case 2:
      return UINT32_MAX - (number % 7) * 0x01000000u;  // a few homes near the end
    case 3:
      return number % 2 ? 0 : UINT32_MAX;  // two runs that grow into each other
    default:
      return (uint32_t)(hf_object_hash_of(number) >> 32);  // spread
  }
}

static void make_keys(uint32_t n_keys, uint32_t family) {
  for (uint32_t k = 0; k < n_keys; k++) {
    objects[k] = hf_object_new(k);
    copies[k] = hf_object_new(k);
    tags[k] = tag_of(k, family);
    places[k] = 0;
  }
  CHECK_EQ(hf_slots_init(&slots), HF_OK);
}

static void drop_keys(uint32_t n_keys) {
  for (uint32_t k = 0; k < n_keys; k++) {
    hf_object_release(objects[k]);
    hf_object_release(copies[k]);
  }
  hf_slots_deinit(&slots);
}

static uint32_t find(const hf_map *map, const void *key, uint32_t tag) {
  return hf_map_find(map, &slots, key, tag, hf_object_equal);
}

// The key joins the map with the next free slot.
static void put(hf_map *map, uint32_t k) {
  CHECK_EQ(hf_map_reserve(map, &slots), HF_OK);
  if (!hf_slots_has_free(&slots)) CHECK_EQ(hf_slots_grow(&slots), HF_OK);
  uint32_t i = places[k] = hf_slots_take(&slots);
  HF_STORE_RLX(&hf_slots_hot(&slots, i)->key, (uintptr_t)objects[k]);
  hf_slots_hot(&slots, i)->tag = tags[k];
  hf_slots_set_state(&slots, i, HF_ALIVE);
  hf_map_insert(map, &slots, i);
}

static void take_out(hf_map *map, uint32_t k) {
  hf_map_erase(map, &slots, places[k]);
  hf_slots_give_back(&slots, places[k]);
  places[k] = HF_NO_SLOT;
}

static bool finds_all(const hf_map *map, uint32_t n_keys) {
  bool right = true;
  for (uint32_t k = 0; k < n_keys; k++) {
    right &= find(map, objects[k], tags[k]) == places[k];
    right &= find(map, copies[k], tags[k]) == places[k];
    right &= hf_map_find_identical(map, &slots, objects[k], tags[k]) == places[k];
    right &= hf_map_find_identical(map, &slots, copies[k], tags[k]) == HF_NO_SLOT;
  }
  return right;
}

static void random_operations(uint32_t family, uint32_t n_keys, uint32_t n_operations, uint64_t seed) {
  hf_random random = hf_random_from(hf_test_seed = seed);
  hf_map map;
  uint32_t n_in = 0;
  CHECK_EQ(hf_map_init(&map), HF_OK);
  make_keys(n_keys, family);
  for (uint32_t n = 0; n < n_operations; n++) {
    // The tide: the map fills and empties by turns.
    uint32_t k = hf_random_below(&random, n_keys);
    bool filling = (n / n_keys) % 2 == 0;
    if (!places[k] && (filling || hf_random_chance(&random, 4))) {
      put(&map, k);
      n_in++;
    } else if (places[k] && (!filling || hf_random_chance(&random, 4))) {
      take_out(&map, k);
      n_in--;
    }
    CHECK_EQ(find(&map, copies[k], tags[k]), places[k]);
    if (n % (n_keys / 2) == 0) CHECK(finds_all(&map, n_keys));
  }
  CHECK_EQ(map.n_keys, n_in);
  for (uint32_t k = 0; k < n_keys; k++)
    if (places[k]) take_out(&map, k);
  CHECK(finds_all(&map, n_keys));
  CHECK_EQ(map.n_keys, 0);
  for (uint32_t at = 0; at < hf_map_get_table(&map)->capacity; at++)
    if (hf_map_load(hf_map_get_table(&map), at) != 0) CHECK(!"an entry stays behind");
  drop_keys(n_keys);
  hf_map_deinit(&map);
}

static void finds_what_was_put_in_under_every_kind_of_collision(void) {
  for (uint32_t family = 0; family < 5; family++) random_operations(family, 40, 20000, family + 1);
  for (uint32_t family = 0; family < 5; family++) random_operations(family, 150, 10000, family + 11);
  random_operations(4, N_KEYS, 60000, 21);
}

static void grows_by_half_and_a_third_and_stays_at_most_three_quarters_full(void) {
  hf_map map;
  uint32_t expected[] = {64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096}, step = 0;
  CHECK_EQ(hf_map_init(&map), HF_OK);
  make_keys(N_KEYS, 4);
  for (uint32_t k = 0; k < N_KEYS; k++) {
    put(&map, k);
    uint32_t capacity = hf_map_get_table(&map)->capacity;
    while (step < 12 && capacity > expected[step]) step++;
    CHECK_EQ(capacity, expected[step]);
    CHECK(map.n_keys <= capacity / 4 * 3);
    CHECK(capacity == 64 || map.n_keys * 2 >= capacity - 4);
  }
  CHECK(finds_all(&map, N_KEYS));
  drop_keys(N_KEYS);
  hf_map_deinit(&map);
}

static void equal_tags_of_different_keys_are_told_apart_by_the_keys(void) {
  hf_map map;
  CHECK_EQ(hf_map_init(&map), HF_OK);
  make_keys(2, 0);
  put(&map, 0);
  CHECK_EQ(find(&map, objects[1], 0), HF_NO_SLOT);
  CHECK_EQ(find(&map, copies[0], 0), places[0]);
  CHECK_EQ(find(&map, copies[0], 1), HF_NO_SLOT);  // another tag is another key: never asked
  drop_keys(2);
  hf_map_deinit(&map);
}

// Slots that no key has (those of verdicts) may number more than the map holds: the marks make room for the numbers.
static void numbers_of_slots_far_beyond_the_capacity_fit(void) {
  hf_map map;
  CHECK_EQ(hf_map_init(&map), HF_OK);
  make_keys(40, 4);
  for (uint32_t k = 0; k < 20; k++) put(&map, k);
  for (uint32_t bits = HF_MAP_MIN_SLOT_BITS; bits <= HF_MAP_MIN_SLOT_BITS + 3; bits++) {
    while (HF_LOAD_RLX(&slots.n_slots) <= 1u << bits) CHECK_EQ(hf_slots_grow(&slots), HF_OK);
    slots.n_touched = (1u << bits) + 1;  // FREE all of them, and past what the marks left
    uint32_t k = 20 + bits - HF_MAP_MIN_SLOT_BITS;
    put(&map, k);
    CHECK(places[k] > 1u << bits);
    CHECK_EQ(hf_map_get_table(&map)->capacity, HF_MAP_MIN_CAPACITY);
    CHECK(hf_map_get_table(&map)->slot_bits > bits);
    CHECK(finds_all(&map, 40));
  }
  drop_keys(40);
  hf_map_deinit(&map);
}

#if !HF_PARALLEL
static uint32_t hint(const hf_map *map, const void *object) { return hf_map_hint(hf_map_get_table(map), object); }

static void hints_lead_to_nearly_every_object_through_growth(void) {
  hf_map map;
  CHECK_EQ(hf_map_init(&map), HF_OK);
  make_keys(N_KEYS, 4);
  for (uint32_t k = 0; k < N_KEYS; k++) {
    put(&map, k);
  }
  uint32_t n_home = 0;
  for (uint32_t k = 0; k < N_KEYS; k++) n_home += hint(&map, objects[k]) == places[k];
  CHECK(n_home > N_KEYS / 100 * 98);  // lines are uneven: a few are full
  drop_keys(N_KEYS);
  hf_map_deinit(&map);
}

static void a_hint_is_replaced_where_it_is_and_a_full_line_forgets_one_if_it_must(void) {
  hf_map map;
  CHECK_EQ(hf_map_init(&map), HF_OK);
  hf_map_table *table = hf_map_get_table(&map);
  const char *same_line[HF_MAP_LINE + 1];  // addresses, never followed
  uint32_t n = 0;
  for (uintptr_t address = 4096; n <= HF_MAP_LINE; address += 16)
    if (hf_map_hint_line(table, (const void *)address) == table->hints) same_line[n++] = (const char *)address;
  for (n = 0; n < HF_MAP_LINE; n++) hf_map_set_hint(table, same_line[n], n + 1, false);
  for (n = 0; n < HF_MAP_LINE; n++) CHECK_EQ(hint(&map, same_line[n]), n + 1);
  hf_map_set_hint(table, same_line[3], 77, false);
  for (n = 0; n < HF_MAP_LINE; n++) CHECK_EQ(hint(&map, same_line[n]), n == 3 ? 77 : n + 1);
  hf_map_set_hint(table, same_line[HF_MAP_LINE], 99, false);
  CHECK_EQ(hint(&map, same_line[HF_MAP_LINE]), HF_NO_SLOT);
  hf_map_set_hint(table, same_line[HF_MAP_LINE], 99, true);
  CHECK_EQ(hint(&map, same_line[HF_MAP_LINE]), 99);
  uint32_t n_left = 0;
  for (n = 0; n < HF_MAP_LINE; n++) n_left += hint(&map, same_line[n]) != HF_NO_SLOT;
  CHECK_EQ(n_left, HF_MAP_LINE - 1);
  hf_map_forget_hint(table, same_line[HF_MAP_LINE], 98);
  CHECK_EQ(hint(&map, same_line[HF_MAP_LINE]), 99);
  hf_map_forget_hint(table, same_line[HF_MAP_LINE], 99);
  CHECK_EQ(hint(&map, same_line[HF_MAP_LINE]), HF_NO_SLOT);
  hf_map_deinit(&map);
}
#endif

int main(void) {
#if !HF_PARALLEL
  RUN(hints_lead_to_nearly_every_object_through_growth);
  RUN(a_hint_is_replaced_where_it_is_and_a_full_line_forgets_one_if_it_must);
#endif
  RUN(finds_what_was_put_in_under_every_kind_of_collision);
  RUN(grows_by_half_and_a_third_and_stays_at_most_three_quarters_full);
  RUN(equal_tags_of_different_keys_are_told_apart_by_the_keys);
  RUN(numbers_of_slots_far_beyond_the_capacity_fit);
  CHECK_EQ(HF_LOAD_RLX(&hf_objects_alive), 0);
  return hf_test_end(__FILE__);
}
