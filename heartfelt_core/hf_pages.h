// SPDX-License-Identifier: MIT
// Zeroed memory, aligned to a cache line, for what grows with the number of keys. Large pieces lie in huge pages where
// the system has them: a random access to many keys then finds its page in the processor's table of pages.
// Threads: any, each its own pages.
#ifndef HF_PAGES_H
#define HF_PAGES_H

#include <stddef.h>

typedef struct {
  void *start;       // aligned; NULL: no memory
  void *allocation;  // what to give back
  size_t mapped;     // bytes mapped, 0: from the C library's heap
} hf_pages;

#define HF_HUGE_PAGE ((size_t)2 << 20)

hf_pages hf_pages_get(size_t size);
void hf_pages_give_back(hf_pages pages);

#endif
