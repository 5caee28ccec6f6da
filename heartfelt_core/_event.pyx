# SPDX-License-Identifier: MIT
"""Event: the core's hf_event as a Python object. Times are kept in ns, and become floats when they are read."""
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint32_t

from hf_hub cimport hf_event

from heartfelt import _numbers
from heartfelt._types import EventType

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(object)

cdef int64_t NS = 1_000_000_000
cdef int64_t MAX_EXACT = 2 ** 53  # below it a double holds every whole number
cdef tuple TYPES = _numbers.EVENT_TYPES  # by the core's numbers


cdef double seconds(int64_t ns) noexcept:
    """Converts ns to seconds, correctly rounded for any time since the epoch."""
    if -MAX_EXACT < ns < MAX_EXACT:
        return <double> ns / 1e9
    return <double> (ns // NS) + <double> (ns % NS) / 1e9


cdef class Event:
    """An event of a key. Immutable; compares by value, pickles, works with `match`.

    type: an EventType. key, extra: the key, and the extra that its beats carried last. timeout: seconds. disposable:
    whether the key's first timeout ends its watch. missed: timeouts in a row without a beat (including those of unread
    TIME_OUT events of the key, which this one replaces); for OVERFLOW: events lost. Times are seconds since the epoch,
    all of one event from one pair of clock readings. join_time: when the watch began. beat_time: the last beat.
    deadline: when the next beat was due. event_time: when it happened, for TIME_OUT when it was noticed. lateness:
    event_time - deadline.
    """
    __match_args__ = ("type", "key", "extra", "timeout", "disposable", "missed", "join_time", "beat_time",
                      "deadline", "event_time")

    @property
    def timeout(self):
        return seconds(self.timeout_ns)

    @property
    def join_time(self):
        return seconds(self.join_ns)

    @property
    def beat_time(self):
        return seconds(self.beat_ns)

    @property
    def deadline(self):
        return seconds(self.deadline_ns)

    @property
    def event_time(self):
        return seconds(self.event_ns)

    @property
    def lateness(self):
        return seconds(self.event_ns - self.deadline_ns)

    def to_dict(self):
        """The ten fields by name; the type as a plain string."""
        cdef dict fields = {name: getattr(self, name) for name in self.__match_args__}
        fields["type"] = str(self.type)
        return fields

    def __reduce__(self):
        return make_event, (self.type.value, self.key, self.extra, self.disposable, self.missed, self.timeout_ns,
                            self.join_ns, self.beat_ns, self.deadline_ns, self.event_ns)

    def __eq__(self, other):
        return self.__reduce__() == other.__reduce__() if type(other) is Event else NotImplemented

    def __hash__(self):
        return hash((self.type, self.key, self.event_ns))

    def __repr__(self):
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__[1:])
        return f"Event({self.type}, {fields})"


def make_event(str type, object key, object extra, bint disposable, uint32_t missed, int64_t timeout_ns,
               int64_t join_ns, int64_t beat_ns, int64_t deadline_ns, int64_t event_ns):
    """An Event from its parts, times in ns since the epoch: for pickle and tests."""
    cdef Event event = Event.__new__(Event)
    event.type, event.key, event.extra = EventType(type), key, extra
    event.disposable, event.missed, event.timeout_ns = disposable, missed, timeout_ns
    event.join_ns, event.beat_ns, event.deadline_ns, event.event_ns = join_ns, beat_ns, deadline_ns, event_ns
    return event


cdef object taken(void *owned):
    """The object whose reference the core has handed over; None for NULL."""
    if owned is NULL:
        return None
    cdef object value = <object> owned
    Py_DECREF(value)
    return value


cdef Event event_from(hf_event *raw, int64_t offset_ns):
    cdef Event event = Event.__new__(Event)
    event.type = TYPES[<int> raw.type]
    event.key, event.extra = taken(raw.key), taken(raw.extra)
    event.disposable, event.missed, event.timeout_ns = raw.disposable, raw.missed, raw.timeout_ns
    event.join_ns, event.beat_ns = raw.join_ns + offset_ns, raw.beat_ns + offset_ns
    event.deadline_ns, event.event_ns = raw.deadline_ns + offset_ns, raw.event_ns + offset_ns
    if event.extra is None:
        PyObject_GC_UnTrack(event)  # it cannot be in a cycle, so the collector need not look at it
    return event
