# SPDX-License-Identifier: MIT
"""The seam between Python and the core: the hub. It alone is linked with the core's C.

The C functions of hf_hub.h make every decision. The methods here hold the GIL, or run under the hub's own locks where
there is no GIL; only Hub._close releases it. Arguments and keys: _arguments.pyx. Handles: _heart.pyx. Bells: _bell.pyx.
"""
cimport cython
from cpython.buffer cimport PyBUF_ND, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.sequence cimport PySequence_Fast_GET_ITEM, PySequence_Fast_GET_SIZE, PySequence_Fast_ITEMS
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from hf_hub cimport *

from heartfelt._arguments cimport check_terms, hashed_key
from heartfelt._bell cimport Bell
from heartfelt._event cimport event_from

from heartfelt import _numbers
from heartfelt._checks import check_ids, refusal, refused_ids, shown
from heartfelt._types import UNSET

cdef object _unset = UNSET
cdef tuple STATUS = _numbers.STATUS


cdef class ManualClockBase:
    """The clock of heartfelt.testing.ManualClock."""

    def __cinit__(self, *args, **options):
        self.clock.kind = HF_CLOCK_MANUAL
        hf_clock_set(&self.clock, 0)

    def _now_ns(self):
        return hf_clock_now(&self.clock)

    def _advance_to(self, int64_t target_ns, list hubs):
        cdef Py_ssize_t n
        cdef hf_hub **pointers = <hf_hub **> malloc((len(hubs) + 1) * sizeof(hf_hub *))
        if pointers is NULL:
            raise MemoryError
        for n in range(len(hubs)):
            pointers[n] = (<Hub?> hubs[n]).hub
        hf_hub_advance(pointers, <uint32_t> len(hubs), &self.clock, target_ns)
        free(pointers)


