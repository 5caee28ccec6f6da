# SPDX-License-Identifier: MIT
"""The live stream of the whole fleet: what each monitor publishes goes to its own viewers, and to the other monitors
that have viewers.

While a monitor has a viewer, it watches all others: it gets their counts and their hold first, and then what they
publish; a change of state is published once Redis has accepted it. Counts are added up here, by service; the hold of
the fleet is made of theirs as in the answer of GET /api/v1/hold. When a watch begins or ends, viewers are told to load
everything again: what the other monitor published before or after that is missing.

A monitor that watches too slowly is cut off, and watches again, from the beginning. What is remembered of another
monitor is dropped when it is not one of the living any more: its instances are then counted by those that adopt them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.tasks import TimedEvent, end_tasks
from heartfelt.monitor.web.api.control import worst_hold
from heartfelt.monitor.web.api.view import HoldView
from heartfelt.monitor.web.stream import Stream

KIND = "watch"
RETRY_S = 1.0
STORED_S = 1.0
"""After so long, what was published before a watch began can be read from Redis, where it is not away: an event takes
0.3 s."""
END_S = 1.0
MOST_WAITING = 4 << 20
"""Bytes that wait for one monitor that watches."""
FIGURES: Figures = {
    "watching": gauge("heartfelt_cluster_watching", "Other monitors that this one watches for its viewers"),
    "watchers": gauge("heartfelt_cluster_watchers", "Other monitors that watch this one for their viewers"),
    "relayed": counter("heartfelt_cluster_relayed", "Messages that were passed on to other monitors' viewers"),
    "watch_errors": counter(
        "heartfelt_cluster_watch_errors", "Times that the watch of another monitor failed; it begins again"
    ),
    "cut_off": counter(
        "heartfelt_cluster_watchers_cut_off", "Times that a monitor watched too slowly, and had to begin again"
    ),
}
_logger = logging.getLogger("heartfelt.monitor.cluster")


class FleetCounts(msgspec.Struct, kw_only=True):
    """Counts as they are published: those of the services that have changed. A service that is null is gone."""

    all: dict[str, Any]
    applications: int
    services: dict[str, dict[str, Any] | None]
    app_names: list[str] | None = None
    """The names of all applications; null: as before."""


class WatchedPeers(Protocol):
    """The connections to the other monitors."""

    def living(self) -> Mapping[str, str]: ...
    def watch(self, peer: str, kind: str) -> AsyncIterator[bytes]:
        """Yields what the monitor's `Relay.serve` yields. Raises HeartfeltError."""


class _Message(msgspec.Struct, array_like=True):
    topic: str
    value: msgspec.Raw


