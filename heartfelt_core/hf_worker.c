// SPDX-License-Identifier: MIT
#include "hf_worker.h"

hf_status hf_worker_init(hf_worker *worker, hf_shard *shard) {
  memset(worker, 0, sizeof *worker);
  worker->shard = shard;
  worker->sleeps_until_ns = INT64_MIN;
  return hf_sleeper_init(&worker->sleeper, shard->clock->kind);
}

static void sleep_until(hf_worker *worker, int64_t until_ns) {
  hf_lock *lock = &worker->shard->lock;
  worker->sleeps_until_ns = until_ns;
  worker->cpu_ns = hf_thread_cpu_ns();
  hf_lock_release(lock);
  hf_sleeper_wait(&worker->sleeper, until_ns);
  hf_lock_acquire(lock);
  worker->sleeps_until_ns = INT64_MIN;
  worker->n_wakeups++;
}

static void run(void *self) {
  hf_worker *worker = self;
  hf_shard *shard = worker->shard;
  hf_lock_acquire(&shard->lock);
  while (!worker->stopping) {
    int64_t now_ns = hf_clock_now(shard->clock), next_ns = hf_heap_min(&shard->heap);
    if (next_ns > now_ns) {
      sleep_until(worker, next_ns);
      continue;
    }
    uint32_t n_verdicts = hf_shard_step(shard, now_ns, HF_WORKER_AHEAD_NS, now_ns);
    if (n_verdicts) hf_bell_ring(shard->streams->bells[hf_streams_route(shard->streams, HF_TIME_OUT)]);
    hf_lock_yield(&shard->lock);
  }
  worker->cpu_ns = hf_thread_cpu_ns();
  hf_lock_release(&shard->lock);
}

hf_status hf_worker_start(hf_worker *worker) {
  hf_status status = hf_thread_start(&worker->thread, "heartfelt", run, worker);
  worker->started = status == HF_OK;
  return status;
}

void hf_worker_stop(hf_worker *worker) {
  hf_lock_acquire(&worker->shard->lock);
  worker->stopping = true;
  hf_sleeper_wake(&worker->sleeper);
  hf_lock_release(&worker->shard->lock);
}

void hf_worker_join(hf_worker *worker) {
  if (worker->started) hf_thread_join(&worker->thread);
  worker->started = false;
}

void hf_worker_deinit(hf_worker *worker) { hf_sleeper_deinit(&worker->sleeper); }
