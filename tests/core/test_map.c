// SPDX-License-Identifier: MIT
// The map against a plain table, with tags that collide and runs that wrap around the end.
#include "hf_map.h"

#include "hf_test.h"

enum { N_KEYS = 3000 };

static hf_object *objects[N_KEYS], *copies[N_KEYS];  // a copy is equal, but another object
static uint32_t tags[N_KEYS], slots[N_KEYS];         // slots: the model; 0: not in the map

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
    slots[k] = 0;
  }
}

static void drop_keys(uint32_t n_keys) {
  for (uint32_t k = 0; k < n_keys; k++) {
    hf_object_release(objects[k]);
    hf_object_release(copies[k]);
  }
}

static bool finds_all(const hf_map *map, uint32_t n_keys) {
  bool right = true;
  for (uint32_t k = 0; k < n_keys; k++) {
    right &= hf_map_find(map, objects[k], tags[k], hf_object_equal) == slots[k];
    right &= hf_map_find(map, copies[k], tags[k], hf_object_equal) == slots[k];
    right &= hf_map_find_identical(map, objects[k], tags[k]) == slots[k];
    right &= hf_map_find_identical(map, copies[k], tags[k]) == 0;
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
    if (!slots[k] && (filling || hf_random_chance(&random, 4))) {
      CHECK_EQ(hf_map_reserve(&map), HF_OK);
      slots[k] = 1 + hf_random_below(&random, 1u << 28);
      hf_map_insert(&map, objects[k], tags[k], slots[k]);
      n_in++;
    } else if (slots[k] && (!filling || hf_random_chance(&random, 4))) {
      hf_map_erase(&map, objects[k], tags[k]);
      slots[k] = 0;
      n_in--;
    }
    CHECK_EQ(hf_map_find(&map, copies[k], tags[k], hf_object_equal), slots[k]);
    if (n % (n_keys / 2) == 0) CHECK(finds_all(&map, n_keys));
  }
  CHECK_EQ(map.n_keys, n_in);
  for (uint32_t k = 0; k < n_keys; k++) {
    if (slots[k]) hf_map_erase(&map, objects[k], tags[k]);
    slots[k] = 0;
  }
  CHECK(finds_all(&map, n_keys));
  CHECK_EQ(map.n_keys, 0);
  for (uint32_t at = 0; at < hf_map_get_table(&map)->capacity; at++)
    if (hf_map_get_table(&map)->entries[at].key != 0) CHECK(!"an entry stays behind");
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
    CHECK_EQ(hf_map_reserve(&map), HF_OK);
    hf_map_insert(&map, objects[k], tags[k], slots[k] = k + 1);
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
  hf_map_insert(&map, objects[0], 0, 7);
  CHECK_EQ(hf_map_find(&map, objects[1], 0, hf_object_equal), 0);
  CHECK_EQ(hf_map_find(&map, copies[0], 0, hf_object_equal), 7);
  CHECK_EQ(hf_map_find(&map, copies[0], 1, hf_object_equal), 0);  // another tag is another key: never asked
  drop_keys(2);
  hf_map_deinit(&map);
}

int main(void) {
  RUN(finds_what_was_put_in_under_every_kind_of_collision);
  RUN(grows_by_half_and_a_third_and_stays_at_most_three_quarters_full);
  RUN(equal_tags_of_different_keys_are_told_apart_by_the_keys);
  CHECK_EQ(HF_LOAD_RLX(&hf_objects_alive), 0);
  return hf_test_end(__FILE__);
}
