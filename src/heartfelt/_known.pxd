# SPDX-License-Identifier: MIT
# Declarations of _known.pyx for the other compiled modules. What is inline here is what each beat does.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t
from libc.string cimport memcmp

cdef enum:
    RING = 120
    # A gap in 16 bits: hundredths of a second in 13 bits, how often they were divided by 32 in two, and MISSED.
    GAP = 0x1FFF
    SCALE_BITS = 13
    MOST_SCALE = 3
    MISSED = 0x8000


cdef class Hot:
    # The fields that each beat touches lie together, in as few cache lines as possible.
    cdef public object lease, late, id
    cdef public str via, peer
    cdef public int64_t last_beat_ms, beats
    cdef public bint plain
    cdef public int lag_to_tell_ms
    # Its text, if Texts knows it: `own`, into which `shared` belongs at `split`. head_size: of a text that ends with
    # b"\0}", the size before that; -1: of another one, or none.
    cdef bytes own, shared
    cdef int32_t split, head_size
    cdef Hot follower
    cdef int64_t lag  # -1: unknown
    cdef int64_t sent, sent_last  # the newest times that a beat carried, as it carried them; -1: none
    cdef int64_t skews[3]  # of the beats that carried a time, the newest last
    cdef int8_t n_skews
    cdef uint8_t ring_size
    cdef uint16_t *ring  # the gap before beat n is at n % RING; those from ring_size on are not noted yet, and 0
    cdef public int64_t since_ms, first_seen_ms
    cdef int64_t last_number  # -1: none
    cdef PyObject *older  # in the order in which Texts has learned them; not owned
    cdef PyObject *newer

    cdef int grow_ring(self, int64_t at) except -1


cdef struct Entry:
    PyObject *hot  # owned; NULL: the place is free
    Py_hash_t hash


cdef class Texts:
    cdef Entry *entries
    cdef size_t capacity
    cdef Py_ssize_t n
    cdef dict users
    cdef PyObject *oldest
    cdef PyObject *newest
    cdef readonly int64_t n_bytes

    cdef Hot find(self, bytes key)
    cdef bytes share(self, bytes part)
    cdef int unshare(self, bytes part) except -1
    cdef size_t place_of(self, Hot hot) noexcept
    cdef int grow(self) except -1
    cdef void link(self, Hot hot) noexcept
    cdef void unlink(self, Hot hot) noexcept


cdef inline bint has_head(Hot hot, const char *at, Py_ssize_t left) noexcept:
    """Whether the bytes begin with the head of its text, and go on after it."""
    cdef Py_ssize_t size = hot.head_size, split = hot.split, shared
    cdef const char *own
    if size < 0 or left <= size:
        return False
    own = PyBytes_AS_STRING(hot.own)
    if split < 0:
        return memcmp(at, own, size) == 0
    shared = PyBytes_GET_SIZE(hot.shared)
    # what differs first: what is its own
    return (memcmp(at, own, split) == 0
            and memcmp(at + split + shared, own + split, size - split - shared) == 0
            and memcmp(at + split, PyBytes_AS_STRING(hot.shared), shared) == 0)


cdef inline uint16_t gap_of(int64_t gap_ms) noexcept:
    cdef int scale = 0
    if gap_ms < 0:
        return 0
    gap_ms //= 10
    while gap_ms > GAP:
        if scale == MOST_SCALE:
            gap_ms = GAP
            break
        gap_ms >>= 5
        scale += 1
    return <uint16_t>(gap_ms | scale << SCALE_BITS)


cdef inline int put_gap(Hot hot, int64_t n, int64_t gap_ms) except -1:
    cdef int64_t at = n % RING
    if at >= hot.ring_size:
        hot.grow_ring(at)
    hot.ring[at] = gap_of(gap_ms)
    return 0


cdef inline void put_times(Hot hot, int64_t time_ms, int64_t last_ms, int64_t lag_ms, int64_t now_ms) noexcept:
    if lag_ms >= 0:
        hot.lag = lag_ms
    if time_ms < 0:
        return
    hot.sent = time_ms
    hot.sent_last = last_ms
    hot.skews[0] = hot.skews[1]
    hot.skews[1] = hot.skews[2]
    hot.skews[2] = time_ms - now_ms
    if hot.n_skews < 3:
        hot.n_skews = 1 if hot.n_skews < 0 else hot.n_skews + 1


cdef inline object told(int64_t value):
    return None if value < 0 else value