class _Watcher:
    """Messages that wait for another monitor that watches this one."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.n_bytes = 0
        self.wake = TimedEvent()
        self.ended = False

    def offer(self, message: bytes) -> bool:
        self.waiting.append(message)
        self.n_bytes += len(message)
        self.wake.set()
        return self.n_bytes <= MOST_WAITING


class Relay:
    """Takes what this monitor publishes, in place of the stream. Belongs to the loop.

    own_counts: this monitor's counts of all services; O(services). own_apps: the names of its applications, O(1).
    own_hold: its hold.
    """

    def __init__(
        self,
        stream: Stream,
        peers: WatchedPeers,
        own_counts: Callable[[], FleetCounts],
        own_apps: Callable[[], Collection[str]],
        own_hold: Callable[[], HoldView],
    ) -> None:
        self._stream = stream
        self._peers = peers
        self._own_counts = own_counts
        self._own_apps = own_apps
        self._own_hold = own_hold
        self._n_apps = -1
        self._watchers: set[_Watcher] = set()
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._counts: dict[str, FleetCounts] = {}
        """The counts of the monitors that are watched, with all services; "" for this monitor's own."""
        self._holds: dict[str, HoldView] = {}
        self._resync: asyncio.TimerHandle | None = None
        self._figures = dict.fromkeys(FIGURES, 0)

    @property
    def watched(self) -> bool:
        """Whether anybody sees what is published."""
        return self._stream.watched or bool(self._watchers)

    def publish(self, topic: str, value: Any) -> None:
        """Publishes something of this monitor's own. Never waits."""
        if topic == "counts" and self.watched:
            value = value | {"app_names": self._changed_apps()}
        if self._watchers:
            self._offer(topic, value)
        if not self._watching:
            if topic == "counts":
                value.pop("app_names", None)
            self._stream.publish(topic, value)
        elif topic == "counts":
            self._take_counts("", msgspec.convert(value, FleetCounts))
        elif topic == "hold":
            self._take_hold("", value)
        else:
            self._stream.publish(topic, value)

    def _changed_apps(self) -> list[str] | None:
        """Returns the names of all applications if their number has changed, which is what is shown of them."""
        apps = self._own_apps()
        if len(apps) == self._n_apps:
            return None
        self._n_apps = len(apps)
        return list(apps)

    def _first_counts(self) -> FleetCounts:
        counts = self._own_counts()
        counts.app_names = list(self._own_apps())
        return counts

    def _offer(self, topic: str, value: Any) -> None:
        message = msgspec.msgpack.encode((topic, value))
        for watcher in list(self._watchers):
            self._figures["relayed"] += 1
            if not watcher.offer(message):
                self._figures["cut_off"] += 1
                self._watchers.discard(watcher)
                watcher.ended = True

    async def serve(self, peer: str) -> AsyncIterator[bytes]:
        """Yields this monitor's counts and hold, and then what it publishes, until the watcher is too slow."""
        watcher = _Watcher()
        watcher.offer(msgspec.msgpack.encode(("counts", self._first_counts())))
        watcher.offer(msgspec.msgpack.encode(("hold", self._own_hold())))
        self._watchers.add(watcher)
        try:
            while not watcher.ended:
                watcher.wake.clear()
                waiting, watcher.waiting, watcher.n_bytes = watcher.waiting, [], 0
                for message in waiting:
                    yield message
                if not watcher.waiting and not watcher.ended:
                    await watcher.wake.wait(60.0)
        finally:
            self._watchers.discard(watcher)

    # -- watching the others

    def look(self) -> None:
        """Watches the living monitors while there is a viewer, and no others. Call it when one of the two changes, and
        twice a second."""
        living = self._peers.living() if self._stream.watched else {}
        for peer in [one for one in self._watching if one not in living]:
            self._watching.pop(peer).cancel()
            self._forget(peer)
            self._stream.resync("a monitor has left the fleet")
        if living and not self._watching:
            self._counts[""], self._holds[""] = self._first_counts(), self._own_hold()
        for peer, name in living.items():
            if peer not in self._watching:
                task = asyncio.create_task(self._watch(peer, name), name=f"watch of monitor {name}")
                self._watching[peer] = task
        if not self._watching:
            self._counts.clear()
            self._holds.clear()

    async def stop(self) -> int:
        """Ends watching; returns how many tasks did not end within END_S."""
        if self._resync is not None:
            self._resync.cancel()
            self._resync = None
        tasks = list(self._watching.values())
        self._watching.clear()
        for watcher in self._watchers:
            watcher.ended = True
            watcher.wake.set()
        return len(await end_tasks(tasks, seconds=END_S))

    async def _watch(self, peer: str, name: str) -> None:
        while True:
            begun = False
            try:
                async for data in self._peers.watch(peer, KIND):
                    message = msgspec.msgpack.decode(data, type=_Message)
                    self._take(peer, message, first=not begun)
                    if not begun:
                        self._resync_soon()
                    begun = True
            except (HeartfeltError, Problem, OSError, msgspec.MsgspecError) as error:
                self._figures["watch_errors"] += 1
                _logger.debug("monitor %s cannot be watched: %s", name, error)
            except Exception:  # of another version, perhaps: it is tried again, and the others are watched meanwhile
                self._figures["watch_errors"] += 1
                _logger.exception("monitor %s cannot be watched", name)
            if begun:
                self._stream.resync(f"the connection to the monitor {name} ended")
            await asyncio.sleep(RETRY_S)

    def _resync_soon(self) -> None:
        """Once for all watches that begin together, and once what they have missed is stored."""
        if self._resync is None:
            self._resync = asyncio.get_running_loop().call_later(STORED_S, self._resync_now)

    def _resync_now(self) -> None:
        self._resync = None
        self._stream.resync("the other monitors are watched from now on")

    def _take(self, peer: str, message: _Message, *, first: bool) -> None:
        if message.topic == "counts":
            if first:
                self._forget_counts(peer)
            self._take_counts(peer, msgspec.msgpack.decode(message.value, type=FleetCounts))
        elif message.topic == "hold":
            self._take_hold(peer, msgspec.msgpack.decode(message.value, type=HoldView))
        else:
            self._stream.publish(message.topic, msgspec.msgpack.decode(message.value))

    def _take_counts(self, peer: str, new: FleetCounts) -> None:
        known = self._counts.setdefault(peer, FleetCounts(all={}, applications=0, services={}, app_names=[]))
        known.all = new.all
        if new.app_names is not None:
            known.app_names = new.app_names
        for name, one in new.services.items():
            if one is None:
                known.services.pop(name, None)
            else:
                known.services[name] = one
        self._publish_counts(list(new.services))

    def _publish_counts(self, services: Sequence[str]) -> None:
        parts = list(self._counts.values())
        apps = {name for part in parts for name in part.app_names or ()}
        summed = {name: _summed([one for part in parts if (one := part.services.get(name))]) for name in services}
        everything = _summed([part.all for part in parts if part.all])
        self._stream.publish("counts", {"all": everything, "applications": len(apps), "services": summed})

    def _take_hold(self, peer: str, hold: HoldView) -> None:
        self._holds[peer] = hold
        self._stream.publish("hold", worst_hold(list(self._holds.values())))

    def _forget(self, peer: str) -> None:
        self._holds.pop(peer, None)
        self._forget_counts(peer)

    def _forget_counts(self, peer: str) -> None:
        gone = self._counts.pop(peer, None)
        if gone is not None:
            self._publish_counts(list(gone.services))

    def stats(self) -> dict[str, int]:
        return self._figures | {"watching": len(self._watching), "watchers": len(self._watchers)}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())


def _summed(parts: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Adds counts as they are published; None: there are none."""
    if not parts:
        return None
    states: dict[str, int] = {}
    for part in parts:
        for state, n in part["states"].items():
            states[state] = states.get(state, 0) + n
    return {name: sum(part[name] for part in parts) for name in ("total", "up", "held")} | {"states": states}
