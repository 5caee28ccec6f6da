# SPDX-License-Identifier: MIT
"""Metadata as it is kept: what is an instance's own as JSON, a fifth of the size of the dict, and equal parts once for
all: the instances of a service usually run the same plugins."""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt.monitor.store.rows import object_of, to_json

MOST = 1024
_PARTS = ("pluginInfoMap", "externalAgentInfoMap")
_MARK = f'"{_PARTS[0]}":'
_encode = msgspec.json.encode
_decode = msgspec.json.Decoder().decode


class Packed(msgspec.Struct, frozen=True, gc=False):
    """Metadata of one instance, equal to the dict that says the same. Make one by `SharedMeta.pack`."""

    own: str
    """JSON of an object."""
    parts: dict[str, Any] | None
    """Fields besides those of `own`. Read it, do not write it: others have it, too."""
    app: str | None
    """Its `appName`."""

    def meta(self) -> dict[str, Any]:
        """Returns a new dict, whose large values are shared. A microsecond."""
        meta: dict[str, Any] = object_of(self.own)
        if self.parts is not None:
            meta.update(self.parts)
        return meta

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packed):
            return (self.own == other.own and self.parts == other.parts) or self.meta() == other.meta()
        return self.meta() == other if isinstance(other, dict) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


NOTHING = Packed("{}", None, None)


class SharedMeta:
    """Bounded: when full it starts over, and parts shared before stay shared. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, dict[str, Any]] = {}
        self._tails: dict[str, dict[str, Any]] = {}
        """Parts by the texts that say them, from the first one's name to the last brace of the whole."""

    def __len__(self) -> int:
        return len(self._known)

    def pack(self, meta: dict[str, Any]) -> Packed:
        """Returns metadata with the known one of equal parts. O(size of the metadata)."""
        parts = {name: meta[name] for name in _PARTS if meta.get(name)}
        if not parts:
            return Packed(to_json(meta), None, _app(meta)) if meta else NOTHING
        key = _encode(parts)
        shared = self._known.get(key)
        if shared is None:
            if len(self._known) >= MOST:
                self._known.clear()
            shared = self._known[key] = parts
        own = to_json({name: value for name, value in meta.items() if name not in parts})
        return Packed(own, shared, _app(meta))

    def unpack(self, text: str) -> Packed:
        """Returns metadata from its JSON as `Packed.meta` had it, of which equal parts are read once. Raises what
        `object_of` raises."""
        at = text.find(_MARK)
        if at > 1:
            tail, own = text[at:], f"{text[: at - 1]}}}"
            parts = self._tails.get(tail)
            if parts is not None:
                try:
                    found = _decode(own)
                except (msgspec.DecodeError, UnicodeEncodeError):  # the part belongs to an object within it
                    found = None
                if type(found) is dict:
                    return Packed(own, parts, _app(found))
        meta = object_of(text)
        try:
            packed = self.pack(meta)
        except ValueError:  # an unpaired surrogate in a part, which only `json` can write
            return Packed(text, None, _app(meta))
        if at > 1 and packed.parts is not None:
            self._learn(tail, packed.parts)
        return packed

    def _learn(self, tail: str, parts: dict[str, Any]) -> None:
        """Learns the end of a text, if it says these parts and nothing else: what stands before them is another's."""
        try:
            is_all = object_of("{" + tail) == parts
        except (ValueError, RecursionError):
            return
        if is_all:
            if len(self._tails) >= MOST:
                self._tails.clear()
            self._tails[tail] = parts


def _app(meta: dict[str, Any]) -> str | None:
    name = meta.get("appName")
    return name if isinstance(name, str) and name else None
