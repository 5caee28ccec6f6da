// SPDX-License-Identifier: MIT
// The C structs of Hub and Heart objects, which _hot.c reads on the hot path and the Cython modules set; and the beats
// of many Python keys.
#ifndef HF_PYHOT_H
#define HF_PYHOT_H

#include "hf_beat.h"
#include "hf_pykey.h"

typedef struct {
  PyObject_HEAD hf_hub *hub;  // never NULL
} hf_hot_hub;

typedef struct {
  PyObject_HEAD hf_hub *hub;  // its owner's; the subclass keeps the owner
  hf_handle handle;
} hf_hot_heart;

// Beats up to HF_BEAT_GROUP keys. Returns a bit for each that is for the cold method. Runs no Python code.
static inline uint64_t hf_py_beat_group(hf_hub *hub, PyObject *const *keys, uint32_t n) {
  int64_t now_ns = hf_hub_beat_time(hub);
  uint64_t left = hf_hub_beat_hinted(hub, (const void *const *)keys, n, now_ns), cold = 0;
  void *objects[HF_BEAT_GROUP];
  uint64_t hashes[HF_BEAT_GROUP];
  uint32_t places[HF_BEAT_GROUP], n_left = 0;
  for (; left; left &= left - 1) {
    uint32_t k = places[n_left] = (uint32_t)hf_lowest_bit(left);
    objects[n_left] = keys[k];
    if (HF_LIKELY(hf_key_hash(keys[k], &hashes[n_left]) == HF_KEY_OK)) {
      n_left++;
    } else {
      PyErr_Clear();  // the cold method raises it again
      cold |= UINT64_C(1) << k;
    }
  }
  if (n_left == 0) return cold;
  left = hf_hub_beat_hashed(hub, objects, hashes, n_left, hf_key_equal, now_ns);
  for (; left; left &= left - 1) cold |= UINT64_C(1) << places[hf_lowest_bit(left)];
  return cold;
}

#endif
