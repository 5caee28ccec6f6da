# SPDX-License-Identifier: MIT
"""Backups of a database that may be in use, and putting another one in its place.

A new file is written beside the one that it replaces, synchronized with the disk, and renamed: whenever this ends,
there is either the old file or the new one. Nothing is deleted: what was there before is moved aside.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.store import check, schema
from heartfelt.monitor.store.damage import FAILURES, is_broken
from heartfelt.monitor.store.lock import FileLock, holder, real_path
from heartfelt.monitor.store.marker import Marker, marker_path, size_and_time, wal_path, write_marker

PAGES = 1024
"""Pages that are copied at a time."""
_BESIDE = frozenset(("-wal", "-shm", "-journal", ".lock", ".state", ".state.new"))
_COUNTED = ("instances", "changes", "events", "documents")


class Contents(msgspec.Struct, kw_only=True, frozen=True):
    """Summary of a file. None: unknown."""

    path: Path
    bytes: int
    schema: int
    counts: dict[str, int | None]
    written_ms: int | None

    def __str__(self) -> str:
        counts = ", ".join(f"{'?' if n is None else f'{n:,}'} {name}" for name, n in self.counts.items())
        when = "never written"
        if self.written_ms is not None:
            when = f"last written {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(self.written_ms / 1000))}"
        return f"{counts}; {when}; {self.bytes:,} bytes, schema {self.schema}"


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Makes an OSError, from a look at a file, a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename} cannot be used: {error.strerror}; name another file, or run this as the monitor's user"
        ) from error


@_explained()
def backup(source: Path, target: Path, *, force: bool = False) -> Contents:
    """Copies a database as it is now, also while a monitor uses it, and checks the copy. Blocks. Raises StoreError."""
    source = real_path(source)
    if not source.exists():
        raise StoreError(f"{source} does not exist; give the monitor's data folder with --data")
    schema.check_file(source)
    if not source.stat().st_size:
        raise StoreError(f"{source} is empty: there is nothing to copy; `heartfelt doctor` looks at it")
    if target.exists():
        if source.samefile(target):
            raise StoreError(f"{target} is the database itself; name another file")
        if not target.is_file():
            raise StoreError(f"{target} is not a file; name the file to write")
        if not force:
            raise StoreError(f"{target} exists already; name another file, or overwrite it with --force")
    _refuse_used(source, target)
    with new_file(target) as new:
        _copy(source, new)
        contents = _check_copy(source, new)
        _synchronize(new)
        new.replace(target)
        _synchronize(target.parent)
    return msgspec.structs.replace(contents, path=target)


def _refuse_used(source: Path, target: Path) -> None:
    """Raises StoreError if a copy at `target` would destroy a database: one of its files, or one that is in use."""
    end = target.name.removeprefix(source.name)
    if end in _BESIDE and target.resolve().parent == source.resolve().parent:
        raise StoreError(f"{target} is for a file of the database {source}; name another file")
    if wal_path(target).exists() or holder(real_path(target)) is not None:
        raise StoreError(f"{target} is the database of a monitor; name another file, or use `heartfelt restore FILE`")


@_explained()
def restore(source: Path, path: Path) -> tuple[Contents, list[Path]]:
    """Puts a copy of `source` in the place of the database at `path`. Returns what it holds, and where the files are
    that were there before. Blocks. Raises StoreError, also if a monitor uses the database."""
    path = real_path(path)
    if not source.is_file():
        raise StoreError(f"{source} is not a file; name a backup that `heartfelt backup` has written")
    if path.exists() and source.samefile(path):
        raise StoreError(f"{source} is the database itself; name a backup that `heartfelt backup` has written")
    schema.check_file(source)
    if not source.stat().st_size:
        raise StoreError(f"{source} is empty; name another backup")
    schema.create_folder(path)
    lock = FileLock(path)
    lock.take()
    try:
        with new_file(path) as new:
            _copy(source, new)
            contents = _check_copy(source, new)
            moved = put_in_place(new, path)
    finally:
        lock.release()
    return msgspec.structs.replace(contents, path=path), moved


def put_in_place(new: Path, path: Path) -> list[Path]:
    """Replaces the database by a complete one, and moves its files aside. Returns where they are. The caller holds the
    lock. Raises StoreError."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.{stamp}")
    n = 1
    while aside.exists():
        n += 1
        aside = path.with_name(f"{path.name}.{stamp}-{n}")
    moved = []
    try:
        _synchronize(new)
        # The log first: a start between these steps refuses a database whose log is missing, and takes no wrong one.
        for old, kept in ((wal_path(path), wal_path(aside)), (marker_path(path), marker_path(aside))):
            if old.exists():
                old.replace(kept)
                moved.append(kept)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)  # an index of the log, which SQLite makes again
        if path.exists():
            try:
                os.link(path, aside)
            except OSError:  # a file system without hard links
                path.replace(aside)
            moved.insert(0, aside)
        new.replace(path)
        _synchronize(path.parent)
        mark_clean(path)
    except OSError as error:
        raise StoreError(
            f"{path} could not be replaced: {error.strerror}; its files are in {path.parent}, some as {aside.name}"
        ) from error
    return moved


