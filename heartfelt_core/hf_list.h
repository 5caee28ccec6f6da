// SPDX-License-Identifier: MIT
// The list of verdicts: intrusive, circular, doubly linked through the slots themselves, with slot 0 as its
// head. A verdict therefore costs no memory and cannot be dropped. O(1) each; under the shard's lock.
#ifndef HF_LIST_H
#define HF_LIST_H

#include "hf_slot.h"

static inline hf_link *hf_list_link(const hf_slots *slots, uint32_t i) { return &hf_slots_cold(slots, i)->link; }

// Slab 0 must exist; its zeroed head is an empty list already.
static inline uint32_t hf_list_head(const hf_slots *slots) {
  return HF_LOAD_RLX(&slots->n_slots) ? hf_list_link(slots, HF_NO_SLOT)->next : HF_NO_SLOT;
}

static inline void hf_list_append(hf_slots *slots, uint32_t i) {
  hf_link *head = hf_list_link(slots, HF_NO_SLOT), *link = hf_list_link(slots, i);
  link->next = HF_NO_SLOT;
  link->prev = head->prev;
  hf_list_link(slots, head->prev)->next = i;
  head->prev = i;
}

static inline void hf_list_unlink(hf_slots *slots, uint32_t i) {
  hf_link *link = hf_list_link(slots, i);
  hf_list_link(slots, link->prev)->next = link->next;
  hf_list_link(slots, link->next)->prev = link->prev;
  link->next = link->prev = HF_NO_SLOT;
}

// `other` takes the place of `i`, which is then in no list.
static inline void hf_list_replace(hf_slots *slots, uint32_t i, uint32_t other) {
  hf_link *link = hf_list_link(slots, i);
  *hf_list_link(slots, other) = *link;
  hf_list_link(slots, link->prev)->next = other;
  hf_list_link(slots, link->next)->prev = other;
  link->next = link->prev = HF_NO_SLOT;
}

#endif
