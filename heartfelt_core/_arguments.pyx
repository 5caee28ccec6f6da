# SPDX-License-Identifier: MIT
"""Checks of what a call passes to a hub: a key and its identity, a timeout, terms. Every refusal is in _checks.py."""
from libc.math cimport llrint
from libc.stdint cimport int64_t, uint64_t

from hf_hub cimport HF_KEY_RANGE, HF_KEY_TYPE, hf_key_hash, hf_key_status

from heartfelt._checks import duration_ns, plain_key, shown


cdef int64_t timeout_ns_of(object value) except -1:
    """A timeout in ns. The plain cases are converted here; the rest, and every refusal, in Python."""
    cdef double value_s
    if type(value) is float:
        value_s = value
        if 1e-9 <= value_s <= 1e9:
            return llrint(value_s * 1e9)
    return duration_ns(value, "timeout")


cdef int64_t check_terms(object timeout, object disposable) except -1:
    """The timeout in ns, 0 for None. Raises TypeError or ConfigError for a value that either of them cannot have."""
    if disposable is not None and type(disposable) is not bool:
        raise TypeError(f"disposable must be True or False, not {shown(disposable)}")
    return 0 if timeout is None else timeout_ns_of(timeout)


cdef object converted_key(object key, hf_key_status status, uint64_t *hash):
    """The key as it is stored, and its hash, where hf_key_hash did not take it as it is."""
    if status == HF_KEY_TYPE:
        key = plain_key(key)
        status = hf_key_hash(key, hash)
    if status == HF_KEY_RANGE:
        raise TypeError(f"an int key must fit 64 bits (-2**63 to 2**63 - 1): {shown(key)}; use str(key)")
    return key
