# SPDX-License-Identifier: MIT
"""Lists of instances: filtered, sorted, in pages.

A list may look at all instances, in slices, and the event loop does other work in between. It keeps one page, and never
sorts all of them.

A cursor is the place of the last row in the order (its value and its id), not a number of rows, so instances that join
or leave meanwhile shift nothing. If the value that a row is sorted by changes between two pages, the row may be listed
twice, or not at all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from heartfelt.monitor.model import WORST_FIRST, State
from heartfelt.monitor.problems import bad
from heartfelt.monitor.reasons import sentence
from heartfelt.monitor.web.api.view import InstanceView, ips_of, text_of, versions_of, view

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.instance import Instance

SLICE = 250
Place: TypeAlias = "tuple[str | int, int]"

_RANKS = {state: 2 * rank for rank, state in enumerate(WORST_FIRST)}
_HELD_RANK = _RANKS[State.LOST] + 1


def _worst_first(one: Any) -> str:
    """Held losses are next to losses; instances in equal states are sorted by service."""
    return f"{_HELD_RANK if one.held else _RANKS[one.state]:02} {one.service}"


SORTS: dict[str, Callable[[Any], str | int]] = {
    "id": lambda one: one.id,
    "service": lambda one: one.service,
    "instance_id": lambda one: one.instance_id,
    "state": _worst_first,
    "last_beat": lambda one: one.last_beat_ms,
    "since": lambda one: one.since_ms,
    "first_seen": lambda one: one.first_seen_ms,
    "app": lambda one: one.app,
    "host": lambda one: text_of(one.meta, "hostName") or "",
    "version": lambda one: text_of(one.meta, "version") or "",
    "ip": lambda one: one.ip(),
    "lag": lambda one: one.lag_ms or 0,
    "skew": lambda one: one.skew_ms or 0,
    "lease": lambda one: one.lease_ms,
    "artifact": lambda one: text_of(one.meta, "artifact") or "",
    "process_id": lambda one: text_of(one.meta, "processId") or "",
    "dynamic_install": lambda one: int(one.meta.get("dynamicInstall") is True),
}
SORT_NAMES = (*SORTS, *("-" + name for name in SORTS))


class InstancePage(msgspec.Struct, kw_only=True, frozen=True):
    instances: list[InstanceView]
    matched: int
    """Number of instances that match the filter."""
    cursor: str | None
    """For the next page; null: this is the last one."""
    stream_id: str
    """The newest message of the stream when this answer was begun: follow the stream from there."""


class InstanceFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Fields are ANDed, values within a field ORed; an empty field matches everything."""

    services: tuple[str, ...] = ()
    instance_ids: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    """As they are counted: an instance whose loss is held is LOST."""
    versions: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    """A plugin's name, or name:version."""
    apps: tuple[str, ...] = ()
    held: bool = False
    or_held: bool = False
    """With `states`: also those whose loss is held."""
    text: str = ""

    def test(self) -> Callable[[Instance], bool] | None:
        """Returns the test of an instance; None if every instance matches."""
        tests: list[Callable[[Any], bool]] = []
        for wanted, value in (
            (self.services, lambda one: one.service),
            (self.instance_ids, lambda one: one.instance_id),
            (self.versions, lambda one: text_of(one.meta, "version")),
            (self.apps, lambda one: one.app),
        ):
            if wanted:
                tests.append(_in(frozenset(wanted), value))
        if self.states:
            states, or_held = frozenset(self.states), self.or_held
            tests.append(lambda one: one.counts_as in states or (or_held and bool(one.held)))
        if self.ips:
            ips = frozenset(self.ips)
            tests.append(lambda one: one.peer in ips or not ips.isdisjoint(ips_of(one.meta)))
        if self.plugins:
            plugins = self.plugins
            tests.append(lambda one: _has_plugin(one.meta, plugins))
        if self.held:
            tests.append(lambda one: bool(one.held))
        if self.text:
            text = self.text.lower()
            tests.append(lambda one: text in _words(one) or text in sentence(one.reason, "en").lower())
        if not tests:
            return None
        return lambda one: all(test(one) for test in tests)


def _in(wanted: frozenset[Any], value: Callable[[Any], Any]) -> Callable[[Any], bool]:
    return lambda one: value(one) in wanted


def _has_plugin(meta: dict[str, Any], wanted: tuple[str, ...]) -> bool:
    has = versions_of(meta, "pluginInfoMap")
    return any(one in has or any(f"{name}:{version}" == one for name, version in has.items()) for one in wanted)


