// SPDX-License-Identifier: MIT
// A hub and its workers with real threads: four that beat, one that joins, one that removes, one that drains.
//
// A slow machine can starve any thread, so no verdict is judged by the clock. Each beater writes down when each beat
// began and when it returned. A verdict taken at e on a last beat at b is wrong if some beat began after b and had
// returned before e; and it is wrong if e < b + timeout. And a hot beat that began after b and said OK met the verdict
// in the word: it must be of a later life, so a JOIN or RECOVER stands between. What else happens is the scheduler's.
#include "hf_hub_test.h"

enum {
  N_BEATERS = 4,
  N_STEADY = 24,   // keys of each beater: beaten all the time
  N_SHARED = 16,   // beaten by all of them
  N_STOPPED = 60,  // joined by the joiner, never beaten again
  FIRST_SHARED = N_BEATERS * N_STEADY,
  FIRST_STOPPED = FIRST_SHARED + N_SHARED,
  N_KEYS = FIRST_STOPPED + N_STOPPED,
  MOST_BEATS = 300000,  // of each beater
  MOST_EVENTS = 400000,
};
#define RUN_NS (1200 * HF_MS)

typedef struct {
  int64_t began_ns, returned_ns;
  uint32_t key;
  bool hot;
} beat_log;

typedef struct {
  uint32_t index, n_log;
  beat_log *log;
} beater;

static hf_fixture f;
static hf_object *keys[N_KEYS];
static hf_atomic_u32 stop, drained_all;
static beater beaters[N_BEATERS];
static hf_event *events;
static uint32_t n_events;

// Half stay after a timeout. The steady keys' timeouts are so short that beats and verdicts meet all the time.
static hf_terms terms_of(uint32_t k) {
  int64_t timeout_ns = k < FIRST_STOPPED ? (k % 3 == 0 ? HF_MS / 20 : HF_MS + k * 1000) : (int64_t)(1 + k % 20) * HF_MS;
  return (hf_terms){.timeout_ns = timeout_ns, .disposable = k < FIRST_STOPPED ? k % 2 == 0 : 1};
}

static void *run_beater(void *argument) {
  beater *b = argument;
  hf_random random = hf_random_from(b->index + 1);
  uint64_t ids[N_KEYS] = {0};
  while (!HF_LOAD_ACQ(&stop) && b->n_log < MOST_BEATS) {
    bool shared = hf_random_chance(&random, 3);
    uint32_t k = shared ? FIRST_SHARED + hf_random_below(&random, N_SHARED)
                        : b->index * N_STEADY + hf_random_below(&random, N_STEADY);
    hf_terms terms = terms_of(k);
    hf_gil_take();
    int64_t began_ns = hf_hub_now(f.hub);
    hf_status status = ids[k] && hf_random_chance(&random, 2)
                           ? hf_hub_beat_id(f.hub, ids[k], began_ns)
                           : hf_hub_beat(f.hub, keys[k], keys[k]->hash, hf_object_equal, began_ns);
    bool hot = status == HF_OK;
    if (!hot) status = hf_hub_touch(f.hub, keys[k], keys[k]->hash, &terms, HF_TOUCH_BEAT, &ids[k]);
    int64_t returned_ns = hf_hub_now(f.hub);
    hf_gil_give();
    if (!CHECK_EQ(status, HF_OK)) break;
    b->log[b->n_log++] = (beat_log){.began_ns = began_ns, .returned_ns = returned_ns, .key = k, .hot = hot};
    if (hf_random_chance(&random, 100)) sched_yield();
  }
  return NULL;
}

static void *run_joiner(void *argument) {
  (void)argument;
  for (uint32_t k = FIRST_STOPPED; k < N_KEYS; k++) {
    hf_terms terms = terms_of(k);
    CHECK_EQ(hf_fixture_beat(&f, keys[k], &terms), HF_OK);
    for (int n = 0; n < 200 && !HF_LOAD_ACQ(&stop); n++) sched_yield();
  }
  return NULL;
}

static void *run_remover(void *argument) {
  (void)argument;
  hf_random random = hf_random_from(77);
  while (!HF_LOAD_ACQ(&stop)) {
    uint32_t k = hf_random_below(&random, FIRST_STOPPED);
    hf_status status = hf_fixture_remove(&f, keys[k]);
    CHECK(status == HF_OK || status == HF_NOT_WATCHED);
    hf_gil_take();
    hf_row row;
    if (hf_hub_get(f.hub, keys[k], keys[k]->hash, &row) == HF_OK) hf_object_release(row.key);
    hf_gil_give();
    for (int n = 0; n < 20; n++) sched_yield();
  }
  return NULL;
}

