# SPDX-License-Identifier: MIT
"""Snapshots: saving a hub's keys to a file, and restoring a hub from it.

The file, integers little-endian:

    header     64 bytes: magic, format version (2 bytes), flags (2; bit 0: there are extras), 4 bytes of zeros, number
               of keys, bytes of rows, bytes of extras, wall clock at the save in ns since the epoch (8 each; for
               information only), BLAKE2b digest (16) of all the rest: rows, extras, then the header before the digest
    rows       one per key: see _rows.pyx
    extras     a pickled list, one for each row whose flags say so; empty if extras were not requested

Times are stored as durations, which stand still between save and restore. So the clock of another machine, or of this
one before a reboot, does not matter.

Writing: to a new file in the same folder, which then replaces the old one. A process that is killed meanwhile leaves
the old file intact, and the new one (`.heartfelt-*.tmp`) behind. The digest detects damage, not malice: who writes the
file can write any digest. So rows are read with every bound checked, and extras are unpickled only on request.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import secrets
import stat
import struct
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from heartfelt._checks import duration_or_zero_ns, shown
from heartfelt._core import Hub
from heartfelt._options import yes_or_no
from heartfelt._rows import Packer, Unpacked
from heartfelt._version import __version__
from heartfelt.errors import SnapshotError

AnyHub = TypeVar("AnyHub", bound=Hub)
StrPath = str | os.PathLike[str]

MAGIC = b"\x89heart\r\n"  # like PNG's: a transfer that changes line ends or the eighth bit breaks it
VERSION = 1
HAS_EXTRAS = 1
FIELDS = struct.Struct("<8sHHIQQQq")
DIGEST_BYTES = 16
HEADER_BYTES = FIELDS.size + DIGEST_BYTES
PAGES_AT_ONCE = 16  # of 64 keys: other threads run in between
KEYS_AT_ONCE = 1024
REMEDY = "save it again, or use an older copy"


def save(hub: Hub, path: StrPath, extras: bool) -> None:
    target = Path(os.path.realpath(path))  # follows a symbolic link
    new = target.with_name(f".heartfelt-{secrets.token_hex(8)}.tmp")
    try:
        with _created(new, like=target) as file:
            _write(hub, file, extras, path)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the folder's entry for the new file must reach the disk, too
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def restore(
    make: Callable[[], AnyHub],
    close: Callable[[AnyHub], None],
    path: StrPath,
    grace: float | timedelta | None,
    extras: bool | None,
) -> AnyHub:
    """Makes a hub and fills it from a file. close: closes the hub if that fails."""
    grace_ns = -1 if grace is None else duration_or_zero_ns(grace, "grace")
    if extras is not None:
        yes_or_no(extras, "extras")
    rows, values = _read(Path(path).read_bytes(), os.fspath(path), extras)
    hub = make()
    one_by_one = None if values is None else iter(values)
    try:
        while rows.restore(hub, grace_ns, one_by_one, KEYS_AT_ONCE):
            pass
    except BaseException:
        close(hub)
        raise
    return hub


def _created(new: Path, like: Path) -> BinaryIO:
    """Creates a file with the permissions of the old one, if there is one."""
    try:
        mode = stat.S_IMODE(like.stat().st_mode)
    except FileNotFoundError:
        return new.open("xb")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if os.name == "posix":
            os.fchmod(descriptor, mode)
        return os.fdopen(descriptor, "wb")
    except BaseException:
        os.close(descriptor)
        raise


def _write(hub: Hub, file: BinaryIO, extras: bool, path: StrPath) -> None:
    saved_ns = time.time_ns()
    packer = Packer(hub, extras)
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    n_bytes = 0
    file.write(bytes(HEADER_BYTES))
    while not packer.done:
        rows = packer.some(PAGES_AT_ONCE)
        digest.update(rows)
        file.write(rows)
        n_bytes += len(rows)
    pickled = _pickled(packer.extras, path) if packer.extras else b""
    digest.update(pickled)
    file.write(pickled)
    flags = HAS_EXTRAS if pickled else 0
    fields = FIELDS.pack(MAGIC, VERSION, flags, 0, packer.n_rows, n_bytes, len(pickled), saved_ns)
    digest.update(fields)
    file.seek(0)
    file.write(fields + digest.digest())


def _pickled(extras: list[Any], path: StrPath) -> bytes:
    try:
        return pickle.dumps(extras)
    except Exception as error:  # anything that their own methods raise
        raise SnapshotError(f"{path} was not saved: {_first_bad(extras)} cannot be pickled: {error}") from error


def _first_bad(extras: list[Any]) -> str:
    for extra in extras:
        try:
            pickle.dumps(extra)
        except Exception:
            return f"the extra {shown(extra)}"
    return "the extras together"


def _read(data: bytes, path: str, extras: bool | None) -> tuple[Unpacked, list[Any] | None]:
    """Reads and checks the rows of a file, and its extras if they are to be restored."""
    n_keys, n_rows_bytes, flags = _checked_header(data, path)
    end = HEADER_BYTES + n_rows_bytes
    if flags & HAS_EXTRAS and extras is None:
        raise SnapshotError(
            f"{path} contains pickled extras. Pass extras=True to restore them, but only if nobody else can have "
            f"written the file: unpickling can run any code. Pass extras=False to leave them out"
        )
    try:
        rows = Unpacked(data, HEADER_BYTES, end, n_keys)
        while rows.read(KEYS_AT_ONCE):
            pass
    except ValueError as error:
        raise SnapshotError(f"{path} is damaged: {error}; {REMEDY}") from error
    if not extras:
        return rows, None
    try:
        values = pickle.loads(memoryview(data)[end:]) if flags & HAS_EXTRAS else []
    except Exception as error:  # anything that unpickling raises
        raise SnapshotError(f"{path}: its extras cannot be unpickled: {type(error).__name__}: {error}") from error
    if not isinstance(values, list) or len(values) != rows.n_extras:
        raise SnapshotError(f"{path} is damaged: its extras are not the {rows.n_extras} of its keys; {REMEDY}")
    return rows, values


def _checked_header(data: bytes, path: str) -> tuple[int, int, int]:
    """Checks the header. Returns the number of keys, the bytes of rows, the flags."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise SnapshotError(f"{path} is not a snapshot of a HeartHub: pass a file written by hub.save")
    version = int.from_bytes(data[8:10], "little")
    if version > VERSION:
        raise SnapshotError(
            f"{path} has format {version}, of a newer heartfelt: this one, {__version__}, reads formats up to {VERSION}"
        )
    if len(data) < HEADER_BYTES:
        raise SnapshotError(f"{path} is truncated: {len(data)} bytes, less than a header's {HEADER_BYTES}; {REMEDY}")
    _, version, flags, reserved, n_keys, n_rows_bytes, n_extras_bytes, _ = FIELDS.unpack_from(data)
    expected = HEADER_BYTES + n_rows_bytes + n_extras_bytes
    if len(data) != expected:
        what = "is truncated" if len(data) < expected else "is longer than it says"
        raise SnapshotError(f"{path} {what}: {len(data)} bytes of {expected}; {REMEDY}")
    digest = hashlib.blake2b(memoryview(data)[HEADER_BYTES:], digest_size=DIGEST_BYTES)
    digest.update(data[: FIELDS.size])
    if digest.digest() != data[FIELDS.size : HEADER_BYTES]:
        raise SnapshotError(f"{path} is damaged: its digest does not match its contents; {REMEDY}")
    if version != VERSION or reserved or flags & ~HAS_EXTRAS or bool(flags) != bool(n_extras_bytes):
        raise SnapshotError(f"{path} is damaged: its header is invalid; {REMEDY}")
    return n_keys, n_rows_bytes, flags
