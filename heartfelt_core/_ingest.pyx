# SPDX-License-Identifier: MIT
"""The monitor's hot path: renews instances whose beats say nothing new, many at a time, without an object for each.

A heartbeat's text is its head, which names the instance and its metadata, and a tail of the four fields that change
with each beat (src/heartfelt/wire/fields.py). A head that was parsed once is known; `Scan` recognizes it by comparing
bytes. Senders of lists name the same instances in the same order each time, so the head that followed last time is
tried first, and only if that fails is the head looked up.

All arguments of a call belong to one thread, the event loop's.

Nothing here decides: a beat that is not the plain case (it changes a state, is a first one, or each 16th) is returned.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy

from heartfelt._known cimport Hot, Texts, has_head, put_gap, put_times, told

cdef extern from "Python.h":
    object PyObject_CallNoArgs(object callable)

cdef enum:
    MOST_DIGITS = 15
    FIRST = 8  # beats of an instance that are handed back, and each EVERY-th
    EVERY = 16

WHOLE_FIRST = FIRST
WHOLE_EVERY = EVERY


cdef inline bint _is_plain(Hot hot, str via, str peer):
    return (hot.plain and hot.beats >= FIRST and hot.beats % EVERY != 0
            and (hot.peer is peer or hot.peer == peer) and (hot.via is via or hot.via == via))


cdef inline int _renew(Hot hot, int64_t now_ms, object now, dict dirty) except -1:
    PyObject_CallNoArgs(hot.lease)
    if hot.late is not None:
        PyObject_CallNoArgs(hot.late)
    put_gap(hot, hot.beats, now_ms - hot.last_beat_ms)
    hot.last_beat_ms = now_ms
    hot.beats += 1
    PyDict_SetItem(dirty, hot.id, now)
    return 0


cdef struct Tail:
    int64_t time_ms, last_ms, lag_ms, number  # -1: not there
    Py_ssize_t end  # behind the closing brace


cdef inline const char *_number(const char *at, const char *end, int64_t *value) noexcept:
    """The end of the digits; NULL: not a number as JSON writes it, or too long."""
    cdef const char *begin = at
    cdef int64_t total = 0
    while at < end and c'0' <= at[0] <= c'9':
        if at - begin == MOST_DIGITS:
            return NULL
        total = total * 10 + (at[0] - c'0')
        at += 1
    if at == begin or (begin[0] == c'0' and at - begin > 1):
        return NULL
    value[0] = total
    return at


cdef inline const char *_field(const char *at, const char *end, const char *name, Py_ssize_t size, int64_t *value,
                               ) noexcept:
    """The end of the field, `at` if it is not there, NULL if its value is invalid."""
    value[0] = -1
    if end - at < size or memcmp(at, name, size) != 0:
        return at
    return _number(at + size, end, value)


cdef inline const char *_tail(const char *at, const char *end, Tail *tail) noexcept:
    """The end of the object, behind its brace; NULL: it does not end as heartfelt's agents end it."""
    cdef const char *begin = at
    at = _field(at, end, b',"heartbeatTime":', 17, &tail.time_ms)
    if at == NULL or at == begin:
        return NULL
    at = _field(at, end, b',"lastHeartbeatTime":', 21, &tail.last_ms)
    if at != NULL:
        at = _field(at, end, b',"lagMs":', 9, &tail.lag_ms)
    if at != NULL:
        at = _field(at, end, b',"beat":', 8, &tail.number)
    if at == NULL or at >= end or at[0] != c'}':
        return NULL
    return at + 1


cdef const char *_find_tail(const char *at, const char *end) noexcept:
    """The start of `,"heartbeatTime":`, or NULL. In a JSON string the quotes would be escaped."""
    while end - at >= 17:
        at = <const char *>memchr(at, c',', end - at - 16)
        if at == NULL:
            return NULL
        if memcmp(at, b',"heartbeatTime":', 17) == 0:
            return at
        at += 1
    return NULL


cdef inline const char *_after_spaces(const char *at, const char *end) noexcept:
    while at < end and (at[0] == c' ' or at[0] == c'\n' or at[0] == c'\r' or at[0] == c'\t'):
        at += 1
    return at


