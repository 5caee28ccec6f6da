// SPDX-License-Identifier: MIT
// The cold functions of a shard: a key joins, beats, recovers, changes its terms, is removed. Beats without the lock:
// hf_beat.h.
#include "hf_life.h"

// Moves the unread verdict of slot i to slot `to`: its data and its place in the timeout list, but not its objects.
static void move_verdict(hf_slots *slots, uint32_t i, uint32_t to, int64_t deadline_ns) {
  hf_cold *from = hf_slots_cold(slots, i), *cold = hf_slots_cold(slots, to);
  cold->join_ns = from->join_ns;
  cold->event_ns = from->event_ns;
  cold->verdict_beat_ns = from->verdict_beat_ns;
  hf_slots_tie(slots, to)->missed = hf_slots_verdict_missed(slots, i);
  hf_slots_tie(slots, to)->flags = (hf_slots_tie(slots, i)->flags & (HF_FLAG_DISPOSABLE | HF_FLAG_PENDING)) & 0xfu;
  *hf_slots_timeout(slots, to) = *hf_slots_timeout(slots, i);
  *hf_slots_floor(slots, to) = deadline_ns;
  hf_timeout_list_replace(slots, i, to);
}

// Moves the unread verdict of a key that lives again to a slot of its own, a NOTE. That slot is reserved already.
static void part_from_verdict(hf_shard *shard, uint32_t i) {
  hf_slots *slots = &shard->slots;
  hf_cold *cold = hf_slots_cold(slots, i);
  hf_tie *tie = hf_slots_tie(slots, i);
  if (!(tie->flags & HF_FLAG_PENDING)) return;
  uint32_t note = hf_slots_take(slots);
  hf_cold *note_cold = hf_slots_cold(slots, note);
  move_verdict(slots, i, note, hf_slots_verdict_deadline(slots, i));
  HF_STORE_REL(&hf_slots_hot(slots, note)->key, (uintptr_t)hf_shard_retained(shard, hf_slots_key(slots, i)));
  note_cold->extra = hf_shard_retained(shard, cold->extra);
  hf_slots_set_state(slots, note, HF_NOTE);
  hf_tie_set_owner(hf_slots_tie(slots, note), i);
  hf_tie_set_note(tie, note);
  hf_tie_set_flag(tie, HF_FLAG_PENDING, false);
}

// Moves the unread verdict of an earlier life back from its NOTE to a key that no longer lives.
static void rejoin_verdict(hf_shard *shard, uint32_t i, hf_trash *trash) {
  hf_slots *slots = &shard->slots;
  hf_cold *cold = hf_slots_cold(slots, i);
  hf_tie *tie = hf_slots_tie(slots, i);
  uint32_t note = hf_slots_note(slots, i);
  hf_trash_add(trash, cold->extra);
  hf_trash_add(trash, hf_slots_key(slots, note));
  move_verdict(slots, note, i, *hf_slots_floor(slots, note));
  cold->extra = hf_slots_cold(slots, note)->extra;
  hf_tie_set_earlier(tie, 0);  // all of them are in `missed`
  hf_slots_give_back(slots, note);
}

// Beats at the exact time. The slot may have a later time: one by the coarse clock, rounded up, from the key's last
// beat or from the last key in this slot. A timeout that is short from now on would last too long by as much. The clock
// is read again after that time was loaded, so another thread's beat is not set back to before it was made. File the
// deadline afterwards.
static void beat_slot(hf_shard *shard, uint32_t i, int64_t now_ns) {
  hf_atomic_i64 *beat_ns = hf_slots_beat(&shard->slots, i);
  for (int64_t seen_ns = HF_LOAD_SC(beat_ns); seen_ns != now_ns;) {
    if (seen_ns > now_ns) {
      now_ns = hf_clock_now(shard->clock);
      if (seen_ns <= now_ns) break;
    }
    if (HF_CAS_SC(beat_ns, &seen_ns, now_ns)) break;  // partner: hf_hot_beat_checked; the worker waits for the lock
  }
  *hf_slots_floor(&shard->slots, i) = 0;
}

