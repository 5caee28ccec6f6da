# SPDX-License-Identifier: MIT
"""Keeps equal parts of metadata once: the instances of a service usually run the same plugins."""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt.wire import fields

MOST = 1024
_PARTS = (fields.PLUGIN_INFO_MAP, fields.EXTERNAL_AGENT_INFO_MAP)
_encode = msgspec.json.encode


class SharedMeta:
    """Bounded: when full it starts over, and parts shared before stay shared. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}

    def __len__(self) -> int:
        return len(self._known)

    def share(self, meta: dict[str, Any]) -> None:
        """Replaces parts of `meta`, which must be the caller's own, by equal known ones. O(size of the parts)."""
        known = self._known
        for name in _PARTS:
            part = meta.get(name)
            if not part:
                continue
            if len(known) >= MOST:
                known.clear()
            meta[name] = known.setdefault(_encode(part), part)
