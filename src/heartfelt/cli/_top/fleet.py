# SPDX-License-Identifier: MIT
"""A copy of the monitor's instances, counts, hold and events, kept up to date by its stream.

It does no input or output and has no clock: times are the monitor's, in ms since the epoch. Messages may come twice, or
late: a change that is older than the state of its instance is ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from heartfelt.cli.events import of_change

MOST_EVENTS = 2000
HELD = "HELD"


@dataclass(slots=True)
class Row:
    """An instance. `provisional`: it has just joined, and only its change of state is known."""

    id: int
    service: str
    instance_id: str
    state: str
    held: bool
    since_ms: int
    reason: str
    last_beat_ms: int
    lease_ms: int | None
    address: str
    host: str
    version: str
    words: str
    provisional: bool = False

    @property
    def shown(self) -> str:
        """Its state, or HELD: its timeout has passed, but the loss is held back."""
        return HELD if self.held else self.state

    def share_left(self, now_ms: float) -> float:
        """The remaining share of its timeout, from 1 (just after a beat) to 0 (timed out)."""
        if not self.lease_ms:
            return 1.0
        return min(1.0, max(0.0, 1.0 - (now_ms - self.last_beat_ms) / self.lease_ms))


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """An event in the list. Those that came later have greater numbers, which this program assigns."""

    at_ms: int
    """Its place in the list: its time, or when it was received if the sender's clock is ahead of that."""
    number: int
    event: dict[str, Any]
    words: str


def row_of(view: dict[str, Any]) -> Row:
    """Makes a row from an instance of the REST interface."""
    address = next(iter(view["ips"] or ()), view["peer"])
    host, version = view["host"] or "", view["version"] or ""
    parts = [view["service"], view["instance_id"], view["app"], host, address, version, *view["ips"]]
    return Row(
        id=view["id"],
        service=view["service"],
        instance_id=view["instance_id"],
        state=view["state"],
        held=view["held"],
        since_ms=view["since_ms"],
        reason=view["reason"],
        last_beat_ms=view["last_beat_ms"],
        lease_ms=view["lease_ms"],
        address=address,
        host=host,
        version=version,
        words="\n".join(parts).lower(),
    )


class FleetState:
    """`members` grows when an instance joins or leaves, `version` with each visible change except beats."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.counts: dict[str, Any] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.applications = 0
        self.hold: dict[str, Any] = {"state": "NONE"}
        self.events: deque[ListedEvent] = deque(maxlen=MOST_EVENTS)
        self.held: set[int] = set()
        """Ids of instances whose loss is held."""
        self.newcomers: set[int] = set()
        """Ids of instances that are still provisional."""
        self.outdated: set[int] = set()
        """Ids of instances that came back: their timeout, version or address may have changed."""
        self.members = 0
        self.version = 0
        self._number = 0

    def load(
        self, views: Iterable[dict[str, Any]], services: dict[str, Any], hold: dict[str, Any], events: list[Any] | None
    ) -> None:
        """Replaces everything, the events only if there are some. `events`: newest first."""
        self.rows = {view["id"]: row_of(view) for view in views}
        self.held = {row.id for row in self.rows.values() if row.held}
        self.newcomers.clear()
        self.outdated.clear()
        self.counts, self.services = services["all"], dict(services["services"])
        self.applications = services["applications"]
        self.hold = hold
        if events is not None:
            self.events.clear()
            for event in reversed(events):
                self._note(event)
        self.members += 1
        self.version += 1

    def happen(self, topic: str, data: Any) -> None:
        """Applies a message of the stream."""
        if topic == "beats":
            for id_, last_beat_ms in data:
                row = self.rows.get(id_)
                if row is not None and last_beat_ms > row.last_beat_ms:
                    row.last_beat_ms = last_beat_ms
            return
        if topic == "change":
            self._change(data)
        elif topic == "event":
            self._note(data)
        elif topic == "counts":
            self._count(data)
        elif topic == "hold":
            self.hold = data
        self.version += 1

    def complete(self, views: Iterable[dict[str, Any]]) -> None:
        """Completes provisional instances. One that is missing in `views` has left, or will be reported later."""
        self.newcomers.clear()
        self.renew(view for view in views if view["id"] in self.rows and self.rows[view["id"]].provisional)

    def renew(self, views: Iterable[dict[str, Any]]) -> None:
        """Updates instances with freshly read views, except for changes that the stream reported since."""
        for view in views:
            known = self.rows.get(view["id"])
            if known is None:
                continue
            row = self.rows[view["id"]] = row_of(view)
            row.last_beat_ms = max(row.last_beat_ms, known.last_beat_ms)
            if known.since_ms > row.since_ms:
                row.state, row.since_ms, row.reason, row.held = known.state, known.since_ms, known.reason, known.held
        self.version += 1

    def set_held(self, ids: set[int]) -> None:
        """Sets which instances are held."""
        if ids == self.held:
            return
        for id_ in ids ^ self.held:
            row = self.rows.get(id_)
            if row is not None:
                row.held = id_ in ids
        self.held = ids
        self.version += 1

    def find(self, terms: str) -> list[Row]:
        """Returns the instances that match all terms; a term is a part of a word, or a state."""
        wanted = terms.lower().split()
        if not wanted:
            return list(self.rows.values())
        return [
            row for row in self.rows.values() if all(one in row.words or one == row.shown.lower() for one in wanted)
        ]

    def find_events(self, terms: str) -> list[ListedEvent]:
        """Returns the events that match all terms, newest first."""
        wanted = terms.lower().split()
        found = [one for one in self.events if all(term in one.words for term in wanted)]
        return sorted(found, key=lambda one: (one.at_ms, one.number), reverse=True)

    def _change(self, change: dict[str, Any]) -> None:
        self._note(of_change(change))
        id_, new = change["id"], change["new"]
        row = self.rows.get(id_)
        if new == "REMOVED":
            self.newcomers.discard(id_)
            self.held.discard(id_)
            self.outdated.discard(id_)
            if self.rows.pop(id_, None) is not None:
                self.members += 1
        elif row is None:
            service, instance_id, ip = change["service"], change["instance_id"], change["ip"]
            self.rows[id_] = Row(
                id=id_,
                service=service,
                instance_id=instance_id,
                state=new,
                held=False,
                since_ms=change["time_ms"],
                reason=change["reason"],
                last_beat_ms=change["time_ms"],
                lease_ms=None,
                address=ip,
                host="",
                version="",
                words=f"{service}\n{instance_id}\n{ip}".lower(),
                provisional=True,
            )
            self.newcomers.add(id_)
            self.members += 1
        elif change["time_ms"] >= row.since_ms:
            if row.state in ("LOST", "FAILED", "LEFT"):
                self.outdated.add(id_)
            row.state, row.since_ms, row.reason = new, change["time_ms"], change["reason"]
            if new != "LATE":
                row.held = False
                self.held.discard(id_)

    def _count(self, counts: dict[str, Any]) -> None:
        self.counts = counts["all"]
        self.applications = counts["applications"]
        for name, one in counts["services"].items():
            if one is None:
                self.services.pop(name, None)
            else:
                self.services[name] = one

    def _note(self, event: dict[str, Any]) -> None:
        self._number += 1
        info = event["info"]
        parts = [event["service"], event["instance_id"], event["level"], event["type"], event.get("ip") or ""]
        parts += [str(info[name]) for name in ("name", "description", "logMessage", "text") if info.get(name)]
        at_ms = min(event["time_ms"], event.get("received_ms", event["time_ms"]))
        self.events.append(ListedEvent(at_ms, self._number, event, "\n".join(parts).lower()))