static void *run_drainer(void *argument) {
  (void)argument;
  hf_event some[64];
  while (n_events < MOST_EVENTS - 64) {
    bool last = HF_LOAD_ACQ(&drained_all) != 0;
    uint32_t n = hf_fixture_drain(&f, HF_TO_READERS, some, 64);
    memcpy(&events[n_events], some, n * sizeof *some);
    n_events += n;
    if (n < 64 && last) break;
    if (n == 0) CHECK(hf_bell_wait(&f.bells[HF_TO_READERS], 30 * HF_NS_PER_S) != HF_BELL_TIMED_OUT);
  }
  return NULL;
}

static const beat_log *last_returned(const beater *b, uint32_t k, int64_t before_ns) {
  uint32_t low = 0, high = b->n_log;  // the log is in order
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (b->log[middle].returned_ns <= before_ns)
      low = middle + 1;
    else
      high = middle;
  }
  while (low > 0)
    if (b->log[--low].key == k) return &b->log[low];
  return NULL;
}

static const beat_log *first_begun(const beater *b, uint32_t k, int64_t after_ns) {
  uint32_t low = 0, high = b->n_log;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (b->log[middle].began_ns <= after_ns)
      low = middle + 1;
    else
      high = middle;
  }
  for (; low < b->n_log; low++)
    if (b->log[low].key == k) return &b->log[low];
  return NULL;
}

// Events of one key are in order: the next life, if any, begins at the first of them from `event` on.
static bool lives_again(const hf_event *event, uint32_t k, int64_t until_ns) {
  for (; event < events + n_events; event++)
    if ((event->type == HF_JOIN || event->type == HF_RECOVER) && hf_object_number(event->key) == k)
      return event->event_ns <= until_ns;
  return false;
}

static void judge_verdict(const hf_event *event, uint32_t k) {
  CHECK(event->event_ns >= event->deadline_ns);
  CHECK(event->deadline_ns >= event->beat_ns + event->timeout_ns);
  CHECK_EQ(event->timeout_ns, terms_of(k).timeout_ns);
  for (uint32_t n = 0; n < N_BEATERS && k < FIRST_STOPPED; n++) {
    if (k < FIRST_SHARED && k / N_STEADY != n) continue;  // not this beater's key
    const beat_log *beat = last_returned(&beaters[n], k, event->event_ns - 1);
    if (beat) CHECK(beat->began_ns <= event->beat_ns);
    beat = first_begun(&beaters[n], k, event->beat_ns);
    if (beat && beat->hot) CHECK(lives_again(event, k, beat->returned_ns));
  }
}

static void judge(void) {
  static uint64_t joins[N_KEYS], removals[N_KEYS], missed[N_KEYS], verdicts[N_KEYS], recoveries[N_KEYS];
  static int64_t last_ns[N_KEYS];
  uint64_t n_verdicts = 0;
  for (uint32_t e = 0; e < n_events; e++) {
    const hf_event *event = &events[e];
    uint32_t k = hf_object_number(event->key);
    CHECK(event->event_ns >= last_ns[k]);  // a key's events come in their true order
    last_ns[k] = event->event_ns;
    joins[k] += event->type == HF_JOIN;
    removals[k] += event->type == HF_REMOVE_KEY;
    recoveries[k] += event->type == HF_RECOVER;
    if (event->type != HF_TIME_OUT) continue;
    verdicts[k]++;
    missed[k] += event->missed;
    n_verdicts++;
    judge_verdict(event, k);
  }
  CHECK(n_verdicts > N_STOPPED);
  for (uint32_t k = 0; k < N_KEYS; k++) {
    bool disposable = terms_of(k).disposable != 0;
    // Each life ends once: removed, or timed out for good.
    if (disposable) CHECK_EQ(joins[k], removals[k] + missed[k]);
    if (disposable) CHECK_EQ(recoveries[k], 0);
    if (!disposable) CHECK_EQ(joins[k], removals[k]);
    if (k >= FIRST_STOPPED) CHECK(joins[k] == 1 && verdicts[k] == 1 && missed[k] == 1);
  }
}

