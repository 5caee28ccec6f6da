# SPDX-License-Identifier: MIT
"""Reading all watched keys: one pass over the hub's rows, and the views that `keys()`, `items()`, `values()` return.

A pass reads the rows in pieces, so that other threads run in between, and is complete before its caller sees the first
row. No key is looked up a second time, since it may time out or be removed at any moment.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MappingView, Set, ValuesView
from typing import TYPE_CHECKING, Any, cast

from heartfelt._rows import Listing
from heartfelt._stats import Key, Watch
from heartfelt._types import WatchState

if TYPE_CHECKING:
    from typing import TypeAlias

    from heartfelt._core import Hub

    Row: TypeAlias = tuple[Key, bool, float, float, float, float, bool, Any, int, int]

__all__ = ["HubItems", "HubKeys", "HubValues", "keys", "rows", "watch"]

PAGES_AT_ONCE = 16  # of 64 rows


def keys(hub: Hub) -> list[Key]:
    """Lists each watched key once."""
    listing, found = Listing(hub), []
    while not listing.done:
        found += listing.keys(PAGES_AT_ONCE)
    if listing.repeats:  # the type comes first: python -bb refuses to compare a str with bytes
        found = [key for _, key in dict.fromkeys((type(key), key) for key in found)]
    return found


def rows(hub: Hub) -> list[Row]:
    """Lists one row per watched key; the newer one if the key left and joined again during the pass."""
    listing, found = Listing(hub), []
    while not listing.done:
        found += listing.rows(PAGES_AT_ONCE)
    if listing.repeats:
        found = list({(type(row[0]), row[0]): row for row in found}.values())
    return found


def watch(row: Row) -> Watch:
    key, lost, join, beat, deadline, timeout, disposable, extra, missed, _ = row
    state = WatchState.LOST if lost else WatchState.ALIVE
    return Watch(key, state, join, beat, deadline, timeout, disposable, extra, missed)


class _SetView(MappingView, Set[Any]):
    """The set operations of a view, done on the view of a dict that one pass fills."""

    __slots__ = ()
    _mapping: Hub

    def _passed(self) -> KeysView[Any]:
        raise NotImplementedError

    def __le__(self, other: Set[Any]) -> bool:
        return self._passed() <= other if isinstance(other, Set) else NotImplemented

    def __lt__(self, other: Set[Any]) -> bool:
        return self._passed() < other if isinstance(other, Set) else NotImplemented

    def __ge__(self, other: Set[Any]) -> bool:
        return self._passed() >= other if isinstance(other, Set) else NotImplemented

    def __gt__(self, other: Set[Any]) -> bool:
        return self._passed() > other if isinstance(other, Set) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return self._passed() == other if isinstance(other, Set) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as for any set that changes

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        return self._passed().isdisjoint(other)

    def __and__(self, other: Iterable[Any]) -> set[Any]:
        return self._passed() & other

    def __or__(self, other: Iterable[Any]) -> set[Any]:
        return self._passed() | other

    def __sub__(self, other: Iterable[Any]) -> set[Any]:
        return self._passed() - other

    def __xor__(self, other: Iterable[Any]) -> set[Any]:
        return self._passed() ^ other

    def __rsub__(self, other: Iterable[Any]) -> set[Any]:
        return other - self._passed()

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__


class HubKeys(_SetView, KeysView[Key]):
    """The watched keys, as `HeartHub.keys()` returns them."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Key]:
        return iter(keys(self._mapping))

    def _passed(self) -> KeysView[Any]:
        return dict.fromkeys(keys(self._mapping)).keys()


class HubItems(_SetView, ItemsView[Key, Watch]):
    """Each watched key with its Watch, as `HeartHub.items()` returns them."""

    __slots__ = ()

    def __contains__(self, item: object) -> bool:
        if not (isinstance(item, tuple) and len(item) == 2):
            return False
        found = cast("Mapping[Key, Watch]", self._mapping).get(item[0])
        return found is not None and found == item[1]

    def __iter__(self) -> Iterator[tuple[Key, Watch]]:
        return ((row[0], watch(row)) for row in rows(self._mapping))

    def _passed(self) -> KeysView[Any]:
        return cast("KeysView[Any]", dict(self).items())


class HubValues(ValuesView[Watch]):
    """The Watch of each watched key, as `HeartHub.values()` returns them."""

    __slots__ = ()
    _mapping: Hub

    def __contains__(self, value: object) -> bool:
        return any(found == value for found in self)

    def __iter__(self) -> Iterator[Watch]:
        return map(watch, rows(self._mapping))
