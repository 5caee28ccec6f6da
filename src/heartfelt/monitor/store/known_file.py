# SPDX-License-Identifier: MIT
"""Compares a database file with what is known about it, before SQLite opens it and while nothing has been changed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.store import check
from heartfelt.monitor.store.marker import Marker, is_of, marker_path, size_and_time, wal_path, wal_salt


def refuse_empty(path: Path, marker: Marker | None) -> None:
    """Raises StoreError for an empty file where there was a database."""
    size, _ = size_and_time(path)
    if size or not path.exists():
        return
    wal_bytes, _ = size_and_time(wal_path(path))
    if marker is None and not wal_bytes:
        return
    had = "a database was used here"
    if marker is not None:
        had += f", with {marker.instances} instances when it was last looked at"
    raise StoreError(
        f"{path} is empty, though {had}; nothing was changed. Put the file back, or {_restore(path)}; to start with "
        f"nothing, move {path.name}, {wal_path(path).name} and {marker_path(path).name} away"
    )


def look(path: Path, marker: Marker | None, logger: logging.Logger) -> None:
    """Raises StoreError if the file, its log and the marker do not belong together, or the log is missing. Logs a new
    start where there was a database."""
    refuse_empty(path, marker)
    if not path.exists() or not path.stat().st_size:
        _log_new(path, marker, logger)
        return
    meta = check.meta_of_main_file(path)
    id_ = meta.get("id") or check.meta_with_log(path).get("id")
    own = marker is not None and marker.id == id_
    if is_other_log(path, marker, meta):
        raise StoreError(
            f"{path} and {wal_path(path).name} do not belong together: one of them was replaced; nothing was changed. "
            f"Put back the other one, or {_restore(path)}; to go on without the log, move {wal_path(path).name} and "
            f"{marker_path(path).name} away, and run `heartfelt doctor --repair --data {path.parent}`"
        )
    salt = wal_salt(path)
    unclean = meta.get("closed_cleanly") == 0 and "id" in meta
    if salt is None and unclean and marker is None:
        raise StoreError(
            f"{path} was copied while a monitor used it, or lost its -wal, which has the newest data; nothing was "
            f"changed ({check.readable(path)}). Put its -wal beside it, copy it with `heartfelt backup FILE`, or, "
            f"to go on with what is there, run `heartfelt doctor --repair --data {path.parent}`"
        )
    if marker is None:
        return
    written_ms = meta.get("last_written_ms")
    is_older = (marker.written_ms or 0) > (written_ms if isinstance(written_ms, int) else 0)
    if salt is None and own and unclean and is_older:
        raise StoreError(
            f"{path} was not closed cleanly, and its -wal, which has the newest data, is missing or empty; nothing was "
            f"changed ({check.readable(path)}). Put it back, or {_restore(path)}; to go on with what is there, run "
            f"`heartfelt doctor --repair --data {path.parent}`"
        )
    if not own and id_ is not None:
        logger.warning("%s is another database than the one that was used here last", path)


def is_other_log(path: Path, marker: Marker | None, meta: dict[str, Any]) -> bool:
    """Whether the write-ahead log beside a file belongs to another database. meta: of the file without its log.

    A process that is killed while it writes its log into the file leaves a file that can only be read with its log.
    Then `meta` is empty, and nothing can be said.
    """
    salt = wal_salt(path)
    id_ = meta.get("id")
    if salt is None or id_ is None:
        return False
    if check.meta_with_log(path).get("id", id_) != id_:
        return True
    if marker is None or marker.clean:
        return False
    return (marker.id == id_) is not is_of(marker, salt)


def _restore(path: Path) -> str:
    return f"restore a backup with `heartfelt restore FILE --data {path.parent}`"


def _log_new(path: Path, marker: Marker | None, logger: logging.Logger) -> None:
    if marker is not None:
        logger.warning(
            "%s is gone: a database with %d instances was used here; the monitor starts with a new one. If that is not "
            "what you want, stop the monitor and %s",
            path, marker.instances, _restore(path),
        )  # fmt: skip
    elif path.exists():
        logger.warning(
            "%s was empty; the monitor starts with a new database. If it had data, stop the monitor and %s",
            path, _restore(path),
        )  # fmt: skip
