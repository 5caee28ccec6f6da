// SPDX-License-Identifier: MIT
// The ring of events: its three policies, and where OVERFLOW stands, against a plain array.
#include "hf_event.h"
#include "hf_test.h"

static hf_event event_at(int64_t ns) { return (hf_event){.type = HF_JOIN, .event_ns = ns, .beat_ns = ns}; }

// What was dropped: its time, or -1.
static int64_t push(hf_ring *ring, int64_t ns) {
  hf_event event = event_at(ns);
  return hf_ring_push(ring, &event) ? event.event_ns : -1;
}

static void push_many(hf_ring *ring, int64_t from_ns, int64_t to_ns) {
  for (int64_t ns = from_ns; ns <= to_ns; ns++) push(ring, ns);
}

static void gives_events(hf_ring *ring, int64_t from_ns, int64_t to_ns) {
  for (int64_t ns = from_ns; ns <= to_ns; ns++) {
    CHECK_EQ(hf_ring_peek_ns(ring, true), ns);
    hf_event event = hf_ring_pop(ring, true);
    CHECK(event.type == HF_JOIN && event.event_ns == ns && event.beat_ns == ns);
  }
}

static void gives_overflow(hf_ring *ring, uint32_t n_lost) {
  CHECK(hf_ring_peek_ns(ring, true) != HF_NEVER);
  hf_event event = hf_ring_pop(ring, true);
  CHECK_EQ(event.type, HF_OVERFLOW);
  CHECK_EQ(event.missed, n_lost);
  CHECK(event.key == NULL && event.extra == NULL);
}

static void gives_nothing(hf_ring *ring) {
  CHECK_EQ(hf_ring_peek_ns(ring, true), HF_NEVER);
  CHECK_EQ(hf_ring_count(ring, true), 0);
}

static void drop_oldest_hands_back_the_oldest_and_tells_it_first(void) {
  hf_ring ring;
  CHECK_EQ(hf_ring_init(&ring, 4, HF_ON_FULL_DROP_OLDEST, true), HF_OK);
  push_many(&ring, 1, 4);
  CHECK_EQ(push(&ring, 5), 1);
  CHECK_EQ(push(&ring, 6), 2);
  CHECK_EQ(ring.n_dropped, 2);
  CHECK_EQ(ring.n_overflows, 1);
  CHECK_EQ(hf_ring_count(&ring, true), 5);
  gives_overflow(&ring, 2);
  gives_events(&ring, 3, 6);
  gives_nothing(&ring);
  hf_ring_deinit(&ring);
}

static void drop_newest_hands_back_the_new_one_and_tells_it_at_its_place(void) {
  hf_ring ring;
  CHECK_EQ(hf_ring_init(&ring, 3, HF_ON_FULL_DROP_NEWEST, true), HF_OK);
  push_many(&ring, 1, 3);
  CHECK_EQ(push(&ring, 4), 4);
  CHECK_EQ(push(&ring, 5), 5);
  gives_events(&ring, 1, 2);
  CHECK_EQ(push(&ring, 6), -1);  // room again: it stands behind the loss
  gives_events(&ring, 3, 3);
  gives_overflow(&ring, 2);
  gives_events(&ring, 6, 6);
  gives_nothing(&ring);
  CHECK_EQ(ring.n_dropped, 2);
  hf_ring_deinit(&ring);
}

static void each_run_of_losses_is_told_once(void) {
  hf_ring ring;
  CHECK_EQ(hf_ring_init(&ring, 2, HF_ON_FULL_DROP_NEWEST, true), HF_OK);
  for (uint32_t run = 1; run <= 3; run++) {
    push_many(&ring, 1, 2 + run);
    CHECK_EQ(ring.n_overflows, run);
    gives_events(&ring, 1, 2);
    gives_overflow(&ring, run);
    gives_nothing(&ring);
  }
  CHECK_EQ(ring.n_dropped, 6);
  hf_ring_deinit(&ring);
}

static void block_loses_nothing_and_grows(void) {
  hf_ring ring;
  CHECK_EQ(hf_ring_init(&ring, 2, HF_ON_FULL_BLOCK, true), HF_OK);
  for (int64_t ns = 1; ns <= 10000; ns++) CHECK_EQ(push(&ring, ns), -1);
  CHECK_EQ(hf_ring_count(&ring, true), 10000);
  gives_events(&ring, 1, 10000);
  gives_nothing(&ring);
  CHECK_EQ(ring.n_dropped, 0);
  hf_ring_deinit(&ring);
}

