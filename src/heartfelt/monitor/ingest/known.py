# SPDX-License-Identifier: MIT
"""The fast path: heartbeats that equal their instance's last one but for the fields that change each time.

A heartbeat's text is cut at `,"heartbeatTime":`. Its volatile part is that field and those of `lastHeartbeatTime`,
`lagMs` and `beat` that follow it directly; `lastHeartbeatTime` may also stand later. The text around the volatile part
is its key. A text is learned after it was parsed and accepted as a whole. So a text with a known key is valid JSON with
the same metadata: only digits were replaced by digits.

The memory for known texts is bounded. The oldest are forgotten first; a forgotten text is parsed again.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.model import Beat, Change, State

__all__ = ["Cut", "Known", "cut"]

MOST_BYTES = 128 << 20
_OVERHEAD = 200
_MARK = b',"heartbeatTime":'
_VOLATILE = re.compile(
    rb',"heartbeatTime":(0|[1-9]\d{0,14})(?:,"lastHeartbeatTime":(0|[1-9]\d{0,14}))?'
    rb'(?:,"lagMs":(0|[1-9]\d{0,14}))?(?:,"beat":(0|[1-9]\d{0,14}))?(?=[,}])'
)
_LAST = re.compile(rb',"lastHeartbeatTime":(0|[1-9]\d{0,14})(?=[,}])')
_ONCE = (b'"heartbeatTime"', b'"lastHeartbeatTime"', b'"lagMs"', b'"beat"')


class Cut(NamedTuple):
    key: bytes
    time_ms: int
    last_time_ms: int | None
    lag_ms: int | None
    number: int | None


def cut(text: bytes) -> Cut | None:
    """Returns None if the text has no volatile part in the expected form."""
    at = text.find(_MARK)
    if at < 0:
        return None
    match = _VOLATILE.match(text, at)
    if match is None:
        return None
    time_ms, last, lag, number = match.groups()
    rest = text[match.end() :]
    if last is None:  # Sermant's agents write their fields in alphabetical order
        other = _LAST.search(rest)
        if other is not None:
            last = other[1]
            rest = b"%b\0%b" % (rest[: other.start()], rest[other.end() :])
    return Cut(
        b"%b\0%b" % (text[:at], rest),  # raw JSON does not contain NUL
        int(time_ms),
        None if last is None else int(last),
        None if lag is None else int(lag),
        None if number is None else int(number),
    )


class Known:
    """Remembers texts and names of instances. O(1) each; belongs to the loop's thread.

    `forget` must be called with each change of state, so that a REMOVED instance is not renewed.
    """

    __slots__ = ("_bytes", "_key_of", "_most_bytes", "forgotten", "names", "texts")

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._key_of: dict[int, list[tuple[dict[bytes, Instance], bytes]]] = {}
        self.texts: dict[bytes, Instance] = {}
        """Key of a beat's text -> instance."""
        self.names: dict[bytes, Instance] = {}
        """Plain key, as datagrams have it -> instance."""
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self.texts) + len(self.names)

    @property
    def n_bytes(self) -> int:
        return self._bytes

    def learn_text(self, text: bytes, beat: Beat, instance: Instance) -> None:
        """Replaces what is known of the instance by a text that was parsed into `beat` and accepted."""
        if beat.goodbye:
            return  # its metadata is not kept
        self._unlearn(self.texts, instance.id)
        parts = cut(text)
        if parts is None or not _is_once(text):
            return
        if (beat.agent_time_ms, beat.agent_last_time_ms, beat.lag_ms, beat.number) != parts[1:]:
            return  # some of these fields also occur elsewhere in the text
        self._learn(self.texts, parts.key, instance)

    def learn_name(self, name: bytes, instance: Instance) -> None:
        self._learn(self.names, name, instance)

    def _learn(self, table: dict[bytes, Instance], key: bytes, instance: Instance) -> None:
        if instance.state is State.REMOVED:
            return
        self._unlearn(table, instance.id)
        size = _size(key)
        if size > self._most_bytes:
            return
        while self._bytes + size > self._most_bytes:
            oldest = self.texts or self.names
            self._forget_key(oldest, next(iter(oldest)))
            self.forgotten += 1
        if key in table:
            self._forget_key(table, key)
        table[key] = instance
        self._key_of.setdefault(instance.id, []).append((table, key))
        self._bytes += size

    def _unlearn(self, table: dict[bytes, Instance], id_: int) -> None:
        for known_in, key in self._key_of.get(id_, ()):
            if known_in is table:
                self._forget_key(table, key)
                return

    def _drop(self, table: dict[bytes, Instance], key: bytes) -> None:
        instance = table.pop(key, None)
        if instance is not None:
            self._bytes -= _size(key)
            if table is self.texts:
                instance.set_head(None)  # `Scan` must not recognise its text either

    def _forget_key(self, table: dict[bytes, Instance], key: bytes) -> None:
        id_ = table[key].id
        self._drop(table, key)
        mine = self._key_of.get(id_, [])
        mine[:] = [pair for pair in mine if not (pair[0] is table and pair[1] == key)]
        if not mine:
            self._key_of.pop(id_, None)

    def forget(self, change: Change) -> None:
        """Listens to the registry's changes."""
        if change.new is State.REMOVED:
            for table, key in self._key_of.pop(change.id, ()):
                self._drop(table, key)


def _size(key: bytes) -> int:
    return 2 * len(key) + _OVERHEAD  # the key, and the copy that later texts are compared with


def _is_once(text: bytes) -> bool:
    return all(text.count(name) <= 1 for name in _ONCE)
