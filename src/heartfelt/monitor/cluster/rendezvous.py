# SPDX-License-Identifier: MIT
"""Rendezvous hashing: each key has one of the living monitors, and only the keys of one that dies change theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

__all__ = ["owner_of", "spread"]

_DIGEST_BYTES = 8


def _hashes(living: Iterable[str]) -> list[tuple[str, hashlib.blake2b]]:
    return [(id, hashlib.blake2b(id.encode() + b"\0", digest_size=_DIGEST_BYTES)) for id in sorted(set(living))]


def _best(key: bytes, hashes: Sequence[tuple[str, hashlib.blake2b]]) -> str:
    best, best_weight = "", b""
    for id, begun in hashes:
        made = begun.copy()
        made.update(key)
        if (weight := made.digest()) > best_weight:
            best, best_weight = id, weight
    return best


def owner_of(key: bytes, living: Iterable[str]) -> str | None:
    """Returns which of the monitors has the key, the same in each process. None: there are none."""
    return _best(key, _hashes(living)) or None


def spread(keys: Iterable[bytes], living: Iterable[str]) -> dict[str, list[bytes]]:
    """Returns the keys of each monitor; faster than `owner_of` for each key. Empty if there are none."""
    hashes = _hashes(living)
    found: dict[str, list[bytes]] = {id: [] for id, _ in hashes}
    if hashes:
        for key in keys:
            found[_best(key, hashes)].append(key)
    return found
