# SPDX-License-Identifier: MIT
"""All keys of a hub at once: as tuples; as bytes, for a snapshot (_snapshot.py); and back from bytes.

A packed row has these fields without gaps, integers little-endian, durations in ns:

    flags      1 byte    kind of key (bits 0 and 1: STR, BYTES, INT), DISPOSABLE, LOST, EXTRA
    missed     4 bytes   timeouts since the last beat
    timeout    8 bytes
    remaining  8 bytes   signed: until the deadline
    silent     8 bytes   since the last beat
    watched    8 bytes   since the key joined
    length     4 bytes   of the key that follows
    key        UTF-8, in which a lone surrogate is encoded like any other character; bytes; or a signed int of 8 bytes

Bytes that are read are not trusted: every access goes through Reader.take, which knows where they end, and every value
of a row is checked before it is used.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport UINT32_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from hf_hub cimport HF_TIMEOUT_MAX_NS, HotHub, hf_clock_now, hf_clock_wall_offset_ns, hf_past, hf_row

from heartfelt._core cimport get_row, list_rows, restore_key
from heartfelt._event cimport seconds, taken

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef enum:
    KIND_MASK = 3
    STR = 0
    BYTES = 1
    INT = 2
    DISPOSABLE = 4
    LOST = 8
    EXTRA = 16
    ALL_FLAGS = 31
    HEAD = 41  # bytes before the key
    PAGE = 64  # rows that a shard is locked for at once


cdef tuple row_tuple(hf_row *row, int64_t offset_ns):
    return (taken(row.key), row.lost, seconds(row.join_ns + offset_ns), seconds(row.beat_ns + offset_ns),
            seconds(row.deadline_ns + offset_ns), seconds(row.timeout_ns), bool(row.disposable), taken(row.extra),
            row.missed, row.id)


def row(HotHub hub, key):
    """How a watched key is: a tuple in the order of hub.py's __getitem__."""
    cdef hf_row found
    get_row(hub.hub, key, &found)
    return row_tuple(&found, hf_clock_wall_offset_ns(hub.hub.clock))


cdef class Listing:
    """Lists the keys that a hub watches, some pages at a time: other threads run between two calls.

    A key that is watched all the while is listed once. One that joins or leaves meanwhile may be listed or not, and one
    that leaves and joins again may be listed twice: then `repeats` is set.
    """
    cdef HotHub hub
    cdef uint64_t cursor
    cdef int64_t began_ns, offset_ns
    cdef readonly bint done
    cdef readonly bint repeats  # a key joined since the listing began

    def __cinit__(self, HotHub hub):
        self.hub = hub
        self.began_ns = hf_clock_now(hub.hub.clock)
        self.offset_ns = hf_clock_wall_offset_ns(hub.hub.clock)

    cdef uint32_t next_page(self, hf_row *page) noexcept:
        cdef uint32_t i, n = list_rows(self.hub.hub, &self.cursor, page, PAGE)
        for i in range(n):
            self.repeats |= page[i].join_ns >= self.began_ns
        self.done = self.cursor == 0
        return n

    def keys(self, uint32_t n_pages):
        """The keys of the next pages."""
        cdef hf_row page[PAGE]
        cdef uint32_t i, n
        cdef list found = []
        while n_pages > 0 and not self.done:
            n = self.next_page(page)
            for i in range(n):
                taken(page[i].extra)
                found.append(taken(page[i].key))
            n_pages -= 1
        return found

    def rows(self, uint32_t n_pages):
        """The rows of the next pages, each a tuple as `row` gives it."""
        cdef hf_row page[PAGE]
        cdef uint32_t i, n
        cdef list found = []
        while n_pages > 0 and not self.done:
            n = self.next_page(page)
            for i in range(n):
                found.append(row_tuple(&page[i], self.offset_ns))
            n_pages -= 1
        return found


cdef void put(unsigned char *to, uint64_t value, int n_bytes) noexcept:
    cdef int n
    for n in range(n_bytes):
        to[n] = <unsigned char> (value >> (8 * n) & 0xff)


cdef uint64_t got(const unsigned char *at, int n_bytes) noexcept:
    cdef uint64_t value = 0
    cdef int n
    for n in range(n_bytes):
        value |= <uint64_t> at[n] << (8 * n)
    return value