@cython.final
cdef class Scan:
    """Finds the known heartbeats at the beginning of a list, or in one object. Changes nothing; `renew` does.

    `whole`: the body has no others, and ends as it should. Otherwise `rest` is the start of the first one that is not
    known.
    """
    cdef list found
    cdef Tail *tails
    cdef Py_ssize_t capacity
    cdef readonly Py_ssize_t n, rest, at
    cdef readonly bint whole

    def __cinit__(self):
        self.found = []

    def __dealloc__(self):
        free(self.tails)

    def __init__(self, bytes body, Texts texts, bint is_list, Py_ssize_t most):
        """Finds at most `most` heartbeats. texts: those with head + b"\\0}" are found."""
        cdef const char *begin = PyBytes_AS_STRING(body)
        cdef const char *end = begin + PyBytes_GET_SIZE(body)
        cdef const char *at = _after_spaces(begin, end)
        cdef const char *next_
        cdef Hot hot = None, before = None
        if is_list:
            if at == end or at[0] != c'[':
                return
            at = _after_spaces(at + 1, end)
        while self.n < most:
            self._room()
            hot = self._known(at, end, texts, before, &next_)
            if hot is None:
                break
            next_ = _after_spaces(next_, end)
            if not is_list:
                if next_ != end:
                    break
            elif next_ == end or (next_[0] != c',' and next_[0] != c']'):
                break
            self.found.append(hot)
            self.n += 1
            before = hot
            if not is_list:
                self.whole = True
                return
            if next_[0] == c']':
                if _after_spaces(next_ + 1, end) == end:
                    self.whole = True
                    return
                self.n -= 1  # something follows the list: the caller refuses the whole body
                self.found.pop()
                break
            at = _after_spaces(next_ + 1, end)
        self.rest = at - begin

    cdef int _room(self) except -1:
        cdef void *larger
        if self.n < self.capacity:
            return 0
        larger = realloc(self.tails, (self.capacity + 256) * sizeof(Tail))
        if larger == NULL:
            raise MemoryError
        self.tails = <Tail *>larger
        self.capacity += 256
        return 0

    cdef Hot _known(self, const char *at, const char *end, Texts texts, Hot before, const char **next_):
        cdef Hot hot
        cdef const char *stop
        cdef Py_ssize_t size
        cdef bytes key
        if before is not None and before.follower is not None:
            hot = before.follower
            if has_head(hot, at, end - at):
                next_[0] = _tail(at + hot.head_size, end, &self.tails[self.n])
                if next_[0] != NULL:
                    return hot
        stop = _find_tail(at, end)
        if stop == NULL:
            return None
        next_[0] = _tail(stop, end, &self.tails[self.n])
        if next_[0] == NULL:
            return None
        size = stop - at
        key = PyBytes_FromStringAndSize(NULL, size + 2)
        _join(PyBytes_AS_STRING(key), at, size)
        hot = texts.find(key)
        if hot is not None and before is not None:
            before.follower = hot
        return hot

    def first(self):
        """The Hot of the first heartbeat."""
        return self.found[0]

    def renew(self, Py_ssize_t slice_, str via, str peer, int64_t now_ms, dict dirty):
        """Renews the next `slice_` heartbeats: (how many, the others as (Hot, time, last, lag, number))."""
        cdef Py_ssize_t stop = min(self.n, self.at + slice_)
        cdef Py_ssize_t renewed = 0
        cdef object now = now_ms
        cdef list others = []
        cdef Hot hot
        cdef Tail *tail
        while self.at < stop:
            hot = <Hot>self.found[self.at]
            tail = &self.tails[self.at]
            self.at += 1
            if tail.lag_ms < hot.lag_to_tell_ms and _is_plain(hot, via, peer):
                _renew(hot, now_ms, now, dirty)
                put_times(hot, tail.time_ms, tail.last_ms, tail.lag_ms, now_ms)
                renewed += 1
            else:
                others.append((hot, tail.time_ms, told(tail.last_ms), told(tail.lag_ms), told(tail.number)))
        return renewed, others


cdef inline void _join(char *to, const char *head, Py_ssize_t size) noexcept:
    memcpy(to, head, size)
    to[size] = 0
    to[size + 1] = c'}'


def renew_names(bytes data, dict names, str via, str peer, int64_t now_ms, dict dirty):
    """Renews plain keys, one on each line: (how many were renewed, the keys of the others).

    names: key -> Hot. Spaces around a key do not belong to it; empty lines are ignored.
    """
    cdef const char *at = PyBytes_AS_STRING(data)
    cdef const char *end = at + PyBytes_GET_SIZE(data)
    cdef const char *stop
    cdef const char *last
    cdef Py_ssize_t renewed = 0
    cdef object now = now_ms
    cdef list others = []
    cdef PyObject *item
    cdef Hot hot
    cdef bytes name
    while at < end:
        stop = <const char *>memchr(at, c'\n', end - at)
        if stop == NULL:
            stop = end
        at = _after_spaces(at, stop)
        last = stop
        while last > at and (last[-1] == c' ' or last[-1] == c'\r' or last[-1] == c'\t'):
            last -= 1
        if last > at:
            name = PyBytes_FromStringAndSize(at, last - at)
            item = PyDict_GetItemWithError(names, name)
            hot = None if item == NULL else <Hot?><object>item
            if hot is not None and hot.plain and (hot.peer is peer or hot.peer == peer) and (
                    hot.via is via or hot.via == via):
                _renew(hot, now_ms, now, dirty)
                renewed += 1
            else:
                others.append(name)
        at = stop + 1
    return renewed, others
