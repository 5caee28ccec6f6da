# SPDX-License-Identifier: MIT
"""Parts of metadata that many instances have alike are kept once: a service's instances run the same plugins."""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt.wire import fields

MOST = 1024
_PARTS = (fields.PLUGIN_INFO_MAP, fields.EXTERNAL_AGENT_INFO_MAP)
_encode = msgspec.json.encode


class SharedMeta:
    """Bounded: when it is full it begins anew, and what was shared stays so. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}

    def __len__(self) -> int:
        return len(self._known)

    def share(self, meta: dict[str, Any]) -> None:
        """Puts the part that is known in the place of an equal one. O(size of the part). `meta` must be the caller's
        own."""
        known = self._known
        for name in _PARTS:
            part = meta.get(name)
            if not part:
                continue
            if len(known) >= MOST:
                known.clear()
            meta[name] = known.setdefault(_encode(part), part)