cdef int64_t within(int64_t ns, int64_t least) noexcept:
    return min(max(ns, least), <int64_t> HF_TIMEOUT_MAX_NS)


cdef class Packer:
    """Packs the keys that a hub watches, page by page."""
    cdef HotHub hub
    cdef uint64_t cursor
    cdef readonly bint done
    cdef readonly uint64_t n_rows
    cdef readonly list extras  # of the rows that have one, in their order; None: they are left out
    cdef unsigned char *bytes
    cdef size_t n_bytes, capacity

    def __cinit__(self, HotHub hub, bint with_extras):
        self.hub = hub
        self.extras = [] if with_extras else None

    def __dealloc__(self):
        free(self.bytes)

    cdef unsigned char *room(self, size_t n) except NULL:
        cdef size_t capacity
        cdef unsigned char *moved
        if n > self.capacity - self.n_bytes:
            capacity = max(2 * self.capacity, self.n_bytes + n)
            moved = <unsigned char *> realloc(self.bytes, capacity)
            if moved is NULL:
                raise MemoryError
            self.bytes, self.capacity = moved, capacity
        self.n_bytes += n
        return self.bytes + self.n_bytes - n

    cdef int pack(self, hf_row *row, int64_t now_ns, object key, object extra) except -1:
        cdef int flags = 0
        cdef const void *data
        cdef Py_ssize_t length = 8
        cdef unsigned char number[8]
        cdef unsigned char *to
        if type(key) is str:
            flags = STR
            if PyUnicode_IS_COMPACT_ASCII(key):
                data, length = PyUnicode_DATA(key), PyUnicode_GET_LENGTH(key)
            else:
                key = key.encode("utf-8", "surrogatepass")
                data, length = PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)
        elif type(key) is bytes:
            flags = BYTES
            data, length = PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)
        else:
            flags = INT
            put(number, <uint64_t> <int64_t> key, 8)
            data = number
        if <uint64_t> length > UINT32_MAX:
            raise ValueError(f"a key of {length} bytes is too long for a snapshot, which has room for 4 GiB")
        flags |= (DISPOSABLE if row.disposable else 0) | (LOST if row.lost else 0)
        if self.extras is not None and extra is not None:
            flags |= EXTRA
            self.extras.append(extra)
        to = self.room(HEAD + length)
        to[0] = <unsigned char> flags
        put(to + 1, row.missed, 4)
        put(to + 5, <uint64_t> row.timeout_ns, 8)
        put(to + 13, <uint64_t> within(row.deadline_ns - now_ns, -<int64_t> HF_TIMEOUT_MAX_NS), 8)
        put(to + 21, <uint64_t> within(now_ns - row.beat_ns, 0), 8)
        put(to + 29, <uint64_t> within(now_ns - row.join_ns, 0), 8)
        put(to + 37, <uint64_t> length, 4)
        memcpy(to + HEAD, data, length)
        self.n_rows += 1
        return 0

    def some(self, uint32_t n_pages):
        """Packs up to n_pages pages of rows; afterwards `done` says whether they were the last."""
        cdef hf_row page[PAGE]
        cdef uint32_t i, n
        cdef int64_t now_ns
        self.n_bytes = 0
        while n_pages > 0 and not self.done:
            n = list_rows(self.hub.hub, &self.cursor, page, PAGE)
            now_ns = hf_clock_now(self.hub.hub.clock)
            # Takes over the objects of the whole page before anything can fail.
            objects = [(taken(page[i].key), taken(page[i].extra)) for i in range(n)]
            for i in range(n):
                self.pack(&page[i], now_ns, objects[i][0], objects[i][1])
            self.done = self.cursor == 0
            n_pages -= 1
        return PyBytes_FromStringAndSize(<char *> self.bytes, self.n_bytes)


@cython.internal
cdef class Reader:
    """The bytes that are not read yet."""
    cdef const unsigned char *at
    cdef size_t left
    cdef object owner

    def __cinit__(self, bytes data, size_t start, size_t end):
        if not start <= end <= <size_t> len(data):
            raise ValueError("its rows would end after its end")
        self.owner, self.at, self.left = data, <const unsigned char *> PyBytes_AS_STRING(data) + start, end - start

    cdef const unsigned char *take(self, size_t n) except NULL:
        """The next n bytes. Raises ValueError if there are fewer."""
        if n > self.left:
            raise ValueError("a row goes on after the end of the rows")
        self.at += n
        self.left -= n
        return self.at - n


