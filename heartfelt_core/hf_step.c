// SPDX-License-Identifier: MIT
// The work of a shard's worker: looks at the blocks that may be due, and takes verdicts.
//
// A verdict on a key whose beats take the hot way is taken in three moves, for a whole batch at once: DOOM every slot
// that looks due; make every beat visible that had not seen that (the heavy barrier, or seq_cst order); then look at
// each slot again, and set its word, by one exchange, either back to ALIVE or on to DEAD or LOST. See README.md, "The
// word that decides". Keys that are LOUD or LOST are beaten under the lock, which the worker holds.
#include "hf_shard.h"

// Orders by deadline; keys that are due at one time in the order of their slots.
static bool due_before(hf_due a, hf_due b) {
  return a.deadline_ns < b.deadline_ns || (a.deadline_ns == b.deadline_ns && a.slot < b.slot);
}

// Merge sort, bottom up.
static hf_due *sort_due(hf_due *due, hf_due *other, uint32_t n) {
  bool sorted = true;
  for (uint32_t i = 1; i < n && sorted; i++) sorted = due_before(due[i - 1], due[i]);
  if (sorted) return due;
  for (uint32_t width = 1; width < n; width *= 2) {
    for (uint32_t from = 0; from < n; from += 2 * width) {
      uint32_t middle = from + width < n ? from + width : n, end = from + 2 * width < n ? from + 2 * width : n;
      uint32_t left = from, right = middle;
      for (uint32_t to = from; to < end; to++)
        other[to] = left < middle && (right >= end || due_before(due[left], due[right])) ? due[left++] : due[right++];
    }
    hf_due *swap = due;
    due = other;
    other = swap;
  }
  return due;
}

static void count_missed(hf_shard *shard, hf_tie *tie, int64_t times) {
  tie->missed = hf_add_capped(tie->missed, (uint32_t)hf_min_i64(times, UINT32_MAX), UINT32_MAX);
  shard->counters.n_verdicts += (uint64_t)times;
}

// Skips deadlines of a LOST key whose verdict stays unread until `horizon_ns`, whatever happens: a reader will see only
// the last deadline up to there, so the ones before it are counted, not visited. True if there were any.
static bool skip_unseen(hf_shard *shard, uint32_t i, int64_t horizon_ns) {
  hf_slots *slots = &shard->slots;
  hf_tie *tie = hf_slots_tie(slots, i);
  int64_t deadline_ns = hf_slots_deadline(slots, i), timeout_ns = *hf_slots_timeout(slots, i);
  if (hf_slots_state(slots, i) != HF_LOST || !(tie->flags & HF_FLAG_PENDING)) return false;
  int64_t times = (horizon_ns - deadline_ns) / timeout_ns;
  if (times <= 0 || deadline_ns < hf_stalls_end(&slots->stalls)) return false;
  count_missed(shard, tie, times);
  *hf_slots_floor(slots, i) = deadline_ns + times * timeout_ns;
  return true;
}

// Whether a deadline passed in the last stall, as moved by the stalls before it.
static bool passed_in_last_stall(const hf_stalls *stalls, int64_t deadline_ns, int64_t timeout_ns) {
  int64_t counts_from_ns = hf_stalls_move_by(stalls, stalls->n - 1, deadline_ns - timeout_ns);
  return counts_from_ns + timeout_ns <= hf_stalls_end(stalls);
}

