# SPDX-License-Identifier: MIT
"""Reads instances of other monitors, with their deadlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from heartfelt.monitor.model import InstanceRow
from heartfelt.monitor.store.redis.answers import Owned
from heartfelt.monitor.store.redis.holdings import Holdings
from heartfelt.monitor.store.redis.joining import ROW_HEAD, find
from heartfelt.monitor.store.redis.keys import SLOT_BYTES
from heartfelt.monitor.store.redis.link import Command, Unreachable
from heartfelt.monitor.store.redis.packing import Unreadable, unpack_row
from heartfelt.monitor.store.redis.pages import page_key


class Foreigner(NamedTuple):
    """An instance that another monitor owns."""

    owned: Owned
    row: InstanceRow
    deadline_ms: int
    """By the primary's clock; 0: no timeout runs."""


def look(holdings: Holdings, names: Sequence[bytes]) -> list[Foreigner | Unreachable | None]:
    """Returns what Redis has of names. None: it is no other monitor's, or cannot be read."""
    found = find(holdings, names)
    others = {name: one for name, one in found.items() if isinstance(one, Owned) and one.owner != holdings.me}
    commands = []
    for name, owned in others.items():
        shard, entry = holdings.keys.shard_of(name), owned.entry
        page = page_key(holdings.keys, shard, entry.page, f"{owned.owner}:{owned.fence}")
        at = entry.index * SLOT_BYTES
        commands.append(Command(shard, ("HGET", holdings.keys.shard(shard, "rows", entry.page), entry.index)))
        commands.append(Command(shard, ("GETRANGE", page, at, at + SLOT_BYTES - 1)))
    replies = holdings.ask(commands)
    answers: dict[bytes, Foreigner | Unreachable | None] = {
        name: one if isinstance(one, Unreachable) else None for name, one in found.items()
    }
    for (name, owned), row, slot in zip(others.items(), replies[::2], replies[1::2], strict=True):
        failed = next((one for one in (row, slot) if isinstance(one, Unreachable)), None)
        if failed is not None:
            answers[name] = failed
        elif row is not None and row[:ROW_HEAD] == owned.entry.pack()[6:] and len(slot) == SLOT_BYTES:
            try:
                unpacked = unpack_row(row[ROW_HEAD:], holdings.shared)
            except Unreadable:  # it is told of when it is taken over
                continue
            answers[name] = Foreigner(owned, unpacked, int.from_bytes(slot, "big"))
    return [answers[name] for name in names]
