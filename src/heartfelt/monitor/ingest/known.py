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

from heartfelt._known import Texts
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.shadows import Shadow
from heartfelt.monitor.model import Beat, State

__all__ = ["Cut", "Known", "cut"]

MOST_BYTES = 128 << 20
_OVERHEAD = 150
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

    `forget` must be called with each instance that is REMOVED, so that it is not renewed.
    """

    __slots__ = ("_most_bytes", "_names_bytes", "forgotten", "names", "texts")

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._names_bytes = 0
        self.texts = Texts()
        """Instances by the key of their beats' text."""
        self.names: dict[bytes, Instance | Shadow] = {}
        """Plain key, as datagrams have it -> instance."""
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self.texts) + len(self.names)

    @property
    def n_bytes(self) -> int:
        return self.texts.n_bytes + self._names_bytes

    def learn_text(self, text: bytes, beat: Beat, instance: Instance | Shadow) -> None:
        """Replaces what is known of the instance by a text that was parsed into `beat` and accepted."""
        if beat.goodbye:
            return  # its metadata is not kept
        self.texts.forget(instance)
        parts = cut(text)
        if parts is None or not _is_once(text) or instance.state is State.REMOVED:
            return
        if (beat.agent_time_ms, beat.agent_last_time_ms, beat.lag_ms, beat.number) != parts[1:]:
            return  # some of these fields also occur elsewhere in the text
        self.texts.learn(parts.key, instance)
        self._make_room()

    def learn_name(self, name: bytes, instance: Instance | Shadow) -> None:
        if instance.state is State.REMOVED or self.names.get(name) is instance:
            return
        self._forget_name(name)
        self.names[name] = instance
        self._names_bytes += _size(name)
        self._make_room()

    def _make_room(self) -> None:
        """Forgets the oldest, of the texts first."""
        while self.n_bytes > self._most_bytes:
            if len(self.texts):
                self.texts.forget_oldest()
            else:
                self._forget_name(next(iter(self.names)))
            self.forgotten += 1

    def _forget_name(self, name: bytes) -> None:
        if self.names.pop(name, None) is not None:
            self._names_bytes -= _size(name)

    def forget(self, instance: Instance | Shadow) -> None:
        """Listens to the registry's removals."""
        self.texts.forget(instance)
        name = instance.instance_id.encode(errors="surrogatepass")
        if self.names.get(name) is instance:
            self._forget_name(name)


def _size(name: bytes) -> int:
    return len(name) + _OVERHEAD


def _is_once(text: bytes) -> bool:
    return all(text.count(name) <= 1 for name in _ONCE)