@cython.no_gc_clear
cdef class Hub(HotHub):
    """The compiled part of HeartHub: the hot methods, and the seams that hub.py builds on."""

    def __cinit__(self, *args, **options):
        self.hub = &hf_hub_unopened
        self._bells = (Bell(), Bell(), Bell())
        self.given_back = []

    def __dealloc__(self):
        if self.hub is not &hf_hub_unopened:
            hf_hub_destroy(self.hub)

    @cython.critical_section
    def _open(self, uint32_t n_shards, int64_t default_timeout_ns, bint disposable, uint32_t subscribed,
              uint32_t to_callbacks, uint32_t ring_limit, int on_full, int guard, clock):
        cdef hf_hub_config config
        cdef hf_status status
        if self.hub is not &hf_hub_unopened:
            raise RuntimeError("this hub is open already; make a new one")
        config.n_shards, config.default_timeout_ns, config.disposable = n_shards, default_timeout_ns, disposable
        config.subscribed, config.to_callbacks = subscribed, to_callbacks
        config.ring_limit, config.on_full = ring_limit, <hf_on_full> on_full
        config.clock_kind = HF_CLOCK_BOOTTIME if clock == "boottime" else HF_CLOCK_MONOTONIC
        config.manual_clock = NULL
        if isinstance(clock, ManualClockBase):
            self.manual = clock
            config.clock_kind = HF_CLOCK_MANUAL
            config.manual_clock = &self.manual.clock
        config.bells[0], config.bells[1] = &(<Bell> self._bells[0]).bell, &(<Bell> self._bells[1]).bell
        config.guard, config.canary_bell = <hf_guard_kind> guard, &(<Bell> self._bells[2]).bell
        config.ops = hf_python_ops()
        status = hf_hub_create(&config, &self.hub)
        if status == HF_NO_THREAD:
            raise OSError(f"the system gave no thread for a worker; parallelism was {n_shards}")
        if status != HF_OK:
            raise MemoryError("no memory for a hub")

    def _heartbeat(self, key, *, timeout=None, extra=_unset, disposable=None):
        self._touch(key, timeout, extra, disposable, HF_TOUCH_BEAT)

    cdef uint64_t _touch(self, key, timeout, extra, disposable, int mode) except? 0:
        cdef hf_terms terms
        cdef uint64_t hash = 0, id = 0
        cdef hf_status status
        terms.timeout_ns = check_terms(timeout, disposable)
        terms.has_extra = extra is not _unset
        terms.extra = <void *> extra
        terms.disposable = -1 if disposable is None else disposable is True
        key = hashed_key(key, &hash)
        status = hf_hub_touch(self.hub, <void *> key, hash, &terms, mode, &id)
        if status != HF_OK:
            raise refusal(STATUS[status], key)
        return id

    def heartbeat_many(self, keys, *, timeout=None, extra=_unset, disposable=None):
        """Beats each key of an iterable as `heartbeat` does, with the same options for all; a list or tuple is fastest.

        O(keys). A bad key does not affect the others: all of them are beaten, then the first error is raised.
        """
        cdef object failure = None
        cdef bint plain = timeout is None and extra is _unset and disposable is None
        if isinstance(keys, (str, bytes)):
            raise TypeError(f"heartbeat_many takes an iterable of keys; {shown(keys)} is one key: use heartbeat")
        check_terms(timeout, disposable)
        if plain and (type(keys) is list or type(keys) is tuple):
            failure = self._beat_sequence(keys, None)
        else:  # each with its own time: the iterable may be slow
            for key in keys:
                failure = (self._beat_sequence((key,), failure) if plain
                           else self._beat_one(key, timeout, extra, disposable, failure))
        if failure is not None:
            raise failure

    cdef object _beat_one(self, key, timeout, extra, disposable, failure):
        """A beat by the cold path; returns the first refusal of several."""
        try:
            self._touch(key, timeout, extra, disposable, HF_TOUCH_BEAT)
        except (TypeError, ValueError) as refusal:  # a bad key does not affect the others
            return failure or refusal
        return failure

    cdef object _beat_sequence(self, keys, failure):
        """Beats a list or tuple in groups; returns the first refusal of several."""
        cdef uint64_t cold
        cdef Py_ssize_t k, at = 0, n = HF_BEAT_GROUP
        while n == HF_BEAT_GROUP:
            with cython.critical_section(keys):  # without a GIL: nobody changes the list, so its keys live
                n = min(PySequence_Fast_GET_SIZE(keys) - at, <Py_ssize_t> HF_BEAT_GROUP)
                cold = hf_py_beat_group(self.hub, PySequence_Fast_ITEMS(keys) + at, <uint32_t> n) if n > 0 else 0
                if cold:  # copied first: the beats below may run code that changes the list
                    left = [<object> PySequence_Fast_GET_ITEM(keys, at + k) for k in range(n) if cold >> k & 1]
            if cold:
                for key in left:
                    failure = self._beat_one(key, None, _unset, None, failure)
            at += n
        return failure

    def heartbeat_ids(self, ids):
        """Beats keys by their ids from `ids()`: any C-contiguous buffer of native int64, read-only or not.

        The cheapest beat. O(ids), in order. Raises KeyNotWatched, after all others were beaten, if ids are stale (their
        keys were removed) or never existed; TypeError or ValueError for any other buffer; HubClosed.
        """
        cdef Py_buffer view
        cdef size_t i, n, n_bad = 0, first_bad = 0
        cdef const int64_t *values
        cdef hf_terms terms
        cdef hf_status status = HF_OK, cold
        terms.timeout_ns, terms.extra, terms.has_extra, terms.disposable = 0, NULL, False, -1
        check_ids(ids)
        PyObject_GetBuffer(ids, &view, PyBUF_ND | PyBUF_STRIDES)
        try:
            values, n = <const int64_t *> view.buf, view.len // 8
            i = hf_hub_beat_ids(self.hub, values, 0, n)
            while i < n:
                cold = hf_hub_touch_id(self.hub, <uint64_t> values[i], &terms, HF_TOUCH_BEAT | HF_TOUCH_OWN_TERMS)
                if cold != HF_OK:
                    if n_bad == 0:
                        first_bad, status = i, cold
                    n_bad += 1
                i = hf_hub_beat_ids(self.hub, values, i + 1, n)
            if n_bad:
                raise refused_ids(STATUS[status], values[first_bad], first_bad, n_bad)
        finally:
            PyBuffer_Release(&view)

    def remove(self, key, *, missing_ok=False):
        """Stops watching the key; its ids become stale. A TIME_OUT that waits for it can still be read.

        Raises KeyNotWatched (a KeyError) if it was not watched, unless missing_ok; TypeError; HubClosed. O(1).
        """
        cdef uint64_t hash = 0
        key = hashed_key(key, &hash)
        cdef hf_status status = hf_hub_remove(self.hub, <void *> key, hash)
        if status != HF_OK and not (status == HF_NOT_WATCHED and missing_ok):
            raise refusal(STATUS[status], key)

    def _pin(self, list keys):
        """The ids of the keys; keys that are not watched join."""
        cdef uint64_t hash = 0
        for key in keys:
            hashed_key(key, &hash)
        return [self._touch(key, None, _unset, None, HF_TOUCH_PIN) for key in keys]

    def __contains__(self, key):
        cdef uint64_t hash = 0
        key = hashed_key(key, &hash)
        return hf_hub_get(self.hub, <void *> key, hash, NULL) == HF_OK

    def __len__(self):
        return hf_hub_count(self.hub)

    def _drain(self, int stream, Py_ssize_t most, list into=None):
        """Takes up to `most` events of a stream, oldest first, without waiting. They go into `into`, an empty list."""
        cdef hf_event raw[256]
        cdef uint32_t i, n, want
        cdef list events = [] if into is None else into
        cdef int64_t offset_ns = 0
        if stream == HF_TO_READERS and self.given_back:
            with cython.critical_section(self):
                events += self.given_back[:most]
                del self.given_back[:most]
            most -= len(events)
        while most > 0:
            want = <uint32_t> min(most, 256)
            n = hf_hub_drain(self.hub, <hf_stream> stream, raw, want)
            if n and offset_ns == 0:
                offset_ns = hf_clock_wall_offset_ns(self.hub.clock)
            for i in range(n):
                events.append(event_from(&raw[i], offset_ns))
            most -= n
            if n < want:
                break
        return events

    def _give_back(self, list events):
        """Takes events back from a reader that cannot deliver them: they wait again, before all others."""
        with cython.critical_section(self):
            self.given_back[:0] = events
        hf_bell_ring(&(<Bell> self._bells[HF_TO_READERS]).bell)

    def _waiting(self, int stream):
        return hf_hub_waiting(self.hub, <hf_stream> stream) + (len(self.given_back) if stream == HF_TO_READERS else 0)

    def _has_ended(self):
        return hf_hub_has_ended(self.hub)

    def _canary_beat(self):
        return hf_hub_canary_beat(self.hub)

    def _close(self, bint abandon=False):
        if abandon:
            hf_hub_abandon(self.hub)
            self.given_back = []
        else:
            with nogil:
                hf_hub_close(self.hub)

    def _subscribe_callbacks(self, uint32_t types):
        hf_hub_subscribe_callbacks(self.hub, types)

    def _shard_stats(self):
        cdef hf_shard_stats raw
        cdef list found = []
        for n in range(self.hub.n_shards):
            hf_hub_stats(self.hub, n, &raw)
            found.append(raw)
        return found

    def _stream_stats(self):
        cdef hf_stream_stats raw
        hf_hub_stream_stats(self.hub, &raw)
        raw.n_waiting[0] += <uint32_t> len(self.given_back)
        return raw

    def _check(self):
        """The first broken invariant of the core, or None. O(keys)."""
        wrong = hf_hub_check(self.hub)
        return None if wrong is NULL else (<bytes> wrong).decode()


cdef object get_row(hf_hub *hub, object key, hf_row *row):
    cdef uint64_t hash = 0
    key = hashed_key(key, &hash)
    cdef hf_status status = hf_hub_get(hub, <void *> key, hash, row)
    if status != HF_OK:
        raise refusal("not_found" if status == HF_NOT_WATCHED else STATUS[status], key)


cdef uint32_t list_rows(hf_hub *hub, uint64_t *cursor, hf_row *rows, uint32_t most) noexcept:
    return hf_hub_list(hub, cursor, rows, most)


cdef object restore_key(hf_hub *hub, object key, const hf_past *past):
    cdef uint64_t hash = 0
    cdef hf_status status
    key = hashed_key(key, &hash)
    status = hf_hub_restore(hub, <void *> key, hash, past)
    if status != HF_OK:
        raise refusal(STATUS[status], key)
