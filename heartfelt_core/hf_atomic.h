// SPDX-License-Identifier: MIT
// Atomics, with the memory order in each name. All in one place, so that a model checker can substitute its own types
// (tests/model/shim.h).
// Single words only; no atomic_thread_fence anywhere in the core, since sanitizers cannot see it.
#ifndef HF_ATOMIC_H
#define HF_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic int64_t hf_atomic_i64;
typedef _Atomic uint64_t hf_atomic_u64;
typedef _Atomic uint32_t hf_atomic_u32;
typedef _Atomic uintptr_t hf_atomic_ptr;

#define HF_LOAD_RLX(p) atomic_load_explicit((p), memory_order_relaxed)
#define HF_LOAD_ACQ(p) atomic_load_explicit((p), memory_order_acquire)
#define HF_LOAD_SC(p) atomic_load_explicit((p), memory_order_seq_cst)
#define HF_STORE_RLX(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define HF_STORE_REL(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define HF_STORE_SC(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)
#define HF_XCHG(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define HF_ADD_RLX(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define HF_ADD_SC(p, v) atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define HF_CAS_SC(p, expected, desired) \
  atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_seq_cst, memory_order_seq_cst)

// Keeps the compiler, but not the processor, from reordering.
#define HF_COMPILER_BARRIER() atomic_signal_fence(memory_order_seq_cst)

#endif
