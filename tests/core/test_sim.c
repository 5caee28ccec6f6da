// SPDX-License-Identifier: MIT
// Random operations on a shard and on a plain table (hf_model.h), which must agree after each.
//   test_sim [seed [steps]]   seed 0: a few fixed ones and one from the clock. A failure prints its seed: replay it.
#include <time.h>

#include "hf_model.h"
#include "hf_world.h"

enum { N_EXTRAS = 16 };

static hf_world w;
static model m;
static hf_random rnd;
static hf_object *extras[N_EXTRAS];

static int64_t random_timeout(void) {
  uint32_t kind = hf_random_below(&rnd, 10);
  return 1 + hf_random_below(&rnd, kind == 0 ? 3 : kind < 8 ? 60 : 1500);
}

static hf_terms random_terms(void) {
  hf_terms terms = {.disposable = -1};
  if (hf_random_chance(&rnd, 3)) return terms;
  if (hf_random_chance(&rnd, 2)) terms.timeout_ns = random_timeout();
  if (hf_random_chance(&rnd, 3)) terms.disposable = (int8_t)hf_random_below(&rnd, 2);
  terms.has_extra = hf_random_chance(&rnd, 3);
  if (terms.has_extra) terms.extra = hf_random_chance(&rnd, 5) ? NULL : extras[hf_random_below(&rnd, N_EXTRAS)];
  return terms;
}

static void check_id(uint32_t k, uint64_t id) {
  model_key *key = &m.keys[k];
  CHECK(key->id == 0 || key->id == id);
  CHECK(id != key->stale_id);
  key->id = id;
}

static void touch(uint32_t k) {
  static const int modes[] = {HF_TOUCH_BEAT,
                              HF_TOUCH_BEAT,
                              HF_TOUCH_BEAT,
                              0,
                              HF_TOUCH_PIN,
                              HF_TOUCH_BEAT | HF_TOUCH_TERMS_TO_JOIN,
                              HF_TOUCH_BEAT | HF_TOUCH_PIN};
  hf_terms terms = random_terms();
  int mode = modes[hf_random_below(&rnd, 7)];
  uint64_t id = 0;
  hf_status expected = model_touch(&m, k, &terms, mode, hf_world_now(&w));
  CHECK_EQ(hf_world_touch(&w, k, &terms, mode, &id), expected);
  if (expected == HF_OK) check_id(k, id);
}

static bool beats_hot(uint32_t k) { return m.keys[k].watched && !m.keys[k].lost && !m.loud; }

// As a caller does: hot first, and cold if that is slow.
static void beat(uint32_t k) {
  hf_status status = hf_world_beat_hot(&w, k);
  CHECK_EQ(status, beats_hot(k) ? HF_OK : HF_SLOW);
  if (status == HF_OK) {
    m.keys[k].beat_ns = hf_world_now(&w);
  } else {
    hf_status expected = model_touch(&m, k, &hf_no_terms, HF_TOUCH_BEAT, hf_world_now(&w));
    CHECK_EQ(hf_world_beat(&w, k), expected);
  }
}

static void beat_id(uint32_t k) {
  model_key *key = &m.keys[k];
  if (key->id) {
    hf_status status = hf_world_beat_id(&w, key->id);
    CHECK_EQ(status, beats_hot(k) ? HF_OK : HF_SLOW);
    if (status == HF_OK) {
      key->beat_ns = hf_world_now(&w);
    } else {
      hf_status expected = model_touch(&m, k, &hf_no_terms, HF_TOUCH_BEAT | HF_TOUCH_OWN_TERMS, hf_world_now(&w));
      CHECK_EQ(hf_world_touch_id(&w, key->id), expected);
    }
  }
  if (key->stale_id) {
    CHECK(hf_world_beat_id(&w, key->stale_id) != HF_OK);
    CHECK_EQ(hf_world_touch_id(&w, key->stale_id), HF_STALE_ID);
  }
}

static void look(uint32_t k) {
  const model_key *key = &m.keys[k];
  hf_row row;
  hf_status status = hf_world_get(&w, k, &row);
  CHECK_EQ(status, key->watched ? HF_OK : HF_NOT_WATCHED);
  if (status != HF_OK || !key->watched) return;
  CHECK(row.lost == key->lost && row.disposable == key->disposable && row.extra == key->extra);
  CHECK_EQ(row.missed, key->missed);
  CHECK(row.beat_ns == key->beat_ns && row.join_ns == key->join_ns && row.timeout_ns == key->timeout_ns);
  CHECK_EQ(row.deadline_ns, model_deadline(&m, key));
}

