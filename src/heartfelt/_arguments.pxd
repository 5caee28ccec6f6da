# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint64_t

from hf_hub cimport HF_KEY_OK, hf_key_hash, hf_key_status


cdef int64_t timeout_ns_of(object value) except -1
cdef int64_t check_terms(object timeout, object disposable) except -1
cdef object converted_key(object key, hf_key_status status, uint64_t *hash)


cdef inline object hashed_key(object key, uint64_t *hash):
    """The key as it is stored, and its hash."""
    cdef hf_key_status status = hf_key_hash(key, hash)
    return key if status == HF_KEY_OK else converted_key(key, status, hash)
