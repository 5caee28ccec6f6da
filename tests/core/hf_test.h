// SPDX-License-Identifier: MIT
// What the core's tests share: checks that count, seeded random numbers, objects that count their owners.
// A test program calls RUN for each test and returns hf_test_end().
#ifndef HF_TEST_H
#define HF_TEST_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_atomic.h"
#include "hf_shard.h"

// Printed with a failure; a test that draws random numbers sets it.
static uint64_t hf_test_seed;
static hf_atomic_u64 hf_test_n_passed, hf_test_n_failed;

static inline bool hf_test_check(bool ok, const char *what, const char *file, int line) {
  if (HF_LIKELY(ok)) {
    HF_ADD_RLX(&hf_test_n_passed, 1u);
    return true;
  }
  if (HF_ADD_RLX(&hf_test_n_failed, 1u) < 20)
    fprintf(stderr, "%s:%d: failed: %s (seed %" PRIu64 ")\n", file, line, what, hf_test_seed);
  return false;
}

#define CHECK(condition) hf_test_check((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(a, b) hf_test_check_eq((int64_t)(a), (int64_t)(b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_SOUND(shard) hf_test_check_sound(hf_shard_check(shard), __FILE__, __LINE__)
#define RUN(test) hf_test_run(#test, test)

static inline bool hf_test_check_eq(int64_t a, int64_t b, const char *what, const char *file, int line) {
  if (HF_LIKELY(a == b)) return hf_test_check(true, what, file, line);
  char text[256];
  snprintf(text, sizeof text, "%s: %" PRId64 " and %" PRId64, what, a, b);
  return hf_test_check(false, text, file, line);
}

static inline bool hf_test_check_sound(const char *wrong, const char *file, int line) {
  return hf_test_check(wrong == NULL, wrong ? wrong : "", file, line);
}

static inline void hf_test_run(const char *name, void (*test)(void)) {
  uint64_t n_failed = HF_LOAD_RLX(&hf_test_n_failed);
  test();
  if (HF_LOAD_RLX(&hf_test_n_failed) != n_failed) fprintf(stderr, "%s FAILED\n", name);
}

static inline int hf_test_end(const char *file) {
  const char *slash = strrchr(file, '/');
  uint64_t n_failed = HF_LOAD_RLX(&hf_test_n_failed);
  printf("%-18s HF_PARALLEL=%d: %" PRIu64 " passed, %" PRIu64 " failed\n", slash ? slash + 1 : file, HF_PARALLEL,
         HF_LOAD_RLX(&hf_test_n_passed), n_failed);
  return n_failed != 0;
}

// xorshift64*: small, good enough, the same everywhere.
typedef struct {
  uint64_t state;
} hf_random;

static inline hf_random hf_random_from(uint64_t seed) {
  hf_random random = {seed * UINT64_C(0x9e3779b97f4a7c15) | 1};
  return random;
}
static inline uint32_t hf_random_below(hf_random *random, uint32_t n) {
  random->state ^= random->state >> 12;
  random->state ^= random->state << 25;
  random->state ^= random->state >> 27;
  return (uint32_t)(((random->state * UINT64_C(0x2545f4914f6cdd1d) >> 32) * n) >> 32);
}
static inline bool hf_random_chance(hf_random *random, uint32_t one_in) { return hf_random_below(random, one_in) == 0; }

// Stands for a key or an extra of the language above. Freed by its last owner.
typedef struct {
  hf_atomic_u32 n_owners;
  uint32_t number;
  uint64_t hash;
} hf_object;

static hf_atomic_i64 hf_objects_alive;

static inline uint64_t hf_object_hash_of(uint32_t number) {
  uint64_t h = ((uint64_t)number + 1) * UINT64_C(0x9e3779b97f4a7c15);
  h = (h ^ (h >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
  return h ^ (h >> 32);
}

// Two objects of one number are equal keys. The caller owns it.
static inline hf_object *hf_object_new(uint32_t number) {
  hf_object *object = malloc(sizeof *object);
  if (!object) exit(3);
  HF_STORE_RLX(&object->n_owners, 1);
  object->number = number;
  object->hash = hf_object_hash_of(number);
  HF_ADD_RLX(&hf_objects_alive, 1);
  return object;
}
static inline void hf_object_retain(void *object) { HF_ADD_RLX(&((hf_object *)object)->n_owners, 1u); }
static inline void hf_object_release(void *object) {
  uint32_t n_owners = atomic_fetch_sub_explicit(&((hf_object *)object)->n_owners, 1u, memory_order_acq_rel);
  if (n_owners == 0 || n_owners > 1000000) {
    fprintf(stderr, "an object was released too often (seed %" PRIu64 ")\n", hf_test_seed);
    exit(3);
  }
  if (n_owners != 1) return;
  free(object);
  HF_ADD_RLX(&hf_objects_alive, -1);
}
static inline void hf_object_drop(void *object) {
  if (object) hf_object_release(object);
}
static inline bool hf_object_equal(const void *stored, const void *asked) {
  return ((const hf_object *)stored)->number == ((const hf_object *)asked)->number;
}
static inline uint64_t hf_object_hash(const void *object) { return ((const hf_object *)object)->hash; }
static inline uint32_t hf_object_number(const void *object) { return ((const hf_object *)object)->number; }

static inline hf_object_ops hf_object_get_ops(void) {
  return (hf_object_ops){
      .retain = hf_object_retain, .release = hf_object_release, .equal = hf_object_equal, .hash = hf_object_hash};
}
static inline void hf_event_release(hf_event *event) {
  hf_object_drop(event->key);
  hf_object_drop(event->extra);
}
static inline void hf_trash_release(hf_trash *trash) {
  for (uint32_t n = 0; n < trash->n; n++) hf_object_release(trash->objects[n]);
  trash->n = 0;
}

#endif
