// SPDX-License-Identifier: MIT
#include "hf_worker.h"

hf_status hf_worker_init(hf_worker *worker, hf_shard *shard, hf_guard *guard) {
  memset(worker, 0, sizeof *worker);
  worker->shard = shard;
  worker->guard = guard;
  worker->sleeps_until_ns = INT64_MIN;
  guard->sleepers[shard->index] = &worker->sleeper;
  return hf_sleeper_init(&worker->sleeper, shard->clock->kind);
}

static void sleep_until(hf_worker *worker, int64_t until_ns) {
  hf_lock *lock = &worker->shard->lock;
  worker->planned_ns = worker->sleeps_until_ns = until_ns;
  worker->cpu_ns = hf_thread_cpu_ns();
  hf_lock_release(lock);
  hf_sleeper_wait(&worker->sleeper, until_ns);
  hf_lock_acquire(lock);
  worker->sleeps_until_ns = INT64_MIN;
  worker->n_wakeups++;
}

// Files a stall if the worker did not run when it should have. Call before looking at anything that is due.
static void check_that_it_ran(hf_worker *worker, int64_t now_ns) {
  hf_shard *shard = worker->shard;
  if (worker->guard->kind == HF_GUARD_OFF || shard->n_watched == 0) return;
  if (now_ns <= worker->planned_ns || now_ns - worker->planned_ns <= hf_guard_tolerance(shard->shortest_ns)) return;
  hf_stall stall = {.start_ns = worker->ran_ns, .end_ns = now_ns};
  hf_shard_stalled(shard, stall);
  hf_guard_stalled(worker->guard, shard->index, stall, worker->planned_ns);
}

static void tell_what_was_moved(hf_worker *worker) {
  hf_shard *shard = worker->shard;
  uint64_t n_moved = shard->counters.n_moved - worker->n_moved_told;
  worker->n_moved_told += n_moved;
  bool wanted = hf_streams_want(shard->streams, HF_STALL);
  if (hf_guard_looked(worker->guard, shard->index, n_moved, wanted))
    hf_bell_ring(shard->streams->bells[hf_streams_route(shard->streams, HF_STALL)]);
}

// Sleeps, as nothing is due now.
static void rest(hf_worker *worker, int64_t now_ns) {
  hf_shard *shard = worker->shard;
  hf_guard *guard = worker->guard;
  int64_t until_ns = hf_heap_min(&shard->heap);
  bool guards = guard->kind != HF_GUARD_OFF && shard->n_watched > 0;
  if (guards) until_ns = hf_min_i64(until_ns, now_ns + hf_guard_tick(shard->shortest_ns));
  hf_guard_arm(guard, shard->index, guards);
  if (HF_LOAD_SC(&guard->looks_open)) tell_what_was_moved(worker);
  sleep_until(worker, until_ns);
}

// Waits until Python has run since the deadline that is due. The canary's beat wakes the worker.
static void wait_for_canary(hf_worker *worker, int64_t now_ns) {
  worker->asks_canary = true;
  hf_bell_ring(worker->guard->canary_bell);
  sleep_until(worker, now_ns + hf_guard_tick(worker->shard->shortest_ns));
  worker->asks_canary = false;
}

static void run(void *self) {
  hf_worker *worker = self;
  hf_shard *shard = worker->shard;
  const bool has_canary = worker->guard->kind == HF_GUARD_GIL;
  hf_lock_acquire(&shard->lock);
  worker->planned_ns = HF_NEVER;
  while (!worker->stopping) {
    int64_t now_ns = hf_clock_now(shard->clock), next_ns = hf_heap_min(&shard->heap);
    check_that_it_ran(worker, now_ns);
    worker->ran_ns = now_ns;
    int64_t until_ns = has_canary ? hf_min_i64(now_ns, HF_LOAD_SC(&worker->guard->canary_ns)) : now_ns;
    if (next_ns > now_ns) {
      rest(worker, now_ns);
    } else if (next_ns > until_ns) {
      wait_for_canary(worker, now_ns);
    } else {
      worker->planned_ns = now_ns;  // a step is short
      uint32_t n_verdicts = hf_shard_step(shard, until_ns, HF_WORKER_AHEAD_NS, until_ns);
      if (n_verdicts) hf_bell_ring(shard->streams->bells[hf_streams_route(shard->streams, HF_TIME_OUT)]);
      hf_lock_yield(&shard->lock);
    }
  }
  worker->cpu_ns = hf_thread_cpu_ns();
  hf_guard_arm(worker->guard, shard->index, false);
  hf_lock_release(&shard->lock);
}

hf_status hf_worker_start(hf_worker *worker) {
  hf_status status = hf_thread_start(&worker->thread, "heartfelt", run, worker);
  worker->started = status == HF_OK;
  return status;
}

void hf_worker_starved(hf_worker *worker, hf_stall stall, int64_t planned_ns) {
  hf_shard *shard = worker->shard;
  hf_lock_acquire(&shard->lock);
  if (shard->n_watched > 0) {
    hf_shard_stalled(shard, stall);
    hf_guard_stalled(worker->guard, shard->index, stall, planned_ns);
    hf_sleeper_wake(&worker->sleeper);
  }
  hf_lock_release(&shard->lock);
}

void hf_worker_hear_canary(hf_worker *worker) {
  hf_lock_acquire(&worker->shard->lock);
  if (worker->asks_canary) hf_sleeper_wake(&worker->sleeper);
  hf_lock_release(&worker->shard->lock);
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