// Dooms the slots that look due, and returns the earliest deadline of the others. first_look: the first look at this
// block since the last stall.
static int64_t scan_block(hf_shard *shard, uint32_t block_index, int64_t now_ns, int64_t horizon_ns, bool first_look,
                          uint32_t *n_due) {
  hf_slots *slots = &shard->slots;
  const hf_block *block = hf_slots_block(slots, block_index);
  hf_slab *slab = hf_slots_slab(slots, block_index << HF_BLOCK_BITS);
  uint32_t first = hf_slot_in_slab(block_index << HF_BLOCK_BITS);
  int64_t next_ns = HF_NEVER;
  for (uint64_t bits = block->watched; bits; bits &= bits - 1) {
    uint32_t at = first + (uint32_t)hf_lowest_bit(bits);
    hf_hot *hot = &slab->hot[at];
    int64_t deadline_ns = hf_max_i64(HF_LOAD_RLX(&hot->beat_ns) + hot->timeout_ns, slab->floor_ns[at]);
    if (deadline_ns > now_ns) {
      next_ns = hf_min_i64(next_ns, deadline_ns);
      continue;
    }
    uint32_t i = (block_index << HF_BLOCK_BITS) + (uint32_t)hf_lowest_bit(bits);
    if (HF_UNLIKELY(slots->stalls.n)) {
      int64_t moved_ns = hf_slots_deadline(slots, i);
      if (moved_ns > now_ns) {
        shard->counters.n_moved += first_look && passed_in_last_stall(&slots->stalls, deadline_ns, hot->timeout_ns);
        next_ns = hf_min_i64(next_ns, moved_ns);
        continue;
      }
    }
    if (horizon_ns > now_ns && skip_unseen(shard, i, horizon_ns) && slab->floor_ns[at] > now_ns) {
      next_ns = hf_min_i64(next_ns, slab->floor_ns[at]);
      continue;
    }
    uint32_t word = HF_LOAD_RLX(&hot->word);
    if (hf_word_state(word) == HF_ALIVE)
      HF_STORE_SC(&hot->word, hf_word_make(hf_word_generation(word), HF_DOOMED));  // partner: a beat (hf_beat.h)
    shard->due[(*n_due)++].slot = i;
  }
  return next_ns;
}

// Call before the slot becomes PENDING: takes an unread verdict of an earlier life out of the timeout list, and counts
// it in the slot.
static void merge_earlier_verdict(hf_shard *shard, uint32_t i) {
  uint32_t note = hf_slots_note(&shard->slots, i);
  if (note == HF_NO_SLOT) return;
  hf_tie *note_tie = hf_slots_tie(&shard->slots, note);
  hf_tie_set_earlier(hf_slots_tie(&shard->slots, i), note_tie->missed);
  hf_timeout_list_unlink(&shard->slots, note);
  HF_STORE_RLX(&shard->n_pending, HF_LOAD_RLX(&shard->n_pending) - 1);
  hf_tie_set_owner(note_tie, HF_NO_SLOT);
  hf_tie_set_flag(note_tie, HF_FLAG_PENDING, false);
  note_tie->next = shard->trash_head;
  shard->trash_head = note;
}

// Records the verdict on slot i, which has missed its deadline. Returns the deadline that the verdict names, which is
// the last one passed.
static int64_t pass_verdict(hf_shard *shard, uint32_t i, int64_t beat_ns, int64_t deadline_ns, int64_t now_ns) {
  hf_slots *slots = &shard->slots;
  hf_cold *cold = hf_slots_cold(slots, i);
  hf_tie *tie = hf_slots_tie(slots, i);
  hf_state state = hf_slots_state(slots, i);
  int64_t timeout_ns = *hf_slots_timeout(slots, i), times = 1;
  if (state == HF_DEAD) {
    *hf_slots_floor(slots, i) = deadline_ns;
  } else {  // LOST: one timeout each, counted from deadline to deadline, so that nothing drifts
    times += (now_ns - deadline_ns) / timeout_ns;
    deadline_ns += (times - 1) * timeout_ns;
    *hf_slots_floor(slots, i) = deadline_ns + timeout_ns;
  }
  count_missed(shard, tie, times);
  cold->event_ns = now_ns;
  cold->verdict_beat_ns = beat_ns;
  if (tie->flags & HF_FLAG_PENDING) {  // a LOST key's earlier one, unread: one verdict for both, at the end of the list
    hf_timeout_list_unlink(slots, i);
  } else {
    merge_earlier_verdict(shard, i);
    hf_tie_set_flag(tie, HF_FLAG_PENDING, true);
    HF_STORE_RLX(&shard->n_pending, HF_LOAD_RLX(&shard->n_pending) + 1);
  }
  shard->counters.max_lateness_ns = hf_max_i64(shard->counters.max_lateness_ns, now_ns - deadline_ns);
  return deadline_ns;
}

