# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint32_t

from hf_hub cimport hf_event


cdef class Event:
    cdef readonly object type, key, extra
    cdef readonly bint disposable
    cdef readonly uint32_t missed
    cdef int64_t timeout_ns, join_ns, beat_ns, deadline_ns, event_ns


cdef double seconds(int64_t ns) noexcept
cdef object taken(void *owned)
cdef Event event_from(hf_event *raw, int64_t offset_ns)
