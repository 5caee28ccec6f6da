# SPDX-License-Identifier: MIT
"""How the outbox in Redis writes its values, as outbox_lib.lua reads them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

from heartfelt.monitor.store.pending import DeliveryRow

BATCH = 100
"""The most deliveries that one script changes."""
BATCH_BYTES = 512 << 10
"""A batch with more than that has no further delivery."""
MOST_MS = (1 << 53) - 1
"""The largest number that Lua has exactly."""
ROW = struct.Struct(">BBIQQ8s12s12s12s")
"""state, level, attempts, next_ms (0: it waits for an earlier one), created_ms, token of the claim, and digests of the
target, the subject and the key. The answer follows."""
NUMBER = struct.Struct(">Q")
COUNT = struct.Struct(">I")
MOST_COUNT = (1 << 32) - 1
"""The token of a claim is the claimer's mark and a count, so that it says who has claimed, and none comes twice."""
ROOM = struct.Struct(">12sH")
"""The digest of a target, and how many it may get."""


def digest_of(*texts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        data = bytes_of(text)
        digest.update(b"%d:" % len(data) + data)
    return digest.digest()


def mark_of(claimer: str) -> bytes:
    """Returns how the tokens of all claims of a monitor begin."""
    return hashlib.blake2b(claimer.encode(), digest_size=4).digest()


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def bounded(ms: int) -> int:
    return max(1, min(ms, MOST_MS))


def number_of(id: bytes) -> int:
    return int(id.partition(b"-")[0])


def id_before(number: int) -> str:
    """Returns the last id of a stream that is before this number."""
    return "0-0" if number <= 0 else f"{min(number, MOST_MS) - 1}-1"


def batches(rows: Iterable[DeliveryRow]) -> Iterator[list[DeliveryRow]]:
    batch: list[DeliveryRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[1]) + len(row[2])
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
