# SPDX-License-Identifier: MIT
"""Documents in the database of a monitor that may be running: `heartfelt token` writes tokens, the monitor reloads
them.

This does not use the monitor's lock, since SQLite lets two processes write in turn.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.store import queries
from heartfelt.monitor.store.damage import FAILURES, Damage, is_broken
from heartfelt.monitor.store.known_file import look
from heartfelt.monitor.store.lock import holder, real_path
from heartfelt.monitor.store.marker import read_marker
from heartfelt.monitor.store.schema import check_file, configure, create_file, prepare

BUSY_MS = 5000


class Documents:
    """Small named documents of one kind. Blocks. Raises StoreError, with the remedy."""

    def __init__(self, path: Path, kind: str, *, make: bool) -> None:
        """make: whether to create the file if it does not exist."""
        path = real_path(path)
        if not make and not path.exists():
            raise StoreError(f"{path} does not exist; give the monitor's data folder with --data")
        check_file(path)
        if holder(path) is None:  # otherwise a monitor has looked at it
            look(path, read_marker(path), logging.getLogger("heartfelt.monitor.store"))
        create_file(path)
        self._kind = kind
        self._path = path
        self._damage = Damage(path, logging.getLogger("heartfelt.monitor.store"))
        with self._errors():
            self._connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None)
            try:
                prepare(self._connection)
                configure(self._connection, busy_ms=BUSY_MS)
            except BaseException:
                self._connection.close()
                raise

    def all(self) -> dict[str, Any]:
        with self._errors():
            return queries.documents(self._connection, self._damage, self._kind)

    def put(self, name: str, value: Any) -> None:
        text = msgspec.json.encode(value).decode()
        with self._errors():
            self._connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (self._kind, name, text))

    def delete(self, name: str) -> bool:
        with self._errors():
            done = self._connection.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (self._kind, name))
        return done.rowcount > 0

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except FAILURES as error:
            if is_broken(error):
                raise StoreError(f"{self._path} is damaged: {error}; {self._damage.remedy}") from error
            raise StoreError(f"{self._path}: {error}; is its disk full, or another program writing to it?") from error

    def __enter__(self) -> Documents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
