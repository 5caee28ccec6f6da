# SPDX-License-Identifier: MIT
"""Keeps what the next beat of an instance needs: the fields that it touches, and the text that the last one had.

Most of a heartbeat's text is the same for many instances: the plugins. So that part is kept once, however many texts
have it, and only the rest of each text is kept with its instance. There is no copy of a text as the key of a table: a
table of instances finds the text by its hash, and compares it with what the instance has.

All of it belongs to one thread, the event loop's. Texts is in no cycle of references: instances do not refer to it.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyObject_Hash
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport INT32_MAX, int64_t, uint16_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memset

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void *one)

cdef enum:
    LAG_TO_TELL_MS = 1000
    LEAST_SHARED = 64  # a shorter part costs less as a copy
    OVERHEAD = 120  # of a text that is known: its object, its places in the table and in the instance
    OVERHEAD_SHARED = 200

cdef bytes _PLUGINS = b'"pluginInfoMap":{'


cdef class Hot:
    """The fields that a beat of an instance reads and writes. The base of the registry's Instance."""

    def __cinit__(self, *args, **options):
        self.lag = self.sent = self.sent_last = self.last_number = self.head_size = self.split = -1
        self.lag_to_tell_ms = LAG_TO_TELL_MS

    def __dealloc__(self):
        free(self.ring)

    cdef int grow_ring(self, int64_t at) except -1:
        # 8, 24, 56, 120: an instance that has beaten a few times needs little
        cdef int size = 8
        cdef void *larger
        while size <= at:
            size = 2 * size + 8
        larger = realloc(self.ring, size * sizeof(uint16_t))
        if larger is NULL:
            raise MemoryError
        self.ring = <uint16_t *> larger
        memset(self.ring + self.ring_size, 0, (size - self.ring_size) * sizeof(uint16_t))
        self.ring_size = size
        return 0

    def note_times(self, time_ms, last_time_ms, lag_ms, int64_t now_ms):
        """Notes the times and the lag that a beat carried; None: it carried none."""
        put_times(self, _given(time_ms), _given(last_time_ms), _given(lag_ms), now_ms)

    def restore_times(self, skew_ms, lag_ms):
        """Restores the skew and the lag that were last known, until a beat carries others."""
        self.n_skews = 0
        if skew_ms is not None:
            self.skews[2] = skew_ms
            self.n_skews = -1
        self.lag = -1 if lag_ms is None else lag_ms

    @property
    def number(self):
        """The last beat's number, as the agent counts; None: it told none."""
        return told(self.last_number)

    @number.setter
    def number(self, value):
        self.last_number = _given(value)

    @property
    def lag_ms(self):
        return told(self.lag)

    @property
    def agent_time_ms(self):
        return told(self.sent)

    @property
    def agent_last_time_ms(self):
        return told(self.sent_last)

    @property
    def skew_ms(self):
        # The median of three, so that one beat with a long delay does not show.
        cdef int64_t a = self.skews[0], b = self.skews[1], c = self.skews[2]
        if self.n_skews == 0:
            return None
        if self.n_skews == 2:
            return (b + c) // 2
        if self.n_skews < 3:
            return c
        return max(min(a, b), min(max(a, b), c))

    def gap_at(self, int64_t n):
        """(hundredths of a second between the beats n - 1 and n, whether one was missed in between)."""
        cdef int64_t at = n % RING
        cdef uint16_t value = self.ring[at] if at < self.ring_size else 0
        cdef int64_t hundredths = value & GAP
        return hundredths << 5 * ((value & ~MISSED) >> SCALE_BITS), (value & MISSED) != 0

    def note_gap(self, int64_t n, int64_t gap_ms):
        put_gap(self, n, gap_ms)

    def note_missed(self, int64_t n):
        cdef int64_t at = n % RING
        if at >= self.ring_size:
            self.grow_ring(at)
        self.ring[at] |= MISSED


cdef int64_t _given(object value) except? -1:
    return -1 if value is None else value


