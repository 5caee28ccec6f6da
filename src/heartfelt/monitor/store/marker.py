# SPDX-License-Identifier: MIT
"""A small file beside the database, `NAME.state`: which database was used there, and how far it was written.

SQLite cannot tell a database whose write-ahead log is missing from one that never had more in it, nor an empty file
from a new one. This file can: it says which database to expect, of which age, and which log belongs to it. It is
replaced every MARK_S at most, and not synchronized with the disk: it only serves to find out what happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from pathlib import Path

import msgspec

MARK_S = 5.0
_WAL_HEADER = 32
_NEAR = 1 << 20  # resets of the log between two marks: each adds 1 to its first salt


class Marker(msgspec.Struct, kw_only=True, frozen=True):
    id: str
    """The database's, as in its table meta."""
    instances: int = 0
    written_ms: int | None = None
    """The last write that is known to be stored."""
    clean: bool = False
    size: int = 0
    modified_ns: int = 0
    """The time of the last change of the database file, if `clean`. `size`: its size."""
    salt: int | None = None
    """The first salt of the write-ahead log."""


def marker_path(path: Path) -> Path:
    return path.with_name(path.name + ".state")


def wal_path(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def read_marker(path: Path) -> Marker | None:
    """Returns the marker of a database; None if there is none that can be read."""
    try:
        return msgspec.json.decode(marker_path(path).read_bytes()[:10_000], type=Marker)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def write_marker(path: Path, marker: Marker) -> None:
    """Raises OSError."""
    text = json.dumps(msgspec.structs.asdict(marker)).encode()
    target = marker_path(path)
    new = target.with_name(target.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)
    new.replace(target)


def size_and_time(path: Path) -> tuple[int, int]:
    """Returns the size and the time of the last change; zeros if there is no such file."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_size, found.st_mtime_ns
    return 0, 0


def wal_salt(path: Path) -> int | None:
    """Returns the first salt of a database's write-ahead log; None if there is no log, or nothing in it."""
    with contextlib.suppress(OSError), wal_path(path).open("rb") as file:
        header = file.read(_WAL_HEADER)
        if len(header) == _WAL_HEADER:
            return int(struct.unpack_from(">I", header, 16)[0])
    return None


def is_of(marker: Marker, salt: int) -> bool:
    """Whether a log with this salt continues the one that the marker saw."""
    return marker.salt is None or (salt - marker.salt) % (1 << 32) < _NEAR


def lost_commits(path: Path, n_frames: int) -> int:
    """Returns how many transactions are in the log behind its first `n_frames` frames, which are all that SQLite could
    read: their frames are damaged. A transaction that was not complete when the process ended does not count."""
    commits = 0
    with contextlib.suppress(OSError), wal_path(path).open("rb") as file:
        header = file.read(_WAL_HEADER)
        if len(header) < _WAL_HEADER:
            return 0
        (page_size,) = struct.unpack_from(">I", header, 8)
        if not 512 <= page_size <= 65536 or page_size & (page_size - 1):
            return int(n_frames == 0)
        salts = header[16:24]
        frame = n_frames
        while True:
            file.seek(_WAL_HEADER + frame * (24 + page_size))
            head = file.read(24)
            if len(head) < 24 or (head[8:16] != salts and frame != n_frames):
                return commits
            commits += head[4:8] != b"\0\0\0\0" and head[8:16] == salts
            frame += 1
    return commits