static void an_untold_loss_is_counted_only_and_its_run_ends_with_the_next_read(void) {
  hf_ring ring;
  CHECK_EQ(hf_ring_init(&ring, 2, HF_ON_FULL_DROP_OLDEST, false), HF_OK);
  push_many(&ring, 1, 5);
  CHECK_EQ(hf_ring_count(&ring, true), 2);
  gives_events(&ring, 4, 5);
  push_many(&ring, 1, 3);
  gives_events(&ring, 2, 3);
  gives_nothing(&ring);
  CHECK_EQ(ring.n_dropped, 4);
  CHECK_EQ(ring.n_overflows, 2);
  hf_ring_deinit(&ring);
}

static void never_holds_more_than_its_limit_and_allocates_no_more(void) {
  for (uint32_t limit = 1; limit <= 200; limit += 37) {
    hf_ring ring;
    CHECK_EQ(hf_ring_init(&ring, limit, HF_ON_FULL_DROP_OLDEST, false), HF_OK);
    push_many(&ring, 1, 1000);
    CHECK_EQ(hf_ring_count(&ring, true), limit);
    CHECK(ring.capacity <= limit);
    gives_events(&ring, 1001 - (int64_t)limit, 1000);
    hf_ring_deinit(&ring);
  }
}

// The model: what a reader would see, a run of losses standing as one marker.
typedef struct {
  int64_t ns[4096];  // -1: the marker
  uint32_t n, n_lost;
  uint64_t n_dropped, n_overflows;
} stream;

static void stream_insert(stream *stream, uint32_t at, int64_t ns) {
  memmove(&stream->ns[at + 1], &stream->ns[at], (stream->n++ - at) * sizeof *stream->ns);
  stream->ns[at] = ns;
}

static void stream_remove(stream *stream, uint32_t at) {
  memmove(&stream->ns[at], &stream->ns[at + 1], (--stream->n - at) * sizeof *stream->ns);
}

static void stream_push(stream *stream, int64_t ns, uint32_t limit, hf_on_full on_full) {
  bool marked = stream->n_lost > 0;
  if (on_full == HF_ON_FULL_BLOCK || stream->n - marked < limit) {
    stream_insert(stream, stream->n, ns);
    return;
  }
  stream->n_dropped++;
  if (!marked) stream->n_overflows++;
  if (on_full == HF_ON_FULL_DROP_OLDEST) {
    stream_remove(stream, marked ? 1 : 0);  // the marker stands first
    if (!marked) stream_insert(stream, 0, -1);
    stream_insert(stream, stream->n, ns);
  } else if (!marked) {
    stream_insert(stream, stream->n, -1);
  }
  stream->n_lost++;
}

static void agrees_with_a_plain_array_under_random_pushes_and_pops(void) {
  static const uint32_t limits[] = {1, 2, 3, 64, 100, 130};
  static stream model;
  for (uint64_t seed = 1; seed <= 36; seed++) {
    hf_random random = hf_random_from(hf_test_seed = seed);
    hf_on_full on_full = (hf_on_full)(seed % 3);
    uint32_t limit = limits[(seed / 3) % 6];
    hf_ring ring;
    model = (stream){0};
    CHECK_EQ(hf_ring_init(&ring, limit, on_full, true), HF_OK);
    for (int64_t ns = 1; ns < 4000; ns++) {
      bool filling = (ns / 300) % 2 == 0;
      if (hf_random_below(&random, 10) < (filling ? 7u : 3u)) {
        push(&ring, ns);
        stream_push(&model, ns, limit, on_full);
      } else if (model.n > 0) {
        CHECK(hf_ring_peek_ns(&ring, true) != HF_NEVER);
        hf_event event = hf_ring_pop(&ring, true);
        CHECK_EQ(event.type == HF_OVERFLOW ? -1 : event.event_ns, model.ns[0]);
        if (model.ns[0] == -1) {
          CHECK_EQ(event.missed, model.n_lost);
          model.n_lost = 0;
        }
        stream_remove(&model, 0);
      } else {
        CHECK_EQ(hf_ring_peek_ns(&ring, true), HF_NEVER);
      }
      CHECK_EQ(hf_ring_count(&ring, true), model.n);
    }
    CHECK_EQ(ring.n_dropped, model.n_dropped);
    CHECK_EQ(ring.n_overflows, model.n_overflows);
    hf_ring_deinit(&ring);
  }
}

int main(void) {
  RUN(drop_oldest_hands_back_the_oldest_and_tells_it_first);
  RUN(drop_newest_hands_back_the_new_one_and_tells_it_at_its_place);
  RUN(each_run_of_losses_is_told_once);
  RUN(block_loses_nothing_and_grows);
  RUN(an_untold_loss_is_counted_only_and_its_run_ends_with_the_next_read);
  RUN(never_holds_more_than_its_limit_and_allocates_no_more);
  RUN(agrees_with_a_plain_array_under_random_pushes_and_pops);
  return hf_test_end(__FILE__);
}
