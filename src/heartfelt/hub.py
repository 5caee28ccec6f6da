# SPDX-License-Identifier: MIT
"""HeartHub: the compiled Hub, and everything around it that is not on the hot path.

`heartbeat`, `heartbeat_many`, `heartbeat_ids` and `remove` are inherited from the compiled class: a forwarding method
would double the cost of a call.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import time
import weakref
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from heartfelt import _canary, _options, _rows, _snapshot, _views
from heartfelt._core import Hub
from heartfelt._dispatch import Callback, Dispatcher, abandon_parting, join_parting
from heartfelt._greenlets import allocate_lock
from heartfelt._heart import Heart, heart_of
from heartfelt._hot import own_hot_methods
from heartfelt._hubs import Hubs
from heartfelt._stats import HubStats, Key, Watch, shard_stats
from heartfelt._types import UNSET, EventType, Unset
from heartfelt._verbose import Reporter
from heartfelt.errors import HubClosed
from heartfelt.events import CALLBACKS, READERS, Events
from heartfelt.testing import ManualClock

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy
    from typing_extensions import Self  # for type checkers only: they all include it

    Array: TypeAlias = numpy.ndarray[Any, Any]

Duration = float | timedelta
StrPath = str | os.PathLike[str]
AnyCallback = TypeVar("AnyCallback", bound=Callback)

_registering = allocate_lock()
CLOSE_WAITS_S = 5.0  # for a callback that is running when the hub is closed; at exit, for those of all hubs
_exit_waits_until = math.inf  # by time.monotonic(); from exit on
_hubs: Hubs[HeartHub] = Hubs()  # the closed ones, too


class HeartHub(Hub, Mapping[Key, Watch]):
    """Watches keys: a key that does not beat within its timeout produces a TIME_OUT event.

    A read-only Mapping of each watched key to its Watch. Every method may be called from any thread.

    Iterating, also over `keys()`, `items()` and `values()`, takes one pass over the hub, which is complete before the
    first key is yielded. A key that is watched throughout the pass is listed once, as it was at some instant during the
    pass; a key that joins or leaves during the pass may or may not be listed. To copy a hub use `dict(hub.items())`:
    `dict(hub)` looks up each key a second time, and raises KeyNotWatched if one has left by then.

    timeout: default timeout, seconds or a timedelta; without one, each key must have its own.
    parallelism: number of shards, each with its own worker thread, 1 to 64.
    subscribe: event types to report.
    disposable: True: a key that times out is no longer watched; False: it stays watched and times out again after each
        further timeout.
    on_event: called with every event, on a thread owned by the hub; `events` then yields none. It is a real thread even
        where gevent or eventlet has patched threads: the callback must not switch greenlets there.
    event_buffer, on_full: size of the ring that holds events other than TIME_OUT, and what to do when it is full:
        "drop_oldest" or "drop_newest" (counted, and reported by one OVERFLOW event for each run of losses), or "block":
        nothing is dropped; beats never wait, so the ring grows instead.
    stall_guard: True: time in which the process could not run (stopped, suspended or starved: its worker woke later
        than planned by more than a share of the shortest timeout) does not count against any key. "gil": neither does
        time in which Python could not run, as a thread owned by the hub detects; no verdict is taken meanwhile. False:
        such time counts.
    clock: "monotonic", "boottime" (counts time in which the machine was suspended; a stall like any other unless
        stall_guard=False), or a heartfelt.testing.ManualClock.
    logger, verbose: where exceptions of callbacks are logged; verbose=True also logs each shard's work, at DEBUG.

    Raises ConfigError for an invalid value, TypeError for a wrong type, OSError if the system cannot start a thread.
    """

    # The state of a hub before it is opened. A second __init__, which is refused, changes none of it.
    _logger: logging.Logger = logging.getLogger("heartfelt")
    _dispatcher: Dispatcher | None = None
    _reporter: Reporter | None = None
    _clock: ManualClock | None = None
    _events: weakref.ref[Events] | None = None
    _wanted: frozenset[EventType] = frozenset()

    def __init__(
        self,
        timeout: Duration | None = None,
        *,
        parallelism: int = 1,
        subscribe: Iterable[EventType] = (EventType.TIME_OUT,),
        disposable: bool = True,
        on_event: Callback | None = None,
        event_buffer: int = 65536,
        on_full: str = "drop_oldest",
        stall_guard: bool | str = True,
        clock: str | ManualClock = "monotonic",
        logger: logging.Logger | None = None,
        verbose: bool = False,
    ) -> None:
        wanted = _options.event_types(subscribe, "subscribe")
        verbose = _options.yes_or_no(verbose, "verbose")
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be callable with one event, not {on_event!r}")
        if logger is not None and not hasattr(logger, "exception"):
            raise TypeError(f"logger must be a logging.Logger, not {logger!r}")
        _hubs.add(self)  # before it has threads, so that no fork finds an unregistered hub with threads
        self._open(
            _options.whole(parallelism, "parallelism", _options.MOST_SHARDS),
            _options.timeout_ns(timeout),
            _options.yes_or_no(disposable, "disposable"),
            _options.mask(wanted),
            _options.mask(wanted) if on_event is not None else 0,
            _options.whole(event_buffer, "event_buffer", _options.LARGEST_RING),
            _options.on_full_number(on_full),
            guard := _options.stall_guard(stall_guard),
            _options.clock(clock),
        )
        if logger is not None:
            self._logger = logger
        self._wanted = wanted
        if isinstance(clock, ManualClock):
            self._clock = clock
            clock._hubs.add(self)
        if guard == _options.GUARD_GIL and not isinstance(clock, ManualClock):
            _canary.start(self)
        if on_event is not None:
            self._dispatcher = Dispatcher(self)
            self._dispatcher.add(frozenset(EventType), on_event)
        if verbose:
            self._reporter = Reporter(self)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own_hot_methods(cls)

    def heart(
        self,
        key: Key,
        *,
        timeout: Duration | None = None,
        extra: object | Unset = UNSET,
        disposable: bool | None = None,
    ) -> Heart:
        """Returns a handle on one key, whose `beat()` does not have to look up the key. Calling the handle is the same.

        A key that is not watched joins now, as with its first beat. A watched key is left unchanged; if options are
        given, this counts as a beat with them. The options apply whenever the handle's beat makes the key join again.
        O(1).
        """
        return heart_of(self, key, timeout, extra, disposable)

    def ids(self, keys: Iterable[Key]) -> Array:
        """Returns ids of the keys for `heartbeat_ids`: a numpy array of int64, one per key, in order.

        Keys that are not watched join now; watched ones are left unchanged. An id belongs to its key until the key is
        removed: if the key times out for good, a beat by id makes it join again with its previous timeout and no extra.
        If one key is invalid, none joins. Needs numpy. O(keys).
        """
        numpy = _numpy("ids")
        ids: Array = numpy.array(self._pin(_list_of_keys(keys, "ids")), dtype=numpy.int64)
        return ids

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._has_ended()

    def close(self) -> None:
        """Stops watching: beats and removes raise HubClosed, and no further verdict is taken. Idempotent.

        Waiting events can still be read; after that `events` ends. Waiting events are delivered to callbacks first:
        this blocks until they have returned, for at most 5 seconds; exceeding that is logged.
        """
        self._close()
        wait_s = max(0.0, min(CLOSE_WAITS_S, _exit_waits_until - time.monotonic()))
        if self._dispatcher is not None and not self._dispatcher.join(wait_s):
            self._logger.warning(
                "closed while a callback is still running after %g s; %d events wait for it",
                CLOSE_WAITS_S,
                self._waiting(CALLBACKS),
            )
        reporter: Reporter | None = self.__dict__.pop("_reporter", None)  # by only one caller, if several close
        if reporter is not None:
            reporter.stop(self)

    def __del__(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.part_from(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def events(self) -> Events:
        """The events that have no callback, as a queue, an iterator and an async iterator."""
        events = self._events() if self._events is not None else None
        if events is None:
            events = Events(self)
            self._events = weakref.ref(events)
        return events

    def on(self, *types: EventType) -> Callable[[AnyCallback], AnyCallback]:
        """A decorator: calls the function with every event of these types (default: all subscribed types).

        The hub subscribes to them if it has not yet. They then go to callbacks only, not to `events`. Callbacks are
        called one after another on one thread owned by the hub (see on_event); exceptions they raise are logged and
        counted.
        """
        if len(types) == 1 and callable(types[0]) and not isinstance(types[0], EventType):
            raise TypeError("write @hub.on(EventType.TIME_OUT) or @hub.on(), with parentheses")
        wanted = _options.event_types(types, "on") or self._wanted

        def register(callback: AnyCallback) -> AnyCallback:
            if not callable(callback):
                raise TypeError(f"a callback must be callable with one event, not {callback!r}")
            with _registering:
                if self._dispatcher is None:
                    self._dispatcher = Dispatcher(self)
                self._dispatcher.add(wanted, callback)
                self._wanted |= wanted
                self._subscribe_callbacks(_options.mask(wanted))
            return callback

        return register

    def __iter__(self) -> Iterator[Key]:
        """Iterates over the keys watched now; keys that join or leave later do not affect it. O(keys)."""
        return iter(_views.keys(self))

    def keys(self) -> KeysView[Key]:
        """A view of the watched keys. Each iteration, and each set operation, is one pass over the hub."""
        return _views.HubKeys(self)

    def items(self) -> ItemsView[Key, Watch]:
        """A view of the watched keys, each with its Watch. Each iteration, and each set operation, is one pass."""
        return _views.HubItems(self)

    def values(self) -> ValuesView[Watch]:
        """A view of the Watch of each watched key. Each iteration is one pass over the hub."""
        return _views.HubValues(self)

    def __getitem__(self, key: Key) -> Watch:
        """Returns the state of a watched key. Raises KeyNotWatched. O(1)."""
        return _views.watch(_rows.row(self, key))

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: it watches in this process only; "
            "create a new one where it is needed"
        )

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def stats(self) -> HubStats:
        """Returns counts and times of the shards and the events. O(shards)."""
        shards = tuple(shard_stats(raw) for raw in self._shard_stats())
        streams = self._stream_stats()
        summed = ("keys", "lost", "joins", "timeouts", "recoveries", "removals", "wakeups", "visits", "moved")
        totals: dict[str, Any] = {name: sum(getattr(shard, name) for shard in shards) for name in summed}
        return HubStats(
            **totals,
            waiting=streams["n_waiting"][READERS],
            waiting_callbacks=streams["n_waiting"][CALLBACKS],
            dropped=streams["n_dropped"],
            overflows=streams["n_overflows"],
            stalls=streams["n_stalls"],
            stalled=streams["stalled_ns"] / 1e9,
            callback_errors=self._dispatcher.errors if self._dispatcher is not None else 0,
            cpu_time=sum(shard.cpu_time for shard in shards),
            max_lateness=max((shard.max_lateness for shard in shards), default=0.0),
            shards=shards,
        )

    def snapshot(self) -> Array:
        """Returns all watched keys as a numpy structured array: one row per key, the fields of Watch, and `id`.

        One pass over the hub, like iteration. Needs numpy. O(keys).
        """
        numpy = _numpy("snapshot")
        fields = [
            ("key", object),
            ("state", "U5"),
            ("join_time", float),
            ("beat_time", float),
            ("deadline", float),
            ("timeout", float),
            ("disposable", bool),
            ("extra", object),
            ("missed", numpy.uint32),
            ("id", numpy.int64),
        ]
        rows = [(row[0], "LOST" if row[1] else "ALIVE", *row[2:]) for row in _views.rows(self)]
        table: Array = numpy.array(rows, dtype=fields)
        return table

    def save(self, path: StrPath, *, extras: bool = False) -> None:
        """Writes all watched keys to a file for `restore`, with timeouts, remaining times, disposable and missed.

        Atomic: the old file stays until the new one is complete and on disk. extras: whether to write them too, by
        pickle. Each key is written as it was at one instant, but not all at the same instant. Waiting events are not
        written. Works after close(), too: the time since then counts. O(keys).

        Raises OSError, SnapshotError (an extra cannot be pickled), HubClosed (in a child after a fork).
        """
        if not self._shard_stats():
            raise HubClosed("this hub has nothing to save: it was never opened, or it belongs to the parent process")
        _snapshot.save(self, path, _options.yes_or_no(extras, "extras"))

    @classmethod
    def restore(
        cls, path: StrPath, *, grace: Duration | None = None, extras: bool | None = None, **options: Any
    ) -> Self:
        """Returns a new hub, with these options (those of HeartHub), that watches the keys that `save` wrote.

        Each key's deadline is now plus the larger of its remaining time and `grace`, which defaults to the key's own
        timeout and may be 0. From its next beat on, its timeout applies as usual. A key that was lost stays lost: its
        next beat is a RECOVER. Beat and join times are as far in the past as they were at the save. O(keys).

        extras: True unpickles them, which can run arbitrary code: only for files that nobody else can have written.
        False leaves them out. If the file contains extras, one of the two is required.

        Raises OSError, or SnapshotError if the file is damaged, not a snapshot, or of a newer format: nothing is
        restored then.
        """
        return _snapshot.restore(lambda: cls(**options), cls.close, path, grace, extras)

    def _flush_callbacks(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.flush(self)

    def __repr__(self) -> str:
        return f"<HeartHub {'closed' if self.closed else f'watching {len(self)} keys'}>"


own_hot_methods(HeartHub)


def _list_of_keys(keys: Iterable[Key], what: str) -> list[Key]:
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"{what} takes an iterable of keys; {keys!r} is one key: use [{keys!r}]")
    return list(keys)


def _numpy(what: str) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise ImportError(f"HeartHub.{what} needs numpy: pip install 'heartfelt[numpy]'") from error
    return numpy


@atexit.register
def _close_all() -> None:
    """Closes all hubs at exit: later their callbacks could no longer be called."""
    global _exit_waits_until
    _exit_waits_until = time.monotonic() + CLOSE_WAITS_S
    hubs = [hub for hub in _hubs if not hub.closed]
    for hub in hubs:  # stop all of them first, so that the callbacks of all hubs end at the same time
        hub._close()
    for hub in hubs:
        hub.close()
    join_parting(_exit_waits_until)


def _abandon_all() -> None:
    """Closes every hub in the child after a fork: its threads and its events belong to the parent.

    Locks that other threads held at that moment stay locked forever, so nothing may wait for them.
    """
    global _registering
    _registering = allocate_lock()
    abandon_parting()
    for hub in _hubs:
        hub._close(abandon=True)
        hub._dispatcher = hub._reporter = None
        if hub._clock is not None:
            hub._clock._abandon()
    _hubs.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
