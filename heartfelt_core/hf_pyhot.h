// SPDX-License-Identifier: MIT
// The objects behind Hub and Heart as C sees them: what _hot.c reads on the hot path, and _core.pyx sets.
#ifndef HF_PYHOT_H
#define HF_PYHOT_H

#include "hf_hub.h"
#include "hf_pykey.h"

typedef struct {
  PyObject_HEAD hf_hub *hub;  // never NULL
} hf_hot_hub;

typedef struct {
  PyObject_HEAD hf_hub *hub;  // its owner's; the subclass keeps the owner
  hf_handle handle;
} hf_hot_heart;

#endif
