# SPDX-License-Identifier: MIT
"""The link to the monitor: one thread that follows its stream, and one that makes single requests.

Results go in order through one bounded queue, from which `take` reads. If nothing reads it, the threads wait, and the
monitor's own bound for slow viewers applies: it then asks to reload everything. A lost connection is retried for ever,
after 0.5, 1, 2 ... 15 s, each with jitter; the stream continues after the last message that was read.
"""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from heartfelt.cli import Failed
from heartfelt.cli._client import ApiClient

PAGE = 1000
EVENTS = 500
TOPICS = ("change", "event", "hold", "counts", "beats")
SILENCE_S = 45.0  # the monitor sends a comment every 15 s
ANSWER_S = 10.0
FIRST_WAIT_S, MOST_WAIT_S = 0.5, 15.0
QUEUE = 5000
LEAVE_S = 2.0
FIRST_AGAIN_S, MOST_AGAIN_S = 4.0, 60.0
"""After how long everything is loaded again that was loaded while a monitor of the fleet, or Redis, did not answer."""


@dataclass(frozen=True, slots=True)
class Live:
    """The stream is open."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream is not open, for this reason; the next try begins at `retry_at` (time.monotonic())."""

    reason: str
    retry_at: float


@dataclass(frozen=True, slots=True)
class Loading:
    """Progress of loading: `done` of `total` instances."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything, freshly loaded."""

    views: list[dict[str, Any]]
    services: dict[str, Any]
    hold: dict[str, Any]
    events: list[dict[str, Any]] | None
    """None if the monitor cannot read them now, while Redis does not answer: those that were loaded before stay."""
    stats: dict[str, Any]
    offset_ms: float
    """The monitor's clock minus this machine's."""
    missing: str = ""
    """Monitors of the fleet that did not answer: what they own is not there."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A message of the stream."""

    topic: str
    data: Any


@dataclass(frozen=True, slots=True)
class Answered:
    """The result of a request by `ask`, or its `error`."""

    what: str
    value: Any = None
    error: str = ""


Told: TypeAlias = "Live | Lost | Loading | Loaded | Happened | Answered"
Job: TypeAlias = Callable[[ApiClient], Any]


