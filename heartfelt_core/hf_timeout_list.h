// SPDX-License-Identifier: MIT
// The shard's timeout list: the keys that timed out and whose verdict nobody has read yet, oldest verdict first. It is
// intrusive and doubly linked (circular, through hf_tie.next and hf_tie.prev, with slot 0 as its head): the slot itself
// is the entry. So a verdict takes no memory, cannot fail for want of it, and cannot be dropped.
//
// Invariants (hf_shard_check): a slot is in the list if and only if it is PENDING; a key is in it at most once, by its
// slot or by its NOTE.
// Cost: O(1) each. Threads: under the shard's lock.
#ifndef HF_TIMEOUT_LIST_H
#define HF_TIMEOUT_LIST_H

#include "hf_slot.h"

// The oldest entry, HF_NO_SLOT if the list is empty.
static inline uint32_t hf_timeout_list_head(const hf_slots *slots) { return hf_slots_tie(slots, HF_NO_SLOT)->next; }

static inline void hf_timeout_list_append(hf_slots *slots, uint32_t i) {
  hf_tie *head = hf_slots_tie(slots, HF_NO_SLOT), *tie = hf_slots_tie(slots, i);
  tie->next = HF_NO_SLOT;
  tie->prev = head->prev;
  hf_slots_tie(slots, head->prev)->next = i;
  head->prev = i;
}

static inline void hf_timeout_list_unlink(hf_slots *slots, uint32_t i) {
  hf_tie *tie = hf_slots_tie(slots, i);
  hf_slots_tie(slots, tie->prev)->next = tie->next;
  hf_slots_tie(slots, tie->next)->prev = tie->prev;
  tie->next = tie->prev = HF_NO_SLOT;
}

// Puts `other`, which is in no list, in the place of `i`.
static inline void hf_timeout_list_replace(hf_slots *slots, uint32_t i, uint32_t other) {
  hf_tie *tie = hf_slots_tie(slots, i);
  hf_slots_tie(slots, other)->next = tie->next;
  hf_slots_tie(slots, other)->prev = tie->prev;
  hf_slots_tie(slots, tie->prev)->next = other;
  hf_slots_tie(slots, tie->next)->prev = other;
  tie->next = tie->prev = HF_NO_SLOT;
}

#endif
