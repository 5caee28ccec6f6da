// SPDX-License-Identifier: MIT
#include "hf_pages.h"

#include <stdlib.h>

#include "hf_base.h"

#if defined(__linux__)
#include <sys/mman.h>

// Maps a large piece by itself, so that it goes back to the system when it is given back: the old table of a map would
// leave a hole in the heap that nothing fits.
#define OWN_MAPPING ((size_t)64 << 10)
static hf_pages get_mapped(size_t size) {
  void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return (hf_pages){0};
  return (hf_pages){.start = mapped, .allocation = mapped, .mapped = size};
}

static hf_pages get_huge(size_t size) {
  size = (size + HF_HUGE_PAGE - 1) / HF_HUGE_PAGE * HF_HUGE_PAGE;
  // Maps more than is needed, so that it can begin at the boundary of a huge page, and unmaps the rest at once.
  char *mapped = mmap(NULL, size + HF_HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return (hf_pages){0};
  size_t before = -(uintptr_t)mapped % HF_HUGE_PAGE;
  if (before) munmap(mapped, before);
  if (before < HF_HUGE_PAGE) munmap(mapped + before + size, HF_HUGE_PAGE - before);
  madvise(mapped + before, size, MADV_HUGEPAGE);  // a request: without huge pages it is only slower
  return (hf_pages){.start = mapped + before, .allocation = mapped + before, .mapped = size};
}
#endif

hf_pages hf_pages_get(size_t size) {
#if defined(__linux__)
  if (size >= HF_HUGE_PAGE) return get_huge(size);
  if (size >= OWN_MAPPING) return get_mapped(size);
#endif
  void *allocation = calloc(1, size + HF_CACHE_LINE);
  if (!allocation) return (hf_pages){0};
  return (hf_pages){.start = (void *)hf_align_to_line(allocation), .allocation = allocation};
}

void hf_pages_give_back(hf_pages pages) {
#if defined(__linux__)
  if (pages.mapped) {
    munmap(pages.allocation, pages.mapped);
    return;
  }
#endif
  free(pages.allocation);
}
