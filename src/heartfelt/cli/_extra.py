# SPDX-License-Identifier: MIT
"""Error messages for commands that need packages of an extra which are not installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from heartfelt.cli import Failed

MONITOR = frozenset({"aiohttp", "httptools", "msgspec", "prometheus_client", "starlette", "tomli", "uvicorn", "uvloop"})
TUI = frozenset({"rich", "textual"})


@contextlib.contextmanager
def _extra(name: str, packages: frozenset[str]) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in packages:
            raise
        raise Failed(
            f"this command needs packages that are not installed ({error.name}): "
            f"{sys.executable} -m pip install 'heartfelt[{name}]'"
        ) from None


def monitor_extra() -> contextlib.AbstractContextManager[None]:
    """A context for the imports: raises Failed, with the remedy, if one of the extra's packages is missing."""
    return _extra("monitor", MONITOR)


def tui_extra() -> contextlib.AbstractContextManager[None]:
    """Does as `monitor_extra`, for `heartfelt top`."""
    return _extra("tui", TUI)