// Looks a second time at a slot that looked due. True: the verdict is taken. False: *deadline_ns is the slot's next
// deadline.
static bool decide(hf_shard *shard, uint32_t i, int64_t now_ns, int64_t *deadline_ns) {
  hf_slots *slots = &shard->slots;
  hf_slab *slab = hf_slots_slab(slots, i);
  uint32_t at = hf_slot_in_slab(i);
  hf_atomic_u32 *word = &slab->hot[at].word;
  bool stays = !(slab->tie[at].flags & HF_FLAG_DISPOSABLE);
  hf_state state = hf_word_state(HF_LOAD_SC(word));
  int64_t beat_ns = HF_LOAD_SC(&slab->hot[at].beat_ns);  // partner: a beat (hf_beat.h)
  *deadline_ns = hf_slots_deadline_from(slots, i, beat_ns);
  bool due = *deadline_ns <= now_ns;
  if (state == HF_DOOMED || state == HF_ALIVE) {
    uint32_t generation = hf_word_generation(HF_LOAD_RLX(word));
    uint32_t doomed = hf_word_make(generation, HF_DOOMED);
    uint32_t after = hf_word_make(generation, !due ? HF_ALIVE : stays ? HF_LOST : HF_DEAD);
    if (!HF_CAS_SC(word, &doomed, after)) {  // partner: hf_hot_undoom; a beat took it back, and its time is there
      *deadline_ns = hf_slots_deadline(slots, i);
      return false;
    }
  } else if (due && state == HF_LOUD) {
    hf_slots_set_state(slots, i, stays ? HF_LOST : HF_DEAD);
  }
  if (!due) return false;
  if (stays) {
    shard->n_lost += state != HF_LOST;
  } else {
    hf_shard_unwatch(shard, i);
    shard->n_dead++;
  }
  *deadline_ns = pass_verdict(shard, i, beat_ns, *deadline_ns, now_ns);
  return true;
}

static uint32_t decide_all(hf_shard *shard, uint32_t n_due, int64_t now_ns) {
  hf_slots *slots = &shard->slots;
  uint32_t n_verdicts = 0;
  if (shard->config->light) hf_heavy_barrier();
  for (uint32_t n = 0; n < n_due; n++) {
    uint32_t i = shard->due[n].slot;
    int64_t deadline_ns;
    bool verdict = decide(shard, i, now_ns, &deadline_ns);
    if (verdict) shard->due[n_verdicts++] = (hf_due){.deadline_ns = deadline_ns, .slot = i};
    hf_block *block = hf_slots_block(slots, hf_slot_block(i));
    if (!verdict || hf_slots_state(slots, i) == HF_LOST)
      block->next_ns = hf_min_i64(block->next_ns, verdict ? *hf_slots_floor(slots, i) : deadline_ns);
  }
  const hf_due *sorted = sort_due(shard->due, shard->due_sorted, n_verdicts);
  for (uint32_t n = 0; n < n_verdicts; n++) hf_timeout_list_append(slots, sorted[n].slot);
  return n_verdicts;
}

uint32_t hf_shard_step(hf_shard *shard, int64_t now_ns, int64_t ahead_ns, int64_t horizon_ns) {
  hf_heap *heap = &shard->heap;
  hf_slots *slots = &shard->slots;
  uint32_t blocks[HF_STEP_BLOCKS], n_blocks = 0, n_due = 0, n_verdicts = 0;
  int64_t until_ns = now_ns > HF_NEVER - 1 - ahead_ns ? HF_NEVER - 1 : now_ns + ahead_ns;
  while (n_blocks < HF_STEP_BLOCKS && n_due < HF_STEP_VERDICTS && hf_heap_min(heap) <= until_ns) {
    uint32_t block = blocks[n_blocks++] = heap->entries[0].block;
    bool first_look = heap->entries[0].next_ns <= hf_stalls_end(&slots->stalls);
    hf_heap_remove(heap, slots, block);
    hf_slots_block(slots, block)->next_ns = scan_block(shard, block, now_ns, horizon_ns, first_look, &n_due);
  }
  if (n_due) n_verdicts = decide_all(shard, n_due, now_ns);
  for (uint32_t n = 0; n < n_blocks; n++)
    hf_heap_file(heap, slots, blocks[n], hf_slots_block(slots, blocks[n])->next_ns);
  shard->counters.n_visits += n_blocks;
  return n_verdicts;
}
