# SPDX-License-Identifier: MIT
"""Ensures that one monitor uses a file: a lock beside it, which the system releases however the process ends."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from heartfelt.errors import StoreError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Lock a byte far behind the text, so that others can still read the text.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(path: Path) -> str | None:
    """Returns the process that holds the lock of a file, "" if it is not known which; None: nobody does."""
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    try:
        _lock(descriptor)
    except OSError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def real_path(path: Path) -> Path:
    """Returns the file that a symbolic link names, beside which its lock is: two names of a file have one lock. Raises
    StoreError if this user may not look into its folder, or the name cannot be one."""
    try:
        return path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        why = getattr(error, "strerror", None) or error
        raise StoreError(
            f"{path} cannot be looked at: {why}; run this as the monitor's user, or use another data folder"
        ) from error


class FileLock:
    """Held from `take` to `release`. The lock file is never removed: another process may have opened it already."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._of = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Takes the lock without waiting. Raises StoreError if another process, or another store here, has it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be opened for writing: {error.strerror}; let the monitor's user write to "
                f"{self._path.parent}, or use another data folder"
            ) from error
        try:
            _lock(descriptor)
        except OSError as error:
            who = _read(descriptor)
            os.close(descriptor)
            raise StoreError(
                f"{self._of} is in use by {'process ' + who if who else 'another process'}; stop that monitor, or use "
                "another data folder for this one"
            ) from error
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # only people read the number; a full disk must not prevent the start
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
