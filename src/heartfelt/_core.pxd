# SPDX-License-Identifier: MIT
# The functions and classes of _core for the modules above it, which are not linked with the core. The functions take a
# hub as its pointer: see HotHub.
from libc.stdint cimport uint32_t, uint64_t

from hf_hub cimport HotHub, hf_clock, hf_hub, hf_past, hf_row


cdef class ManualClockBase:
    cdef hf_clock clock


cdef class Hub(HotHub):
    cdef ManualClockBase manual
    cdef readonly tuple _bells
    cdef list given_back
    cdef object __weakref__
    cdef uint64_t _touch(self, key, timeout, extra, disposable, int mode) except? 0
    cdef object _beat_one(self, key, timeout, extra, disposable, failure)
    cdef object _beat_sequence(self, keys, failure)


cdef object get_row(hf_hub *hub, object key, hf_row *row)
cdef uint32_t list_rows(hf_hub *hub, uint64_t *cursor, hf_row *rows, uint32_t most) noexcept
cdef object restore_key(hf_hub *hub, object key, const hf_past *past)
