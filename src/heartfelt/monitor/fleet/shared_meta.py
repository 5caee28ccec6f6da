# SPDX-License-Identifier: MIT
"""Metadata as it is kept: what is an instance's own as JSON, a fifth of the size of the dict, and equal parts once for all:
the instances of a service usually run the same plugins."""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt.monitor.store.rows import from_json, to_json
from heartfelt.wire import fields

MOST = 1024
_PARTS = (fields.PLUGIN_INFO_MAP, fields.EXTERNAL_AGENT_INFO_MAP)
_encode = msgspec.json.encode


class Packed(msgspec.Struct, frozen=True, gc=False):
    """Metadata of one instance. Make one by `SharedMeta.pack`."""

    own: str
    """JSON of an object."""
    parts: dict[str, Any] | None
    """Fields besides those of `own`. Read it, do not write it: others have it, too."""

    def meta(self) -> dict[str, Any]:
        """Returns a new dict, whose large values are shared. A microsecond."""
        meta: dict[str, Any] = from_json(self.own)
        if self.parts is not None:
            meta.update(self.parts)
        return meta


NOTHING = Packed("{}", None)


class SharedMeta:
    """Bounded: when full it starts over, and parts shared before stay shared. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def pack(self, meta: dict[str, Any]) -> Packed:
        """Returns metadata with the known one of equal parts. O(size of the metadata)."""
        parts = {name: meta[name] for name in _PARTS if meta.get(name)}
        if not parts:
            return Packed(to_json(meta), None) if meta else NOTHING
        key = _encode(parts)
        shared = self._known.get(key)
        if shared is None:
            if len(self._known) >= MOST:
                self._known.clear()
            shared = self._known[key] = parts
        return Packed(to_json({name: value for name, value in meta.items() if name not in parts}), shared)
