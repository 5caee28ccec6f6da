// SPDX-License-Identifier: MIT
// The list of verdicts: intrusive, circular, doubly linked through the slots themselves, with slot 0 as its
// head. A verdict therefore costs no memory and cannot be dropped. O(1) each; under the shard's lock.
#ifndef HF_LIST_H
#define HF_LIST_H

#include "hf_slot.h"

static inline uint32_t hf_list_head(const hf_slots *slots) { return hf_slots_tie(slots, HF_NO_SLOT)->next; }

static inline void hf_list_append(hf_slots *slots, uint32_t i) {
  hf_tie *head = hf_slots_tie(slots, HF_NO_SLOT), *tie = hf_slots_tie(slots, i);
  tie->next = HF_NO_SLOT;
  tie->prev = head->prev;
  hf_slots_tie(slots, head->prev)->next = i;
  head->prev = i;
}

static inline void hf_list_unlink(hf_slots *slots, uint32_t i) {
  hf_tie *tie = hf_slots_tie(slots, i);
  hf_slots_tie(slots, tie->prev)->next = tie->next;
  hf_slots_tie(slots, tie->next)->prev = tie->prev;
  tie->next = tie->prev = HF_NO_SLOT;
}

// `other` takes the place of `i`, which is then in no list.
static inline void hf_list_replace(hf_slots *slots, uint32_t i, uint32_t other) {
  hf_tie *tie = hf_slots_tie(slots, i);
  hf_slots_tie(slots, other)->next = tie->next;
  hf_slots_tie(slots, other)->prev = tie->prev;
  hf_slots_tie(slots, tie->prev)->next = other;
  hf_slots_tie(slots, tie->next)->prev = other;
  tie->next = tie->prev = HF_NO_SLOT;
}

#endif