static void look_at_all(void) {
  hf_row rows[7];
  uint32_t cursor = 0, n_seen = 0, n_watched = 0;
  bool seen[MODEL_KEYS] = {false};
  do {
    uint32_t n = hf_shard_list(&w.shard, &cursor, rows, 1 + hf_random_below(&rnd, 7));
    for (uint32_t r = 0; r < n; r++) {
      uint32_t k = hf_object_number(rows[r].key);
      CHECK(!seen[k] && m.keys[k].watched);
      seen[k] = true;
      hf_object_release(rows[r].key);
      hf_object_drop(rows[r].extra);
    }
    n_seen += n;
  } while (cursor);
  for (uint32_t k = 0; k < MODEL_KEYS; k++) n_watched += m.keys[k].watched;
  CHECK_EQ(n_seen, n_watched);
  CHECK_EQ(w.shard.n_watched, n_watched);
}

static void read_verdict(void) {
  hf_event event;
  int64_t deadline_ns = 0, event_ns = hf_shard_peek(&w.shard, &deadline_ns);
  if (event_ns == HF_NEVER) {
    for (uint32_t k = 0; k < MODEL_KEYS; k++) CHECK(!m.keys[k].verdict.waits);
    return;
  }
  hf_shard_take(&w.shard, &event);
  uint32_t k = hf_object_number(event.key);
  const model_verdict *verdict = &m.keys[k].verdict;
  CHECK(model_stands_first(&m, k));
  CHECK(event.event_ns == event_ns && event.deadline_ns == deadline_ns);
  CHECK_EQ(event.missed, verdict->missed);
  CHECK_EQ(event.deadline_ns, verdict->deadline_ns);
  CHECK_EQ(event.event_ns, verdict->event_ns);
  CHECK_EQ(event.beat_ns, verdict->beat_ns);
  CHECK_EQ(event.join_ns, verdict->join_ns);
  CHECK(event.timeout_ns == verdict->timeout_ns && event.disposable == verdict->disposable);
  CHECK(event.extra == verdict->extra);
  hf_event_release(&event);
  model_read(&m, k);
}

static void read_events(void) {
  hf_ring *ring = &w.streams.rings[HF_TO_READERS];
  for (uint32_t n = 0; n < m.n_events; n++) {
    const model_event *expected = &m.events[n];
    if (!CHECK(hf_ring_peek_ns(ring, true) != HF_NEVER)) break;
    hf_event event = hf_ring_pop(ring, true);
    CHECK(event.type == expected->type && hf_object_number(event.key) == expected->key);
    CHECK_EQ(event.missed, expected->missed);
    CHECK(event.extra == expected->extra && event.timeout_ns == expected->timeout_ns);
    CHECK(event.join_ns == expected->join_ns && event.beat_ns == expected->beat_ns);
    CHECK_EQ(event.event_ns, expected->event_ns);
    hf_event_release(&event);
  }
  CHECK_EQ(hf_ring_count(ring, true), 0);
  m.n_events = 0;
}

static void set_loud(bool loud) {
  uint32_t others = HF_EVENTS_ALL & ~HF_MASK(HF_HEART_BEAT);
  HF_STORE_RLX(&w.streams.subscribed, loud ? HF_EVENTS_ALL : others);
  hf_shard_set_loud(&w.shard, loud);
  m.loud = loud;
}

static void pass_time(uint32_t kind) {
  int64_t now_ns = hf_world_now(&w);
  if (kind < 4) {  // the worker is late, as much as may be
    int64_t late_ns = now_ns + hf_random_below(&rnd, kind == 0 ? 300 : 20);
    model_step(&m, late_ns);
    hf_world_step_at(&w, late_ns);
  } else if (kind < 6) {
    int64_t target_ns = now_ns + hf_random_below(&rnd, kind == 4 ? 200 : 10);
    model_advance(&m, now_ns, target_ns);
    hf_world_advance(&w, target_ns, hf_random_chance(&rnd, 2));
  } else {  // the worker sleeps
    hf_clock_set(&w.clock, now_ns + hf_random_below(&rnd, 5));
    hf_shard_step(&w.shard, INT64_MIN, 0, INT64_MIN);  // a step with nothing due does nothing
  }
}