cdef bint _has_text(Hot hot, const char *at, Py_ssize_t size) noexcept:
    cdef const char *own = PyBytes_AS_STRING(hot.own)
    cdef Py_ssize_t n_own = PyBytes_GET_SIZE(hot.own), split = hot.split, n_shared
    if split < 0:
        return n_own == size and memcmp(own, at, size) == 0
    n_shared = PyBytes_GET_SIZE(hot.shared)
    return (n_own + n_shared == size
            and memcmp(at, own, split) == 0
            and memcmp(at + split + n_shared, own + split, n_own - split) == 0
            and memcmp(at + split, PyBytes_AS_STRING(hot.shared), n_shared) == 0)


cdef Py_ssize_t _shared_part(bytes key, Py_ssize_t *begin):
    """The size of the part with the plugins, 0 if there is none; any part would do, since whole texts are compared."""
    cdef const char *at = PyBytes_AS_STRING(key)
    cdef const char *end = at + PyBytes_GET_SIZE(key)
    cdef Py_ssize_t found = key.find(_PLUGINS)
    cdef int depth = 0
    cdef bint quoted = False
    if found < 0:
        return 0
    begin[0] = found
    at += found + PyBytes_GET_SIZE(_PLUGINS) - 1
    while at < end:
        if quoted:
            if at[0] == c'\\':
                at += 1
            elif at[0] == c'"':
                quoted = False
        elif at[0] == c'"':
            quoted = True
        elif at[0] == c'{':
            depth += 1
        elif at[0] == c'}':
            depth -= 1
            if depth == 0:
                found = at + 1 - PyBytes_AS_STRING(key) - found
                return found if found >= LEAST_SHARED else 0
        at += 1
    return 0


