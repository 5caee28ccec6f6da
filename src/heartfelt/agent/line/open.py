# SPDX-License-Identifier: MIT
"""Opens the line for a plan: the native one, or the one on a Python thread."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

from heartfelt.agent.line.line import Line, Plan

__all__ = ["has_native", "open_line"]


def has_native() -> bool:
    """Whether there is a native sender: there is none on Windows, or if the core was built without it."""
    if importlib.util.find_spec("heartfelt._sender") is None:
        return False
    return bool(getattr(importlib.import_module("heartfelt._sender"), "available", True))


def open_line(plan: Plan) -> Line:
    """Makes a line, not started: a native one if possible and the plan has no TLS, otherwise one on a thread."""
    if plan.tls is None and has_native():
        make: Callable[[Plan], Line] = importlib.import_module("heartfelt.agent.line.native").NativeLine
        return make(plan)
    from heartfelt.agent.line.thread import ThreadLine

    return ThreadLine(plan)
