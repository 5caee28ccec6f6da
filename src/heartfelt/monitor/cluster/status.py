# SPDX-License-Identifier: MIT
"""Monitors of a fleet tell each other about themselves: how many instances they own, and their settings.

It is asked when the living monitors change, every LOOK_S, and for each scrape of the metrics. Settings that decide
about instances should be the same everywhere, since an instance moves to the monitor that it beats to. Where they
differ, that is logged once, and shown by /readyz and with the settings; nothing is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.cluster.federation import PART_S
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.tasks import TimedEvent, end_tasks

KIND = "status"
LOOK_S = 10.0
END_S = 1.0
SCRAPE_S = 1.0
"""How long a scrape of the metrics waits for the other monitors."""
MOST_SHOWN = 20
"""Differing settings, and silent monitors, that are named."""
SAME = (
    "lease.", "hold.", "service.", "limits.", "retention.", "webhooks.", "auth.", "session.", "http.public_url",
    "cluster.lease", "cluster.settle", "cluster.comeback",
)  # fmt: skip
"""Settings, or groups of them, that should be the same everywhere."""
INSTANCES = gauge(
    "heartfelt_fleet_instances",
    "Instances of all monitors of the fleet by state, those with a held loss as LOST",
    labels=("state",),
)
FIGURES: Figures = {
    "monitors": gauge("heartfelt_fleet_monitors", "Monitors of the fleet that live, with this one"),
    "silent": gauge(
        "heartfelt_fleet_monitors_silent", "Monitors that did not say how many instances they own: these are left out"
    ),
    "differing": gauge("heartfelt_fleet_settings_differing", "Settings that are not the same at all monitors"),
    "looks": counter("heartfelt_fleet_looks", "Times that the other monitors were asked about themselves"),
}
_logger = logging.getLogger("heartfelt.monitor.cluster")


class Status(msgspec.Struct, array_like=True):
    """A monitor about itself."""

    states: dict[str, int]
    settings: dict[str, Any]


class AskedMonitors(Protocol):
    """The connections to the other monitors, as in federation.py."""

    def living(self) -> Mapping[str, str]: ...
    async def ask(self, peer: str, kind: str, message: bytes, *, within_s: float) -> bytes: ...


class FleetStatus:
    """`start`, `await stop()`. Belongs to the loop. own: this monitor about itself. watched: each says what is wrong
    here, such as the clock; they are asked again and again."""

    def __init__(
        self, peers: AskedMonitors, own: Callable[[], Status], watched: Sequence[Callable[[], str | None]] = ()
    ) -> None:
        self._peers = peers
        self._watched = watched
        self._own = own
        self._known: dict[str, Status] = {}
        """The last words of the others."""
        self._silent: list[str] = []
        self._differing: dict[str, str] = {}
        """By the name of a setting: a sentence."""
        self._wake = TimedEvent()
        self._task: asyncio.Task[None] | None = None
        self._looks = 0

    async def serve(self, peer: str, message: bytes) -> bytes:
        return msgspec.msgpack.encode(self._own())

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="status of the fleet")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await end_tasks([task], seconds=END_S)

    def look_soon(self) -> None:
        """Asks now, since the living monitors have changed."""
        self._wake.set()

    async def _keep(self) -> None:
        while True:
            await self._wake.wait(LOOK_S)
            self._wake.clear()
            try:
                await self.look()
            except Exception:  # one error must not end it
                _logger.exception("the other monitors' status cannot be read; it is asked again")

    async def look(self, within_s: float = PART_S) -> None:
        """Asks all others, and compares their settings with this monitor's."""
        self._looks += 1
        self.warnings()
        living = self._peers.living()
        found = await asyncio.gather(*(self._ask(id, within_s) for id in living))
        self._silent = [name for name, one in zip(living.values(), found, strict=True) if one is None]
        for id in [one for one in self._known if one not in living]:
            del self._known[id]
        self._known |= {id: one for id, one in zip(living, found, strict=True) if one is not None}
        self._compare(living)

    async def _ask(self, id: str, within_s: float) -> Status | None:
        try:
            return msgspec.msgpack.decode(await self._peers.ask(id, KIND, b"", within_s=within_s), type=Status)
        except (HeartfeltError, Problem, asyncio.TimeoutError, OSError, msgspec.MsgspecError) as error:
            _logger.debug("monitor %s does not say its status: %s", id, error)
            return None

    def _compare(self, names: Mapping[str, str]) -> None:
        own = self._own().settings
        differing: dict[str, str] = {}
        for id, one in self._known.items():
            for name in sorted({*own, *one.settings}):
                here, there = own.get(name), one.settings.get(name)
                if here != there and name not in differing and name.startswith(SAME):
                    differing[name] = (
                        f"{name} is {_shown(here)} here, and {_shown(there)} at the monitor {names[id]}: set it to the "
                        "same value at all monitors of the fleet"
                    )
        for name, text in differing.items():
            if self._differing.get(name) != text:
                _logger.warning("%s", text)
        if self._differing and not differing:
            _logger.info("the settings of all monitors that can be asked are the same")
        self._differing = differing

    # -- what it says

    def warnings(self) -> list[str]:
        texts = [*filter(None, (ask() for ask in self._watched)), *self._differing.values()]
        more = len(texts) - MOST_SHOWN
        return texts if more <= 0 else [*texts[:MOST_SHOWN], f"{more} more settings differ"]

    def text(self) -> str:
        """Says for /readyz what people should know of the fleet; "ok": nothing."""
        texts = self.warnings()[:3]
        if self._silent:
            texts.insert(0, f"no answer from {', '.join(self._silent)}, so what they own is not shown")
        return "; ".join(texts) or "ok"

    def stats(self) -> dict[str, Any]:
        return {
            "monitors": 1 + len(self._peers.living()),
            "silent": len(self._silent),
            "silent_names": self._silent[:MOST_SHOWN],
            "differing": len(self._differing),
            "looks": self._looks,
            "instances": self._instances(),
        }

    def _instances(self) -> dict[str, int]:
        states = dict(self._own().states)
        for one in self._known.values():
            for state, n in one.states.items():
                states[state] = states.get(state, 0) + n
        return states

    def readings(self) -> Iterator[Reading]:
        stats = self.stats()
        yield from read(FIGURES, stats)
        yield INSTANCES, {(state,): n for state, n in stats["instances"].items()}


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)[:200]