@cython.final
cdef class Texts:
    """The texts of heartbeats by which instances are known, at most one of each instance. O(1); n_bytes: their memory.

    A text is that of a beat without its volatile part, for which there is a NUL.
    """

    def __cinit__(self):
        self.users = {}

    def __dealloc__(self):
        cdef size_t k
        for k in range(self.capacity):
            if self.entries[k].hot is not NULL:
                Py_DECREF(<object> self.entries[k].hot)
        free(self.entries)

    def __len__(self):
        return self.n

    def __contains__(self, bytes text not None):
        return self.find(text) is not None

    def get(self, bytes text not None):
        """The instance with this text, or None."""
        return self.find(text)

    def learn(self, bytes text not None, Hot hot not None):
        """Replaces the text of an instance. Another instance that had this text has none now."""
        cdef Hot other = self.find(text)
        cdef Py_ssize_t begin = 0, n_shared, size = PyBytes_GET_SIZE(text)
        cdef Py_hash_t hash = PyObject_Hash(text)
        cdef size_t k
        if other is not None:
            self.forget(other)
        self.forget(hot)
        if size > INT32_MAX:
            return
        if 3 * self.n >= 2 * <Py_ssize_t> self.capacity:
            self.grow()
        n_shared = _shared_part(text, &begin)
        hot.own, hot.shared, hot.split = text, None, -1
        if n_shared:
            hot.own = text[:begin] + text[begin + n_shared:]
            hot.shared = self.share(text[begin:begin + n_shared])
            hot.split = begin
        hot.head_size = size - 2 if text.endswith(b"\0}") else -1
        if hot.split > hot.head_size - n_shared:  # the plugins are behind the volatile part
            hot.head_size = -1
        k = <size_t> hash & (self.capacity - 1)
        while self.entries[k].hot is not NULL:
            k = (k + 1) & (self.capacity - 1)
        Py_INCREF(hot)
        self.entries[k].hot, self.entries[k].hash = <PyObject *> hot, hash
        self.n += 1
        self.n_bytes += PyBytes_GET_SIZE(hot.own) + OVERHEAD
        self.link(hot)

    def forget(self, Hot hot not None):
        """Forgets the text of an instance, if it has one."""
        cdef size_t k, gap, mask = self.capacity - 1, home
        if hot.own is None:
            return
        gap = self.place_of(hot)
        k = gap
        while True:  # moves those back that would not be found behind a free place
            k = (k + 1) & mask
            if self.entries[k].hot is NULL:
                break
            home = <size_t> self.entries[k].hash & mask
            if ((k - home) & mask) >= ((k - gap) & mask):
                self.entries[gap] = self.entries[k]
                gap = k
        self.entries[gap].hot = NULL
        self.n -= 1
        self.n_bytes -= PyBytes_GET_SIZE(hot.own) + OVERHEAD
        if hot.shared is not None:
            self.unshare(hot.shared)
        self.unlink(hot)
        hot.own = hot.shared = None
        hot.split = hot.head_size = -1
        hot.follower = None
        Py_DECREF(hot)

    def forget_oldest(self):
        """Forgets the text that was learned first. There must be one."""
        self.forget(<Hot> self.oldest)

    def text_of(self, Hot hot not None):
        """The text of an instance, or None."""
        if hot.own is None or hot.split < 0:
            return hot.own
        return hot.own[:hot.split] + hot.shared + hot.own[hot.split:]

    cdef bytes share(self, bytes part):
        cdef list known
        known = self.users.get(part)
        if known is None:
            known = self.users[part] = [part, 0]
            self.n_bytes += PyBytes_GET_SIZE(part) + OVERHEAD_SHARED
        known[1] += 1
        return known[0]

    cdef int unshare(self, bytes part) except -1:
        cdef list known = self.users[part]
        known[1] -= 1
        if not known[1]:
            del self.users[part]
            self.n_bytes -= PyBytes_GET_SIZE(part) + OVERHEAD_SHARED
        return 0

    cdef Hot find(self, bytes key):
        cdef Py_hash_t hash
        cdef size_t k, mask
        if not self.n:
            return None
        hash, mask = PyObject_Hash(key), self.capacity - 1
        k = <size_t> hash & mask
        while self.entries[k].hot is not NULL:
            if self.entries[k].hash == hash:
                hot = <Hot> self.entries[k].hot
                if _has_text(hot, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)):
                    return hot
            k = (k + 1) & mask
        return None

    cdef size_t place_of(self, Hot hot) noexcept:
        cdef size_t k = <size_t> PyObject_Hash(self.text_of(hot)) & (self.capacity - 1)
        while self.entries[k].hot is not <PyObject *> hot:
            k = (k + 1) & (self.capacity - 1)
        return k

    cdef int grow(self) except -1:
        cdef size_t k, j, capacity = 2 * self.capacity if self.capacity else 64
        cdef Entry *entries = <Entry *> calloc(capacity, sizeof(Entry))
        if entries is NULL:
            raise MemoryError
        for k in range(self.capacity):
            if self.entries[k].hot is not NULL:
                j = <size_t> self.entries[k].hash & (capacity - 1)
                while entries[j].hot is not NULL:
                    j = (j + 1) & (capacity - 1)
                entries[j] = self.entries[k]
        free(self.entries)
        self.entries, self.capacity = entries, capacity
        return 0

    cdef void link(self, Hot hot) noexcept:
        hot.older, hot.newer = self.newest, NULL
        if self.newest is NULL:
            self.oldest = <PyObject *> hot
        else:
            (<Hot> self.newest).newer = <PyObject *> hot
        self.newest = <PyObject *> hot

    cdef void unlink(self, Hot hot) noexcept:
        if hot.older is NULL:
            self.oldest = hot.newer
        else:
            (<Hot> hot.older).newer = hot.newer
        if hot.newer is NULL:
            self.newest = hot.older
        else:
            (<Hot> hot.newer).older = hot.older
        hot.older = hot.newer = NULL


def untrack(one):
    """Keeps the garbage collector from visiting an object, which must be in no cycle of references. Returns it.

    Hundreds of thousands of objects that live for long would make each full collection take half a second.
    """
    PyObject_GC_UnTrack(<void *> one)
    return one