class MonitorLink:
    """The threads that talk to the monitor. `client(timeout_s)` makes a client, and may raise Failed."""

    def __init__(self, client: Callable[[float], ApiClient], *, jitter_seed: int | None = None) -> None:
        self._new_client = client
        self._jitter = random.Random(jitter_seed)
        self._told: queue.Queue[Told] = queue.Queue(QUEUE)
        self._jobs: queue.Queue[tuple[str, Job] | None] = queue.Queue()
        self._asked: set[str] = set()
        self._closed = threading.Event()
        self._last_id: str | None = None
        self._again_s = FIRST_AGAIN_S
        self._again_at = math.inf
        self._open: set[ApiClient] = set()
        self._threads = [
            threading.Thread(target=self._follow_for_ever, name="heartfelt-top-stream", daemon=True),
            threading.Thread(target=self._work, name="heartfelt-top-requests", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def take(self, most: int = 500) -> list[Told]:
        """Returns what has arrived since the last call, oldest first. Does not wait."""
        taken: list[Told] = []
        while len(taken) < most:
            try:
                taken.append(self._told.get_nowait())
            except queue.Empty:
                break
        return taken

    def ask(self, what: str, job: Job) -> bool:
        """Runs `job(client)` on the thread for requests; the result is an Answered. False if `what` is running."""
        if what in self._asked or self._closed.is_set():
            return False
        self._asked.add(what)
        self._jobs.put((what, job))
        return True

    def close(self) -> None:
        """Cancels what is under way, and ends the threads; waits for at most 2 s for each."""
        self._closed.set()
        self._jobs.put(None)
        for client in list(self._open):
            client.cut()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(LEAVE_S)

    # -- the threads

    def _tell(self, told: Told) -> None:
        while not self._closed.is_set():
            try:
                self._told.put(told, timeout=0.5)
                return
            except queue.Full:
                continue

    def _client(self, timeout_s: float) -> _Kept:
        return _Kept(self._new_client(timeout_s), self._open, self._closed)

    def _follow_for_ever(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                self._follow()
            except Failed as error:
                reason = str(error)
            except Exception as error:  # any answer of another program: shown, and tried again
                reason = not_understood(error)
                self._last_id = None
            if time.monotonic() - began > 2 * wait_s:
                wait_s = FIRST_WAIT_S  # it has worked for a while
            pause_s = wait_s * self._jitter.uniform(0.5, 1.0)
            self._tell(Lost(reason, time.monotonic() + pause_s))
            self._closed.wait(pause_s)
            wait_s = min(2 * wait_s, MOST_WAIT_S)

    def _follow(self) -> None:
        """Follows the stream. Never returns: raises Failed at the end of the stream."""
        with self._client(SILENCE_S) as client:
            messages = client.stream("/api/v1/stream", {"topic": TOPICS}, self._last_id)
            if self._last_id is not None:
                self._tell(Live())
            for id_, topic, data in messages:
                if topic == "resync":
                    self._last_id = None  # if loading fails, everything is loaded again
                    self._load()
                    self._tell(Live())
                elif topic in TOPICS:
                    self._tell(Happened(topic, data))
                self._last_id = id_
                if time.monotonic() > self._again_at:
                    self._load()
                if self._closed.is_set():
                    break
        raise Failed("the monitor has ended the stream")

    def _load(self) -> None:
        """Loads everything. What happens meanwhile waits in the stream, and is read afterwards."""
        with self._client(ANSWER_S) as client:
            before = time.time()
            stats = client.json("GET", "/api/v1/stats")
            offset_ms = offset_of(stats, before, time.time())
            views: list[dict[str, Any]] = []
            cursor = None
            while True:
                page = client.json("GET", "/api/v1/instances", {"limit": PAGE, "sort": "id", "cursor": cursor})
                views += page["instances"]
                cursor = page["cursor"]
                if cursor is None:
                    break
                self._tell(Loading(len(views), page["matched"]))
            services = client.json("GET", "/api/v1/services")
            hold = client.json("GET", "/api/v1/hold")
            events = stored(client, "/api/v1/events", {"limit": EVENTS}, "events")
            missing = client.missing
        incomplete = missing or events is None
        self._tell(Loaded(views, services, hold, events, stats, offset_ms, missing))
        self._again_at = time.monotonic() + self._again_s if incomplete else math.inf
        self._again_s = min(2 * self._again_s, MOST_AGAIN_S) if incomplete else FIRST_AGAIN_S

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            what, run = job
            try:
                with self._client(ANSWER_S) as client:
                    answered = Answered(what, run(client))
            except Failed as error:
                answered = Answered(what, error=str(error))
            except Exception as error:
                answered = Answered(what, error=not_understood(error))
            self._asked.discard(what)
            self._tell(answered)


class _Kept:
    """A client that the link's `close` can cut while it is in use."""

    def __init__(self, client: ApiClient, kept: set[ApiClient], closed: threading.Event) -> None:
        self._client, self._kept, self._closed = client, kept, closed

    def __enter__(self) -> ApiClient:
        self._kept.add(self._client)
        if self._closed.is_set():  # after the line above: either this sees it, or `close` sees the client
            self.__exit__()
            raise Failed("heartfelt top is ending")
        return self._client

    def __exit__(self, *_: object) -> None:
        self._kept.discard(self._client)
        self._client.close()


def stored(client: ApiClient, path: str, query: dict[str, Any], name: str) -> list[dict[str, Any]] | None:
    """Returns a list that the monitor reads from its store, or None if it cannot read it now."""
    try:
        found: list[dict[str, Any]] = client.json("GET", path, query)[name]
    except Failed as error:
        if error.status != 503:
            raise
        return None
    return found


def not_understood(error: Exception) -> str:
    return (
        f"cannot understand the monitor's answer ({type(error).__name__}: {error}); check that it has the same version"
    )


def offset_of(stats: dict[str, Any], before_s: float, after_s: float) -> float:
    """Returns the monitor's clock minus this machine's, in ms, precise to half of the time that the answer took."""
    return float(stats["now_ms"]) - (before_s + after_s) * 500.0
