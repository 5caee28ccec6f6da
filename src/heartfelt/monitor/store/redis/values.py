# SPDX-License-Identifier: MIT
"""Values as Redis has them, besides those of packing.py; and which entry of a stream a seq is."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from heartfelt.monitor.model import Run
from heartfelt.monitor.store import rows
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, SEQ_EPOCH_MS, SEQ_PER_MS

BAD_VALUE = (OverflowError, ValueError, TypeError, RecursionError, msgspec.MsgspecError)
"""Errors of a value that can never be stored, or that cannot be read. An unpaired surrogate is a ValueError."""

DONE_MS = 86_400_000
"""How long Redis remembers which calls it has executed."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class ValueDamage:
    """Counts and logs what cannot be read, and is left out. Any thread."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.rows = 0
        self._log = OutageLog(logger or logging.getLogger("heartfelt.monitor.store"), "")

    def skip(self, what: str) -> None:
        self.rows += 1
        self._log.failed(f"left out, because it cannot be read in Redis: {what}")


def pack(value: Any) -> bytes:
    return _encode(value)


def unpack(data: bytes) -> Any:
    return _decode(data)


def pack_run(run: Run) -> bytes:
    return _encode(rows.run_row(run))


def run_of(data: bytes) -> Run:
    return rows.run_of(tuple(_decode(data)))


def seq_of(stream_id: bytes, shard: int) -> int:
    """Returns the seq of a change: that of an entry of the shard's stream."""
    return int(stream_id.partition(b"-")[0]) * MOST_SHARDS + shard


def stream_id(seq: int) -> str:
    return f"{seq // MOST_SHARDS}-0"


def stream_id_at(ms: int) -> int:
    """Returns the first part of the lowest id that an entry of this time or later has."""
    return max(0, (ms - SEQ_EPOCH_MS) * SEQ_PER_MS)


def pairs_of(flat: Any) -> list[tuple[Any, Any]]:
    """Returns the fields of a hash with their values; Redis has them in one list."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def checked(answers: list[Any]) -> list[Any]:
    """Returns the answers. Raises the first one that is an exception."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
