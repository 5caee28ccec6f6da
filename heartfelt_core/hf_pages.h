// SPDX-License-Identifier: MIT
// Zeroed memory, aligned to a cache line, for structures that grow with the number of keys. Large pieces lie in huge
// pages where the system has them, so that a random access to many keys finds its page in the processor's page table
// cache.
// Threads: any, each its own pages.
#ifndef HF_PAGES_H
#define HF_PAGES_H

#include <stddef.h>

typedef struct {
  void *start;       // aligned; NULL: no memory
  void *allocation;  // passed back to the system
  size_t mapped;     // bytes mapped, 0: from the C library's heap
} hf_pages;

#define HF_HUGE_PAGE ((size_t)2 << 20)

hf_pages hf_pages_get(size_t size);
void hf_pages_give_back(hf_pages pages);

#endif
