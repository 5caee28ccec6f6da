# SPDX-License-Identifier: MIT
"""The instanceId: new at each start, stable over restarts, or as configured.

A stable id is made from host, service, application, artifact, and a number: the lowest that no other process of this
user on this host holds. A process holds its number by a lock on a file, which the kernel releases however the process
ends. So each worker of a service has an id of its own, and a restarted worker gets the id of the one that it replaces.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import sys
import tempfile
import uuid
from pathlib import Path

from heartfelt.agent.config import AgentConfig
from heartfelt.agent.content import host

MOST_NUMBERS = 4096
_NAMESPACE = uuid.UUID("a4bd1e0e-6a5c-5d0f-8f0b-5d6c1d0a9e55")
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_logger = logging.getLogger("heartfelt.agent")


class Identity:
    """An id, and the lock that is held for it until `release`."""

    def __init__(self, instance_id: str, descriptor: int | None = None) -> None:
        self.instance_id = instance_id
        self._descriptor = descriptor

    def release(self) -> None:
        """Releases the number. Idempotent. In a forked child, the parent still holds it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def new_identity(config: AgentConfig, in_child: bool = False) -> Identity:
    """Makes the identity for a start. `in_child`: after a fork, where a literal id gets the pid as a suffix."""
    if config.instance == "new":
        return Identity(str(uuid.uuid4()))
    if config.instance != "stable":
        return Identity(f"{config.instance}-{os.getpid()}" if in_child else config.instance)
    what = "\0".join((host.host_name() or "", config.service, config.app_name, config.artifact or ""))
    try:
        number, descriptor = _hold(what)
    except (OSError, ImportError) as error:
        _logger.warning("using a new instanceId instead of a stable one: cannot lock a number: %s", error)
        return Identity(str(uuid.uuid4()))
    return Identity(str(uuid.uuid5(_NAMESPACE, f"{what}\0{number}")), descriptor)


def _hold(what: str) -> tuple[int, int]:
    """Locks the lowest free number; returns it and the descriptor that holds it."""
    directory = _directory()
    name = hashlib.sha256(what.encode()).hexdigest()[:32]
    for number in range(MOST_NUMBERS):
        descriptor = os.open(
            directory / f"{name}.{number}", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600
        )
        if _locked(descriptor):
            return number, descriptor
        os.close(descriptor)
    raise OSError(f"all {MOST_NUMBERS} numbers are in use")


def _directory() -> Path:
    """Makes the directory for the locks, which only this user can write to. Raises OSError."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir() and os.access(runtime, os.W_OK):
        directory = Path(runtime) / "heartfelt"
    else:
        user = os.getuid() if sys.platform != "win32" else "user"
        directory = Path(tempfile.gettempdir()) / f"heartfelt-{user}"
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if sys.platform != "win32":
        state = directory.lstat()
        if not directory.is_dir() or directory.is_symlink() or state.st_uid != os.getuid() or state.st_mode & 0o022:
            raise PermissionError(f"{directory} must be a directory that only this user can write to")
    return directory


def _locked(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        os.close(descriptor)
        raise
    return True