// Nobody runs for a while, and everyone knows it afterwards; the worker is the first to run.
static void stall(void) {
  if (m.n_stalls == MODEL_STALLS) return;
  int64_t start_ns = hf_world_now(&w), end_ns = start_ns + 1 + hf_random_below(&rnd, 200);
  if (m.n_stalls && start_ns <= m.stall_end_ns[m.n_stalls - 1]) return;  // it would be the same one
  bool would_pass[MODEL_KEYS];
  for (uint32_t k = 0; k < MODEL_KEYS; k++) would_pass[k] = model_deadline(&m, &m.keys[k]) <= end_ns;
  m.stall_start_ns[m.n_stalls] = start_ns;
  m.stall_end_ns[m.n_stalls++] = end_ns;
  uint64_t n_passed = 0, n_moved = w.shard.counters.n_moved;
  for (uint32_t k = 0; k < MODEL_KEYS; k++)
    n_passed += m.keys[k].watched && would_pass[k] && model_deadline(&m, &m.keys[k]) > end_ns;
  hf_shard_stalled(&w.shard, (hf_stall){.start_ns = start_ns, .end_ns = end_ns});
  model_step(&m, end_ns);
  hf_world_step_at(&w, end_ns);
  CHECK_EQ(w.shard.counters.n_moved - n_moved, n_passed);
}

static void operate(uint32_t n_keys) {
  uint32_t k = hf_random_below(&rnd, n_keys), what = hf_random_below(&rnd, 100);
  if (what < 25) {
    touch(k);
  } else if (what < 50) {
    beat(k);
  } else if (what < 60) {
    beat_id(k);
  } else if (what < 68) {
    hf_status expected = model_remove(&m, k, hf_world_now(&w));
    CHECK_EQ(hf_world_remove(&w, k), expected);
  } else if (what < 80) {
    pass_time(hf_random_below(&rnd, 12));
  } else if (what < 88) {
    for (uint32_t n = hf_random_below(&rnd, 5); n > 0; n--) read_verdict();
  } else if (what < 97) {
    look(k);
  } else if (what < 98) {
    look_at_all();
  } else if (what < 99) {
    hf_trash trash = {0};
    hf_shard_empty_trash(&w.shard, &trash);
    hf_world_empty(&w, &trash);
  } else if (hf_random_chance(&rnd, 5)) {
    set_loud(!m.loud);
  } else if (hf_random_chance(&rnd, 5)) {
    stall();
  }
}

static void simulate(uint64_t seed, uint32_t n_steps) {
  uint64_t n_failed = HF_LOAD_RLX(&hf_test_n_failed);
  rnd = hf_random_from(hf_test_seed = seed);
  memset(&m, 0, sizeof m);
  m.default_timeout_ns = seed % 3 ? 50 : 0;
  m.disposable = seed % 2 != 0;
  hf_world_init(&w, m.default_timeout_ns, m.disposable, HF_EVENTS_ALL & ~HF_MASK(HF_HEART_BEAT));
  for (uint32_t n = 0; n < N_EXTRAS; n++) extras[n] = hf_object_new(n);
  uint32_t n_keys = seed % 5 == 0 ? 3 : MODEL_KEYS;  // a few: the same key's states follow each other fast
  for (uint32_t step = 0; step < n_steps; step++) {
    operate(n_keys);
    if (step % 16 == 0) CHECK_SOUND(&w.shard);
    if (m.n_events > MODEL_EVENTS / 2 || hf_random_chance(&rnd, 200)) read_events();
    if (HF_LOAD_RLX(&hf_test_n_failed) != n_failed) {
      fprintf(stderr, "step %" PRIu32 " of seed %" PRIu64 " (replay: test_sim %" PRIu64 ")\n", step, seed, seed);
      break;
    }
  }
  read_events();
  const hf_counters *counters = &w.shard.counters;
  CHECK_EQ(counters->n_verdicts, m.n_verdicts);
  CHECK_EQ(counters->n_joins, m.n_joins);
  CHECK_EQ(counters->n_recoveries, m.n_recoveries);
  CHECK_EQ(counters->n_removals, m.n_removals);
  CHECK(w.most_trash <= 24);
  while (HF_LOAD_RLX(&w.shard.n_pending) > 0 && HF_LOAD_RLX(&hf_test_n_failed) == n_failed) read_verdict();
  for (uint32_t n = 0; n < N_EXTRAS; n++) hf_object_release(extras[n]);
  hf_world_end(&w);
}

int main(int argc, char **argv) {
  uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
  uint32_t n_steps = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 300000;
  if (seed) {
    simulate(seed, n_steps);
    return hf_test_end(__FILE__);
  }
  for (uint64_t n = 1; n <= 10; n++) simulate(n, n_steps / 10);
  simulate((uint64_t)time(NULL), n_steps / 10);
  return hf_test_end(__FILE__);
}