def _words(one: Instance) -> str:
    meta = one.meta
    parts = [one.service, one.instance_id, one.app, one.peer, text_of(meta, "hostName") or "", *ips_of(meta)]
    parts += [text_of(meta, "version") or "", text_of(meta, "artifact") or ""]
    return "\n".join(parts).lower()


async def in_slices(instances: Iterable[Instance], most: int = SLICE) -> AsyncIterator[list[Instance]]:
    """Yields all instances of this moment a slice at a time, and lets the event loop do other work in between."""
    everyone = list(instances)
    for begin in range(0, len(everyone), most):
        yield everyone[begin : begin + most]
        await asyncio.sleep(0)


class FoundInstances(msgspec.Struct, array_like=True, gc=False):
    """One monitor's part of a page: its first rows of the page and their places, one row more than fit."""

    places: list[tuple[str | int, int]]
    views: list[InstanceView]
    matched: int


async def find(
    instances: Iterable[Instance],
    which: InstanceFilter,
    *,
    sort: str,
    limit: int,
    cursor: str | None,
    ext: bool = False,
) -> FoundInstances:
    """Finds the rows of one page. Raises Problem for a cursor of another order."""
    descending, name = sort.startswith("-"), sort.removeprefix("-")
    value = SORTS[name]
    after = _read_cursor(cursor, sort) if cursor else None
    test = which.test()
    matched = 0
    found: list[tuple[Place, Instance]] = []
    most = 2 * limit + SLICE
    async for some in in_slices(instances):
        fits = some if test is None else [one for one in some if test(one)]
        matched += len(fits)
        placed: list[tuple[Place, Instance]] = [((value(one), one.id), one) for one in fits]
        if after is not None:
            placed = [one for one in placed if (one[0] < after if descending else one[0] > after)]
        found += placed
        if len(found) > most:
            found.sort(key=_place, reverse=descending)
            del found[limit + 1 :]
    found.sort(key=_place, reverse=descending)
    rows = found[: limit + 1]
    return FoundInstances([place for place, _ in rows], [view(one, ext=ext) for _, one in rows], matched)


def as_page(parts: Sequence[FoundInstances], *, sort: str, limit: int, stream_id: str) -> InstancePage:
    """Makes the page from what each monitor has found. O(monitors * limit)."""
    rows = [row for part in parts for row in zip(part.places, part.views, strict=True)]
    if len(parts) > 1:
        rows.sort(key=_place, reverse=sort.startswith("-"))
    more = len(rows) > limit
    return InstancePage(
        instances=[view for _, view in rows[:limit]],
        matched=sum(part.matched for part in parts),
        cursor=_write_cursor(sort, rows[limit - 1][0]) if more else None,
        stream_id=stream_id,
    )


async def page(
    instances: Iterable[Instance],
    which: InstanceFilter,
    *,
    sort: str,
    limit: int,
    cursor: str | None,
    stream_id: str,
    ext: bool = False,
) -> InstancePage:
    """Returns one page of these instances. Raises Problem for a cursor of another order."""
    found = await find(instances, which, sort=sort, limit=limit, cursor=cursor, ext=ext)
    return as_page([found], sort=sort, limit=limit, stream_id=stream_id)


def _place(found: tuple[Place, Any]) -> Place:
    return found[0]


def _write_cursor(sort: str, place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([sort, *place])).decode().rstrip("=")


def _read_cursor(cursor: str, sort: str) -> Place:
    try:
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        of, value, id_ = msgspec.json.decode(data, type=tuple[str, str | int, int])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise bad("cursor", cursor, "must be the `cursor` of a previous page") from None
    if of != sort or isinstance(value, str) != isinstance(SORTS[sort.removeprefix("-")](_SAMPLE), str):
        raise bad("cursor", cursor, f"belongs to sort={of!r}; use that order, or start again without a cursor")
    return value, id_


class _Sample:
    """Has all attributes that SORTS reads, to find out the type of each order's values."""

    id = last_beat_ms = since_ms = first_seen_ms = lag_ms = skew_ms = lease_ms = 0
    service = instance_id = app = ""
    state = State.UP
    held = False
    meta: dict[str, Any] = {}  # noqa: RUF012

    @staticmethod
    def ip() -> str:
        return ""


_SAMPLE = _Sample()
