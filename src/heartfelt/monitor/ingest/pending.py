# SPDX-License-Identifier: MIT
"""Inputs of names of which it is not known yet which monitor owns them, as they came."""

from __future__ import annotations

import msgspec

from heartfelt.monitor.fleet.owners import Name, Raw, RawKind
from heartfelt.monitor.ingest.known import cut

__all__ = ["MOST_BYTES", "MOST_NAMES", "MOST_OF_NAME", "PendingInputs", "PendingNames"]

MOST_NAMES = 200_000
MOST_BYTES = 128 << 20
MOST_OF_NAME = 8
"""Inputs of one name besides repeats."""
_OVERHEAD = 400


class PendingInputs(msgspec.Struct):
    """A name, and what came of it."""

    raws: list[Raw]
    joins: bool
    """It joins here if no monitor has it."""
    keys: list[object]
    """For each: two that follow each other and have the same one are repeats."""


class PendingNames:
    """Bounded in names, in bytes, and in inputs of a name. What is beyond that is dropped and counted: plain beats
    first. Belongs to the loop's thread."""

    def __init__(self, *, most_names: int = MOST_NAMES, most_bytes: int = MOST_BYTES) -> None:
        self._most_names = most_names
        self._most_bytes = most_bytes
        self._names: dict[Name, PendingInputs] = {}
        self.n_bytes = 0
        self.dropped = self.repeats = 0

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: Name) -> bool:
        return name in self._names

    def names(self) -> list[tuple[Name, bool]]:
        """Returns all names, and whether each joins."""
        return [(name, one.joins) for name, one in self._names.items()]

    def put(self, name: Name, raw: Raw | None, *, joins: bool) -> bool:
        """Keeps an input. None: there is none, but the name is to be asked for. Returns whether it has to be asked."""
        one = self._names.get(name)
        asks = one is None or (joins and not one.joins)
        if one is None:
            if len(self._names) >= self._most_names or self.n_bytes >= self._most_bytes:
                self.dropped += 1
                return False
            one = self._names[name] = PendingInputs([], joins, [])
            self.n_bytes += _OVERHEAD + len(name[0]) + len(name[1])
        one.joins |= joins
        if raw is not None:
            self._add(one, raw)
        return asks

    def plain(self, name: Name) -> Raw | None:
        """Returns the newest plain beat that is kept of a name, if any."""
        one = self._names.get(name)
        if one is None:
            return None
        return next((raw for raw, key in zip(one.raws[::-1], one.keys[::-1], strict=True) if key is not None), None)

    def get(self, name: Name) -> list[Raw]:
        """Returns what was kept of a name, in order."""
        one = self._names.get(name)
        return [] if one is None else one.raws

    def pop(self, name: Name) -> list[Raw]:
        """Hands over what was kept of a name, in order."""
        one = self._names.pop(name, None)
        if one is None:
            return []
        self.n_bytes -= _OVERHEAD + len(name[0]) + len(name[1]) + sum(len(raw.data) for raw in one.raws)
        return one.raws

    def _add(self, one: PendingInputs, raw: Raw) -> None:
        key = _repeats(raw)
        if key is not None and one.keys and one.keys[-1] == key:
            self.repeats += 1
            if raw.heard_ms >= one.raws[-1].heard_ms:
                self.n_bytes += len(raw.data) - len(one.raws[-1].data)
                one.raws[-1] = raw
            return
        if len(one.raws) >= MOST_OF_NAME:
            self.dropped += 1
            plain = next((n for n, old in enumerate(one.keys) if old is not None), None)
            if plain is None and key is not None:
                return  # what it says least of all: it beats
            place = 0 if plain is None else plain
            self.n_bytes -= len(one.raws[place].data)
            del one.raws[place], one.keys[place]
        one.raws.append(raw)
        one.keys.append(key)
        self.n_bytes += len(raw.data)


def _repeats(raw: Raw) -> object:
    """Returns what two plain beats have in common if the second says nothing new; None: it is no plain beat."""
    if raw.kind is RawKind.TEXT and raw.repeats:
        parts = cut(raw.data)
        return raw.via, raw.peer, raw.data if parts is None else parts.key
    if raw.kind is RawKind.BEAT and raw.repeats:
        return raw.via, raw.peer, raw.data
    return None
