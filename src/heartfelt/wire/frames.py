# SPDX-License-Identifier: MIT
"""Sermant's TCP frames: an encoder for agents, and a decoder for backends.

A frame is a length, as varint32, and the proto3 message NettyMessage of that many bytes:

| message | number | field | type |
|---|---|---|---|
| NettyMessage | 1 | messageType | enum, SERVICE_DATA = 0 |
| | 2 | serviceData | repeated ServiceData |
| | 1000 | goodbye | bytes: UTF-8 JSON; heartfelt's own, an unknown field for other readers, which skip it |
| | 1001 | token | string; heartfelt's own, likewise |
| ServiceData | 1 | dataType | enum: HEARTBEAT = 0, EVENT = 1, TRACING = 2, VISIBILITY = 3 |
| | 2 | data | bytes: gzip of UTF-8 JSON |

The server never answers. proto3 does not write zero values, so that a heartbeat has neither dataType nor messageType.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from heartfelt.errors import FrameError
from heartfelt.wire.packing import unpack

__all__ = [
    "EVENT",
    "GOODBYE",
    "HEARTBEAT",
    "MAX_FRAME",
    "MAX_GUNZIP",
    "MAX_MESSAGES",
    "MAX_SKIP",
    "TOKEN",
    "TRACING",
    "VISIBILITY",
    "FrameDecoder",
    "FrameParts",
    "Message",
    "encode_frame",
    "split_frame",
]

HEARTBEAT, EVENT, TRACING, VISIBILITY = range(4)
GOODBYE, TOKEN = 1000, 1001

MAX_FRAME = 1 << 20
MAX_SKIP = 64 << 20
MAX_GUNZIP = 4 << 20
MAX_MESSAGES = 256

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_DATA_TYPE, _SERVICE_DATA, _DATA = 1 << 3 | _VARINT, 2 << 3 | _BYTES, 2 << 3 | _BYTES
_GOODBYE, _TOKEN = GOODBYE << 3 | _BYTES, TOKEN << 3 | _BYTES
_DEEPEST_GROUP = 32


class FrameParts(NamedTuple):
    """The parts of a frame."""

    service_data: list[tuple[int, bytes]]
    """(dataType, gzip) of each ServiceData."""
    goodbye: bytes | None
    token: bytes | None


class Message(NamedTuple):
    """One message of a frame."""

    kind: int
    """HEARTBEAT, EVENT, TRACING, VISIBILITY, GOODBYE or TOKEN."""
    data: bytes
    """Unpacked JSON; for a TOKEN, UTF-8. Neither is validated."""


def encode_frame(
    service_data: Iterable[tuple[int, bytes]] = (), *, goodbye: bytes | None = None, token: str | None = None
) -> bytes:
    """Encodes a frame with any number of ServiceData (dataType, gzip), byte for byte as Sermant's agent does."""
    body = bytearray()
    for kind, packed in service_data:
        inner = (b"\x08" + _varint(kind) if kind else b"") + (
            b"\x12" + _varint(len(packed)) + packed if packed else b""
        )
        body += b"\x12" + _varint(len(inner)) + inner
    for number, value in ((GOODBYE, goodbye), (TOKEN, None if token is None else token.encode())):
        if value is not None:
            body += _varint(number << 3 | _BYTES) + _varint(len(value)) + value
    return _varint(len(body)) + bytes(body)


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # a negative enum is written as 64 bits
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class FrameDecoder:
    """Decodes messages from a stream that arrives in pieces of any size. One per connection; one thread at a time.

    `feed` takes a piece and returns the decoder, which is an iterator: `for item in decoder.feed(data)`. An item is a
    Message, or a FrameError for something that was lost. Errors are returned, not raised, so that one bad message does
    not affect those after it. If `error.fatal`, the framing of the stream is lost: this is the last item, and further
    pieces only return it again. A frame's token comes before its other messages.

    Frames are unpacked one at a time, when the next item is requested, so that memory is bounded by one piece plus
    max_frame plus max_gunzip. Items that were not requested come before those of the next piece.

    Limits per frame: `max_frame` bytes, `max_gunzip` bytes of JSON in all messages together, `max_heartbeat` bytes of
    JSON in a heartbeat, and `max_messages`. A frame of more than `max_frame` bytes is reported before it arrives; up to
    `max_skip` bytes it is dropped as it arrives, and the next one is decoded. More is fatal.
    """

    __slots__ = (
        "_at", "_buffer", "_fatal", "_items", "_max_frame", "_max_gunzip", "_max_heartbeat", "_max_messages",
        "_max_skip", "skipped", "to_skip",
    )  # fmt: skip

    def __init__(
        self,
        *,
        max_frame: int = MAX_FRAME,
        max_gunzip: int = MAX_GUNZIP,
        max_messages: int = MAX_MESSAGES,
        max_skip: int = MAX_SKIP,
        max_heartbeat: int | None = None,
    ) -> None:
        for name, limit in (("max_frame", max_frame), ("max_gunzip", max_gunzip), ("max_messages", max_messages)):
            if limit < 1:
                raise ValueError(f"{name} must be at least 1, not {limit}")
        self._max_skip = max_skip
        self._max_heartbeat = max_gunzip if max_heartbeat is None else max_heartbeat
        self.to_skip = 0
        """Bytes of a frame above the limit that are still to come."""
        self.skipped = 0
        """Bytes of frames above the limit that were dropped."""
        self._max_frame = max_frame
        self._max_gunzip = max_gunzip
        self._max_messages = max_messages
        self._buffer = bytearray()
        self._at = 0  # where the next frame begins in the buffer
        self._items: deque[Message | FrameError] = deque()  # of the last frame decoded
        self._fatal: FrameError | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> FrameDecoder:
        """Takes a piece of the stream; iterate over the decoder that is returned."""
        if self._fatal is None:
            if self.to_skip:
                dropped = min(self.to_skip, len(data))
                self.to_skip -= dropped
                self.skipped += dropped
                data = memoryview(data)[dropped:]
            if self._at:
                del self._buffer[: self._at]
                self._at = 0
            self._buffer += data
        elif not self._items:
            self._items.append(self._fatal)
        return self

    @property
    def pending(self) -> int:
        """Bytes that are not decoded yet: 0 at the end of a connection that did not end within a frame, if `to_skip` is
        0, too."""
        return len(self._buffer) - self._at

    def __iter__(self) -> FrameDecoder:
        return self

    def __next__(self) -> Message | FrameError:
        while not self._items:
            if not self._decode():
                raise StopIteration
        return self._items.popleft()

    def _decode(self) -> bool:
        """Decodes the next frame; False if it has not arrived completely."""
        buffer, at = self._buffer, self._at
        length = shift = 0
        while True:
            if at >= len(buffer):
                return False
            byte = buffer[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 28:
                return self._broken(FrameError("length", "the length of a frame has more than 5 bytes", True))
        if length > self._max_frame:
            text = f"a frame of {length} bytes is larger than the limit of {self._max_frame} (limits.frame_bytes)"
            if length > self._max_skip:
                return self._broken(FrameError("frame_limit", text, True))
            self._begin_skip(at, length)
            self._items.append(FrameError("frame_limit", f"{text}; it is skipped"))
            return True
        end = at + length
        if end > len(buffer):
            return False
        body = bytes(memoryview(buffer)[at:end])
        self._at = end
        try:
            parts = split_frame(body, self._max_messages)
        except FrameError as error:
            self._items.append(error)
            return True
        if parts.token is not None:
            self._items.append(Message(TOKEN, parts.token))
        left = self._max_gunzip
        for kind, packed in parts.service_data:
            try:
                if not HEARTBEAT <= kind <= VISIBILITY:
                    raise FrameError("data_type", f"dataType {kind} is not from {HEARTBEAT} to {VISIBILITY}")
                data = unpack(packed, min(left, self._max_heartbeat) if kind == HEARTBEAT else left)
            except FrameError as error:
                if error.reason == "gunzip_limit" and kind == HEARTBEAT and left > self._max_heartbeat:
                    text = f"the heartbeat has more than {self._max_heartbeat} bytes (limits.meta_bytes)"
                    error = FrameError("meta_size", text)
                self._items.append(error)
            else:
                left -= len(data)
                self._items.append(Message(kind, data))
        if parts.goodbye is not None:
            self._items.append(Message(GOODBYE, parts.goodbye))
        return True

    def _begin_skip(self, at: int, length: int) -> None:
        dropped = min(length, len(self._buffer) - at)
        self._at = at + dropped
        self.skipped += dropped
        self.to_skip = length - dropped

    def _broken(self, error: FrameError) -> bool:
        self._fatal = error
        self._items.append(error)
        self._buffer = bytearray()
        self._at = 0
        return True


def split_frame(body: bytes, max_messages: int = MAX_MESSAGES) -> FrameParts:
    """Splits a frame's body into its parts, without unpacking them.

    Raises FrameError "malformed" if Google's reader refuses the message too, and "messages" for too many ServiceData.
    Unknown fields of every wire type are skipped. If a field that may occur once is repeated, the last one counts.
    """
    service_data: list[tuple[int, bytes]] = []
    goodbye = token = None
    at, end = 0, len(body)
    while at < end:
        tag, at = _read_tag(body, at, end)
        if tag & 7 != _BYTES:
            at = _skip(body, at, end, tag)
            continue
        length, at = _read_length(body, at, end)
        if tag == _SERVICE_DATA:
            if len(service_data) == max_messages:
                raise FrameError("messages", f"more than {max_messages} ServiceData in a frame")
            service_data.append(_service_data(body, at, at + length))
        elif tag == _GOODBYE:
            goodbye = body[at : at + length]
        elif tag == _TOKEN:
            token = body[at : at + length]
        at += length
    return FrameParts(service_data, goodbye, token)


def _service_data(body: bytes, at: int, end: int) -> tuple[int, bytes]:
    kind = 0
    data = b""
    while at < end:
        tag, at = _read_tag(body, at, end)
        if tag == _DATA:
            length, at = _read_length(body, at, end)
            data = body[at : at + length]
            at += length
        elif tag == _DATA_TYPE:
            kind, at = _read_varint(body, at, end)
            kind = (kind & 0xFFFFFFFF ^ 0x80000000) - 0x80000000  # an enum is an int32
        else:
            at = _skip(body, at, end, tag)
    return kind, data


def _read_varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise FrameError("malformed", "a varint of more than 10 bytes")
    raise FrameError("malformed", "a varint that extends beyond its message")


def _read_tag(body: bytes, at: int, end: int) -> tuple[int, int]:
    tag = body[at]
    at += 1
    if tag > 0x7F:
        tag, at = _read_varint(body, at - 1, end)
    if not 8 <= tag <= 0xFFFFFFFF:
        raise FrameError("malformed", f"invalid field number {tag >> 3}")
    return tag, at


def _read_length(body: bytes, at: int, end: int) -> tuple[int, int]:
    length, at = _read_varint(body, at, end)
    if length > end - at:
        raise FrameError("malformed", f"a field of {length} bytes where {end - at} are left")
    return length, at


def _skip(body: bytes, at: int, end: int, tag: int) -> int:
    """Skips the value of a field that is unknown, or has an unexpected type; returns the position after it."""
    groups: list[int] = []
    while True:
        wire = tag & 7
        if wire == _VARINT:
            _, at = _read_varint(body, at, end)
        elif wire == _FIXED64:
            at += 8
        elif wire == _BYTES:
            length, at = _read_length(body, at, end)
            at += length
        elif wire == _FIXED32:
            at += 4
        elif wire == _GROUP:
            groups.append(tag >> 3)
            if len(groups) > _DEEPEST_GROUP:
                raise FrameError("malformed", f"groups are nested more than {_DEEPEST_GROUP} deep")
        elif wire != _END_GROUP:
            raise FrameError("malformed", f"invalid wire type {wire}")
        elif not groups or groups.pop() != tag >> 3:
            raise FrameError("malformed", f"the end of a group {tag >> 3} that was not open")
        if at > end:
            raise FrameError("malformed", "a field extends beyond its message")
        if not groups:
            return at
        if at == end:
            raise FrameError("malformed", f"group {groups[-1]} has no end")
        tag, at = _read_tag(body, at, end)