def mark_clean(path: Path) -> None:
    """Writes the marker of a database that nobody uses. Raises OSError."""
    meta = check.meta_of_main_file(path)
    with contextlib.closing(check.main_file(path)) as connection:
        instances = check.counts(connection, ("instances",))["instances"]
    size, modified_ns = size_and_time(path)
    marker = Marker(
        id=str(meta.get("id", "")),
        instances=instances or 0,
        written_ms=meta.get("last_written_ms"),
        clean=True,
        size=size,
        modified_ns=modified_ns,
    )
    write_marker(path, marker)


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Creates a file beside the target, and removes it at the end unless it was renamed."""
    new = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        yield new
    except FAILURES as error:
        raise StoreError(
            f"{target} cannot be written: {error}; free some space on the disk of {target.parent}"
        ) from error
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written: {error.strerror}; create its folder, or name another file"
        ) from error
    finally:
        for name in (new.name, new.name + "-wal", new.name + "-shm", new.name + "-journal"):
            with contextlib.suppress(OSError):
                new.with_name(name).unlink(missing_ok=True)


def _copy(source: Path, new: Path) -> None:
    try:
        reading = check.read_only(source)
    except FAILURES as error:
        raise StoreError(_unreadable(source, error)) from error
    with contextlib.closing(reading), contextlib.closing(sqlite3.connect(new, isolation_level=None)) as writing:
        try:
            # One snapshot: otherwise the copy would begin again whenever the monitor writes.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except FAILURES as error:
            raise StoreError(_unreadable(source, error)) from error
        try:
            reading.backup(writing, pages=PAGES, sleep=0.005)
        except FAILURES as error:
            if "full" in str(error) or "I/O" in str(error):
                raise
            raise StoreError(_unreadable(source, error)) from error
        writing.execute("PRAGMA journal_mode = DELETE").fetchone()  # a backup is one file


def _unreadable(path: Path, error: Exception) -> str:
    what = "is damaged" if is_broken(error) else "cannot be read"
    return (
        f"{path} {what}: {error}; nothing was changed. `heartfelt doctor` looks at the database of a data folder; if "
        "this is a backup, restore another one"
    )


def _check_copy(source: Path, new: Path) -> Contents:
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
        found = check.structure(connection, float("inf"), quick=True)
        if found:
            raise StoreError(
                f"{source} is damaged: {check.summary(found)}; nothing was changed. `heartfelt doctor` looks at it, "
                "and `heartfelt doctor --repair` saves what can be read"
            )
        # Another id: a write-ahead log of the original does not belong to the copy.
        with connection:
            for name, value in (("id", secrets.token_hex(8)), ("closed_cleanly", 1)):
                connection.execute(
                    "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )
    return contents_of(new)


def contents_of(path: Path) -> Contents:
    """Raises sqlite3.Error."""
    with contextlib.closing(check.main_file(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        written_ms = check.meta_of(connection).get("last_written_ms")
        return Contents(
            path=path,
            bytes=path.stat().st_size,
            schema=version,
            counts=check.counts(connection, _COUNTED, seconds=30.0),
            written_ms=written_ms if isinstance(written_ms, int) else None,
        )


def _synchronize(path: Path) -> None:
    """Writes a file, or the names in a folder, to the disk. Raises OSError."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