static void every_key_that_stopped_is_reported_once_and_no_beat_is_overlooked(void) {
  pthread_t threads[N_BEATERS + 2], drainer;
  hf_fixture_init(&f, HF_CLOCK_MONOTONIC,
                  (hf_hub_config){.n_shards = 2,
                                  .on_full = HF_ON_FULL_BLOCK,
                                  .subscribed = HF_MASK(HF_TIME_OUT) | HF_MASK(HF_JOIN) | HF_MASK(HF_RECOVER) |
                                                HF_MASK(HF_REMOVE_KEY)});
  CHECK(hf_bell_open(&f.bells[HF_TO_READERS], -1, -1));
  events = malloc(MOST_EVENTS * sizeof *events);
  for (uint32_t k = 0; k < N_KEYS; k++) keys[k] = hf_object_new(k);
  hf_start(&drainer, run_drainer, NULL);
  for (uint32_t n = 0; n < N_BEATERS; n++) {
    beaters[n] = (beater){.index = n, .log = malloc(MOST_BEATS * sizeof(beat_log))};
    hf_start(&threads[n], run_beater, &beaters[n]);
  }
  hf_start(&threads[N_BEATERS], run_joiner, NULL);
  hf_start(&threads[N_BEATERS + 1], run_remover, NULL);
  struct timespec pause = {.tv_sec = RUN_NS / HF_NS_PER_S, .tv_nsec = RUN_NS % HF_NS_PER_S};
  nanosleep(&pause, NULL);  // how long it runs, not what it waits for
  HF_STORE_REL(&stop, 1);
  for (uint32_t n = 0; n < N_BEATERS + 2; n++) pthread_join(threads[n], NULL);
  // Nobody beats any more: who is disposable times out, who is not is removed.
  for (uint32_t k = 0; k < FIRST_STOPPED; k++)
    if (!terms_of(k).disposable) hf_fixture_remove(&f, keys[k]);
  CHECK(HF_UNTIL(hf_hub_count(f.hub) == 0));
  HF_STORE_REL(&drained_all, 1);
  hf_bell_ring(&f.bells[HF_TO_READERS]);
  pthread_join(drainer, NULL);
  judge();
  CHECK(hf_hub_check(f.hub) == NULL);
  for (uint32_t e = 0; e < n_events; e++) hf_event_release(&events[e]);
  free(events);
  hf_fixture_deinit(&f);
  for (uint32_t n = 0; n < N_BEATERS; n++) free(beaters[n].log);
  for (uint32_t k = 0; k < N_KEYS; k++) hf_object_release(keys[k]);
  CHECK_EQ(HF_LOAD_RLX(&hf_objects_alive), 0);
}

static void *beat_until_closed(void *argument) {
  uint32_t first = *(uint32_t *)argument;
  for (uint32_t n = 0;; n++) {
    hf_object *key = keys[first + n % 5];
    hf_status status = hf_fixture_beat(&f, key, NULL);
    if (n % 64 == 0) hf_fixture_remove(&f, key);
    if (status == HF_CLOSED) return NULL;
    if (!CHECK_EQ(status, HF_OK)) return NULL;
    if (n == 0) HF_ADD_RLX(&drained_all, 1u);
  }
}

static void a_hub_may_be_closed_while_threads_beat(void) {
  uint32_t first[3] = {0, 3, 6};  // some keys are shared
  for (uint32_t k = 0; k < 16; k++) keys[k] = hf_object_new(k);
  for (int round = 0; round < 40; round++) {
    pthread_t threads[3];
    HF_STORE_RLX(&drained_all, 0);
    hf_fixture_init(&f, round % 2 ? HF_CLOCK_MONOTONIC : HF_CLOCK_BOOTTIME,
                    (hf_hub_config){.n_shards = 1 + (uint32_t)round % 3,
                                    .default_timeout_ns = 1 + round * 3000,
                                    .disposable = round % 4 < 2,
                                    .subscribed = HF_MASK(HF_TIME_OUT) | HF_MASK(HF_JOIN)});
    for (int n = 0; n < 3; n++) hf_start(&threads[n], beat_until_closed, &first[n]);
    CHECK(HF_UNTIL(HF_LOAD_RLX(&drained_all) == 3));
    hf_hub_close(f.hub);
    CHECK(hf_hub_has_ended(f.hub));
    for (int n = 0; n < 3; n++) pthread_join(threads[n], NULL);
    CHECK(hf_hub_check(f.hub) == NULL);
    hf_fixture_deinit(&f);
  }
  for (uint32_t k = 0; k < 16; k++) hf_object_release(keys[k]);
  CHECK_EQ(HF_LOAD_RLX(&hf_objects_alive), 0);
}

int main(void) {
  RUN(every_key_that_stopped_is_reported_once_and_no_beat_is_overlooked);
  RUN(a_hub_may_be_closed_while_threads_beat);
  return hf_test_end(__FILE__);
}
