# SPDX-License-Identifier: MIT
"""One monitor a file: a lock beside it, which the system lets go of when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from heartfelt.errors import StoreError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # A byte far behind the text, which others then still can read.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Held from `take` to `release`. The file that is locked is never removed: who waits for it may have opened it."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._of = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Never waits. StoreError: another process, or another store of this one, has it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be opened for writing: {error.strerror}; give the monitor's user the right to "
                f"write into {self._path.parent}, or name another data folder"
            ) from error
        try:
            _lock(descriptor)
        except OSError as error:
            who = _read(descriptor)
            os.close(descriptor)
            raise StoreError(
                f"{self._of} is in use by {'process ' + who if who else 'another process'}: stop that monitor, or give "
                "this one another data folder"
            ) from error
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # the number is for people; a full disk is no reason not to start
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _read(descriptor: int) -> str:
    try:
        text = os.read(descriptor, 32).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return text if text.isdigit() else ""
