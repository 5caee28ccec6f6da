# SPDX-License-Identifier: MIT
"""A thread-safe set of hubs that does not keep them alive.

weakref.WeakSet is not thread-safe: iterating it fails if another thread adds to it meanwhile. Here each operation is a
single operation of a dict, atomic with and without a GIL, and there is no lock that a fork could leave locked.
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
        self._forget = lambda ref: refs.pop(ref, None)  # does not refer to self, which may be in a cycle

    def add(self, hub: AnyHub) -> None:
        self._refs[weakref.ref(hub, self._forget)] = None

    def discard(self, hub: AnyHub) -> None:
        self._refs.pop(weakref.ref(hub), None)

    def __iter__(self) -> Iterator[AnyHub]:
        """Iterates over the hubs that exist now."""
        return iter([hub for ref in list(self._refs) if (hub := ref()) is not None])

    def clear(self) -> None:
        self._refs.clear()