// Begins a life now. The slot has its key, timeout and flags already.
static void begin_life(hf_shard *shard, uint32_t i, int64_t now_ns, hf_trash *trash) {
  hf_cold *cold = hf_slots_cold(&shard->slots, i);
  cold->join_ns = now_ns;
  hf_slots_tie(&shard->slots, i)->missed = 0;
  beat_slot(shard, i, now_ns);
  hf_slots_set_state(&shard->slots, i, hf_life_live_state(shard));
  hf_life_watch(shard, i);
  hf_life_file_deadline(shard, i);
  shard->counters.n_joins++;
  hf_life_emit(shard, HF_JOIN, i, now_ns, trash);
  hf_life_emit(shard, HF_HEART_BEAT, i, now_ns, trash);
}

static hf_status join_new(hf_shard *shard, void *key, uint32_t tag, const hf_terms *terms, uint32_t *slot,
                          hf_trash *trash) {
  hf_status status = hf_life_new_slot(shard, key, tag, terms, slot, trash);
  if (status != HF_OK) return status;
  int64_t now_ns = hf_clock_now(shard->clock);
  // The last key of this slot may have left a later time: beats may round theirs up, and one may still be on its way.
  // It is not this key's. Release: a beat that sees this time sees the word that the last life ended with. Partner:
  // hf_hot_beat_checked (hf_beat.h).
  HF_STORE_REL(hf_slots_beat(&shard->slots, *slot), now_ns);
  begin_life(shard, *slot, now_ns, trash);
  hf_map_insert(&shard->map, &shard->slots, *slot);
  return HF_OK;
}

static hf_status rejoin(hf_shard *shard, uint32_t i, const hf_terms *terms, int mode, hf_trash *trash) {
  hf_cold *cold = hf_slots_cold(&shard->slots, i);
  bool own = (mode & HF_TOUCH_OWN_TERMS) != 0;
  int64_t timeout_ns = terms->timeout_ns ? terms->timeout_ns
                       : own             ? *hf_slots_timeout(&shard->slots, i)
                                         : shard->config->default_timeout_ns;
  if (timeout_ns == 0) return HF_NO_TIMEOUT;
  hf_status status = hf_life_reserve_slot(shard);
  if (status != HF_OK) return status;
  part_from_verdict(shard, i);
  if (!own) hf_tie_set_flag(hf_slots_tie(&shard->slots, i), HF_FLAG_DISPOSABLE, shard->config->disposable);
  hf_life_set_timeout(shard, i, timeout_ns);
  hf_trash_add(trash, cold->extra);
  cold->extra = NULL;
  hf_life_apply_terms(shard, i, terms, trash);
  shard->n_dead--;
  begin_life(shard, i, hf_clock_now(shard->clock), trash);
  return HF_OK;
}

static hf_status beat_watched(hf_shard *shard, uint32_t i, const hf_terms *terms, hf_trash *trash) {
  hf_tie *tie = hf_slots_tie(&shard->slots, i);
  hf_state was = hf_slots_state(&shard->slots, i);
  bool was_lost = was == HF_LOST;
  uint32_t missed = tie->missed;
  if (was_lost) {
    hf_status status = hf_life_reserve_slot(shard);
    if (status != HF_OK) return status;
    part_from_verdict(shard, i);
  }
  int64_t now_ns = hf_clock_now(shard->clock);
  hf_life_apply_terms(shard, i, terms, trash);
  beat_slot(shard, i, now_ns);
  hf_life_file_deadline(shard, i);
  if (was_lost) {
    tie->missed = missed;
    hf_life_emit(shard, HF_RECOVER, i, now_ns, trash);
    hf_slots_set_state(&shard->slots, i, hf_life_live_state(shard));
    shard->n_lost--;
    shard->counters.n_recoveries++;
    tie->missed = 0;
  } else if (was == HF_LOUD) {  // maybe only because of its floor, which is cleared now
    hf_slots_set_state(&shard->slots, i, hf_life_live_state(shard));
  }
  hf_life_emit(shard, HF_HEART_BEAT, i, now_ns, trash);
  return HF_OK;
}