cdef object key_of(int kind, const unsigned char *data, Py_ssize_t length):
    if kind == STR:
        return data[:length].decode("utf-8", "surrogatepass")
    if kind == BYTES:
        return data[:length]
    if kind == INT and length == 8:
        return <int64_t> got(data, 8)
    raise ValueError("a row's key is not a str, bytes or int")


cdef int64_t checked_ns(uint64_t bits, int64_t least, str what) except? -1:
    cdef int64_t ns = <int64_t> bits
    if not least <= ns <= <int64_t> HF_TIMEOUT_MAX_NS:
        raise ValueError(f"a row's {what} is {ns} ns, which cannot be")
    return ns


cdef class Unpacked:
    """Rows that are first read and checked as a whole, then restored into a hub."""
    cdef Reader reader
    cdef list keys
    cdef hf_past *pasts
    cdef uint64_t n_rows
    cdef size_t n_restored
    cdef readonly size_t n_extras

    def __cinit__(self, bytes data, size_t start, size_t end, uint64_t n_rows):
        self.reader, self.keys, self.n_rows = Reader(data, start, end), [], n_rows
        if n_rows > self.reader.left // HEAD:
            raise ValueError(f"it is too short for {n_rows} keys")
        self.pasts = <hf_past *> malloc((n_rows + 1) * sizeof(hf_past))
        if self.pasts is NULL:
            raise MemoryError

    def read(self, size_t most):
        """Reads up to `most` more rows; False when all are read. Raises ValueError for the first bad one."""
        cdef uint64_t n = len(self.keys), end = min(self.n_rows, n + most)
        while n < end:
            self.keys.append(self.unpack(self.reader, &self.pasts[n]))
            n += 1
        if n == self.n_rows and self.reader.left:
            raise ValueError(f"{self.reader.left} bytes follow its last key")
        return n < self.n_rows

    def __dealloc__(self):
        free(self.pasts)

    cdef object unpack(self, Reader reader, hf_past *past):
        cdef const unsigned char *head = reader.take(HEAD)
        cdef int flags = head[0]
        cdef size_t length = got(head + 37, 4)
        if flags & ~ALL_FLAGS or (flags & LOST and flags & DISPOSABLE):
            raise ValueError(f"a row's flags are {flags:#x}, which cannot be")
        past.missed = <uint32_t> got(head + 1, 4)
        past.lost = (flags & LOST) != 0
        past.terms.timeout_ns = checked_ns(got(head + 5, 8), 1, "timeout")
        past.remaining_ns = checked_ns(got(head + 13, 8), -<int64_t> HF_TIMEOUT_MAX_NS, "remaining time")
        past.silent_ns = checked_ns(got(head + 21, 8), 0, "time since its beat")
        past.watched_ns = checked_ns(got(head + 29, 8), 0, "time since it joined")
        past.terms.disposable = (flags & DISPOSABLE) != 0
        past.terms.has_extra, past.terms.extra = (flags & EXTRA) != 0, NULL
        self.n_extras += past.terms.has_extra
        return key_of(flags & KIND_MASK, reader.take(length) if length else head, length)

    def restore(self, HotHub hub, int64_t grace_ns, extras, size_t most):
        """Joins up to `most` more keys; False when there are no more.

        grace_ns < 0: each key's own timeout. extras: an iterator of n_extras of them, or None: they are left out.
        """
        cdef size_t end = min(self.n_restored + most, <size_t> len(self.keys))
        cdef hf_past past
        while self.n_restored < end:
            past = self.pasts[self.n_restored]
            extra = None
            if past.terms.has_extra:
                extra = None if extras is None else next(extras)
                past.terms.has_extra = extras is not None
                past.terms.extra = <void *> extra
            past.remaining_ns = max(past.remaining_ns, past.terms.timeout_ns if grace_ns < 0 else grace_ns)
            restore_key(hub.hub, self.keys[self.n_restored], &past)
            self.n_restored += 1
        return self.n_restored < <size_t> len(self.keys)
