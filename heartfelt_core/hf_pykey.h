// SPDX-License-Identifier: MIT
// Keys as Python objects: str, bytes and 64-bit int, of exactly these types. The one header that knows Python.
//
// Equal keys of one type are one key; keys of different types never are. Hashes are Python's own (cached in a str),
// salted by type and mixed, since an int's hash is the int. Nothing here runs Python code.
// Threads: any that may use Python objects.
#ifndef HF_PYKEY_H
#define HF_PYKEY_H

#include <Python.h>
#include <string.h>

#include "hf_shard.h"

#if defined(Py_GIL_DISABLED) != HF_PARALLEL
#error "HF_PARALLEL must be 1 for an interpreter without a GIL, and 0 for one with it; see setup.py"
#endif

typedef enum { HF_KEY_OK = 0, HF_KEY_TYPE, HF_KEY_RANGE, HF_KEY_ERROR } hf_key_status;

static inline uint64_t hf_key_mix(uint64_t h) {
  h *= UINT64_C(0x9e3779b97f4a7c15);
  return h ^ (h >> 32);
}

// HF_KEY_TYPE: not exactly a str, bytes or int. HF_KEY_RANGE: an int of more than 64 bits. HF_KEY_ERROR: Python has set
// an exception.
static inline hf_key_status hf_key_hash(PyObject *key, uint64_t *hash) {
  if (HF_LIKELY(PyUnicode_CheckExact(key))) {
#ifdef Py_GIL_DISABLED
    Py_hash_t h = _Py_atomic_load_ssize_relaxed(&((PyASCIIObject *)key)->hash);  // another thread may be the first
#else
    Py_hash_t h = ((PyASCIIObject *)key)->hash;
#endif
    if (HF_UNLIKELY(h == -1)) {
#if PY_VERSION_HEX < 0x030c0000
      if (PyUnicode_READY(key) < 0) return HF_KEY_ERROR;
#endif
      h = PyObject_Hash(key);
      if (h == -1) return HF_KEY_ERROR;
    }
    *hash = hf_key_mix((uint64_t)h);
    return HF_KEY_OK;
  }
  if (PyLong_CheckExact(key)) {
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(key, &overflow);
    if (overflow) return HF_KEY_RANGE;
    *hash = hf_key_mix(~(uint64_t)value);
    return HF_KEY_OK;
  }
  if (PyBytes_CheckExact(key)) {
    Py_hash_t h = PyObject_Hash(key);
    if (h == -1) return HF_KEY_ERROR;
    *hash = hf_key_mix((uint64_t)h ^ UINT64_C(0x6279746573));
    return HF_KEY_OK;
  }
  return HF_KEY_TYPE;
}

static inline uint64_t hf_key_hash_known(const void *key) {
  uint64_t hash = 0;
  hf_key_hash((PyObject *)(uintptr_t)key, &hash);  // cannot fail: it did not when the key joined
  return hash;
}

static inline bool hf_key_equal(const void *stored, const void *asked) {
  PyObject *a = (PyObject *)(uintptr_t)stored, *b = (PyObject *)(uintptr_t)asked;
  if (Py_TYPE(a) != Py_TYPE(b)) return false;
  if (PyUnicode_CheckExact(a)) {
    Py_ssize_t length = PyUnicode_GET_LENGTH(a);
    return length == PyUnicode_GET_LENGTH(b) && PyUnicode_KIND(a) == PyUnicode_KIND(b) &&
           memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), (size_t)length * (size_t)PyUnicode_KIND(a)) == 0;
  }
  if (PyBytes_CheckExact(a))
    return PyBytes_GET_SIZE(a) == PyBytes_GET_SIZE(b) &&
           memcmp(PyBytes_AS_STRING(a), PyBytes_AS_STRING(b), (size_t)PyBytes_GET_SIZE(a)) == 0;
  int overflow;
  return PyLong_AsLongLongAndOverflow(a, &overflow) == PyLong_AsLongLongAndOverflow(b, &overflow);
}

static inline void hf_object_retain(void *object) { Py_INCREF((PyObject *)object); }
static inline void hf_object_release(void *object) { Py_DECREF((PyObject *)object); }

static inline hf_object_ops hf_python_ops(void) {
  hf_object_ops ops = {
      .retain = hf_object_retain, .release = hf_object_release, .equal = hf_key_equal, .hash = hf_key_hash_known};
  return ops;
}

#endif