static hf_status touch_slot(hf_shard *shard, uint32_t i, const hf_terms *terms, int mode, hf_trash *trash) {
  static const hf_terms no_terms = {.disposable = -1};
  hf_status status = HF_OK;
  if (hf_slots_state(&shard->slots, i) == HF_DEAD)
    status = rejoin(shard, i, terms, mode, trash);
  else if (mode & HF_TOUCH_BEAT)
    status = beat_watched(shard, i, mode & HF_TOUCH_TERMS_TO_JOIN ? &no_terms : terms, trash);
  if (status == HF_OK && (mode & HF_TOUCH_PIN)) hf_tie_set_flag(hf_slots_tie(&shard->slots, i), HF_FLAG_PINNED, true);
  return status;
}

hf_status hf_shard_touch(hf_shard *shard, void *key, uint32_t tag, const hf_terms *terms, int mode, uint64_t *id,
                         hf_trash *trash) {
  hf_shard_empty_trash(shard, trash);
  uint32_t i = hf_map_find(&shard->map, &shard->slots, key, tag, shard->config->ops.equal);
  hf_status status = HF_OK;
  if (i == HF_NO_SLOT) {
    status = join_new(shard, key, tag, terms, &i, trash);
    if (status == HF_OK && (mode & HF_TOUCH_PIN)) hf_tie_set_flag(hf_slots_tie(&shard->slots, i), HF_FLAG_PINNED, true);
  } else {
    status = touch_slot(shard, i, terms, mode, trash);
  }
  if (status == HF_OK && id) *id = hf_shard_slot_id(shard, i);
  return status;
}

hf_status hf_shard_touch_id(hf_shard *shard, uint64_t id, const hf_terms *terms, int mode, hf_trash *trash) {
  hf_shard_empty_trash(shard, trash);
  uint32_t i = hf_id_slot(id);
  if (i == HF_NO_SLOT || i >= shard->slots.n_touched) return HF_STALE_ID;
  uint32_t word = HF_LOAD_RLX(hf_slots_word(&shard->slots, i));
  hf_state state = hf_word_state(word);
  if (hf_word_generation(word) != hf_id_generation(id) || state == HF_FREE || state == HF_NOTE) return HF_STALE_ID;
  return touch_slot(shard, i, terms, mode, trash);
}

hf_status hf_shard_remove(hf_shard *shard, const void *key, uint32_t tag, hf_trash *trash) {
  hf_shard_empty_trash(shard, trash);
  hf_slots *slots = &shard->slots;
  uint32_t i = hf_map_find(&shard->map, &shard->slots, key, tag, shard->config->ops.equal);
  if (i == HF_NO_SLOT) return HF_NOT_WATCHED;
  hf_cold *cold = hf_slots_cold(slots, i);
  hf_tie *tie = hf_slots_tie(slots, i);
  bool was_watched = hf_slots_state(slots, i) != HF_DEAD;
  if (was_watched) {
    hf_life_emit(shard, HF_REMOVE_KEY, i, hf_clock_now(shard->clock), trash);
    shard->counters.n_removals++;
    *hf_slots_floor(slots, i) = hf_slots_verdict_deadline(slots, i);
    hf_shard_unwatch(shard, i);
  } else {
    shard->n_dead--;
  }
  if (hf_slots_note(slots, i) != HF_NO_SLOT) rejoin_verdict(shard, i, trash);
  if (tie->flags & HF_FLAG_PENDING) {
    // The verdict stays to be read, and the key stays in the map with it: if it joins and times out again, that is
    // still one waiting event.
    hf_slots_new_generation(slots, i, HF_DEAD);
    hf_tie_set_flag(tie, HF_FLAG_PINNED, false);
    shard->n_dead++;
  } else {
    hf_trash_add(trash, hf_slots_key(slots, i));
    hf_trash_add(trash, cold->extra);
    hf_shard_free_key(shard, i);
  }
  return was_watched ? HF_OK : HF_NOT_WATCHED;
}
