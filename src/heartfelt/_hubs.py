# SPDX-License-Identifier: MIT
"""A set of hubs that does not keep them alive, for any number of threads.

weakref.WeakSet is none: looking through it fails if another thread adds to it meanwhile. Here each operation is one of
a dict's own, which are whole with a GIL and without one, and no lock is held that a fork could leave locked.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

AnyHub = TypeVar("AnyHub")


class Hubs(Generic[AnyHub]):
    def __init__(self) -> None:
        refs: dict[weakref.ref[AnyHub], None] = {}
        self._refs = refs
        self._forget = lambda ref: refs.pop(ref, None)  # does not hold self, which may be in a cycle

    def add(self, hub: AnyHub) -> None:
        self._refs[weakref.ref(hub, self._forget)] = None

    def discard(self, hub: AnyHub) -> None:
        self._refs.pop(weakref.ref(hub), None)

    def __iter__(self) -> Iterator[AnyHub]:
        """Those that are there now."""
        return iter([hub for ref in list(self._refs) if (hub := ref()) is not None])

    def clear(self) -> None:
        self._refs.clear()
