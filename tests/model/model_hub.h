// SPDX-License-Identifier: MIT
// What scenarios of a whole hub share: one shard, its real worker on the model's clock, disposable keys.
#ifndef HF_MODEL_HUB_H
#define HF_MODEL_HUB_H

#include "model_world.h"

enum { HUB_TIMEOUT = 5000000 };
static hf_hub *hub;
static hf_bell bells[HF_N_STREAMS];

static inline void model_hub_init(void) {
  model_gil_init();
  model_owners = 0;
  memset(bells, 0, sizeof bells);
  hf_hub_config config = {.n_shards = 1,
                          .default_timeout_ns = HUB_TIMEOUT,
                          .disposable = true,
                          .subscribed = HF_MASK(HF_TIME_OUT),
                          .ring_limit = 16,
                          .clock_kind = HF_CLOCK_MONOTONIC,
                          .ops = model_ops};
  for (int s = 0; s < HF_N_STREAMS; s++) {
    hf_bell_init(&bells[s]);
    config.bells[s] = &bells[s];
  }
  CHECK(hf_hub_create(&config, &hub) == HF_OK);
}

static inline void model_hub_end(void) {
  for (int s = 0; s < HF_N_STREAMS; s++) hf_bell_deinit(&bells[s]);
  CHECK(model_owners == 0);
  model_gil_end();
}

static inline hf_status model_hub_touch(int key) {
  model_gil_take();
  hf_status status =
      hf_hub_touch(hub, &model_keys[key], model_hash(&model_keys[key]), &model_no_terms, HF_TOUCH_BEAT, NULL);
  model_gil_leave();
  return status;
}
static inline hf_status model_hub_beat(int key) {
  model_gil_take();
  hf_status status =
      hf_hub_beat(hub, &model_keys[key], model_hash(&model_keys[key]), model_equal, hf_hub_beat_time(hub));
  model_gil_leave();
  return status;
}

// What waits for readers. Returns how many timeouts it was; *n_events: in how many events.
static inline uint64_t model_hub_drain(uint32_t *n_events) {
  hf_event events[4];
  uint64_t n_missed = 0;
  model_gil_take();
  *n_events = hf_hub_drain(hub, HF_TO_READERS, events, 4);
  for (uint32_t n = 0; n < *n_events; n++) {
    CHECK(events[n].type == HF_TIME_OUT && events[n].key != NULL);
    CHECK(events[n].deadline_ns >= events[n].beat_ns + HUB_TIMEOUT);
    CHECK(events[n].event_ns >= events[n].deadline_ns);
    n_missed += events[n].missed;
    model_release(events[n].key);
  }
  model_gil_leave();
  return n_missed;
}

#endif
