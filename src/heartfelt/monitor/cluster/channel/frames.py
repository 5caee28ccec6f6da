# SPDX-License-Identifier: MIT
"""Frames of the channel: a header of 13 bytes, and a body.

| bytes | field |
|---|---|
| 4 | length of what follows, little endian |
| 1 | kind |
| 8 | number: of the request, or of a batch in its feed; otherwise 0 |
| rest | the body |

Bodies are msgpack, except that of BEATS: the sender's clock (8 bytes), ids (8 bytes each), ages (4 bytes each).
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from heartfelt.errors import FrameError

HELLO, CHALLENGE, PROOF, WELCOME, REFUSED = range(1, 6)
"""The handshake; see handshake.py."""
PING, PONG, UNKNOWN = range(6, 9)
"""UNKNOWN: answers a frame of a kind, or a notice of a name, that the receiver does not know."""
BEATS, INPUTS, ACK, NOTICE = range(9, 13)
"""ACK: all batches up to `number` were handled."""
REQUEST, ANSWER, PIECE, END, PROBLEM, CANCEL, CREDIT = range(13, 20)

FRAME_BYTES = 2 * 1024 * 1024
"""The longest frame between monitors that know each other."""
GREETING_BYTES = 1024
"""The longest frame of a handshake."""
BEATS_IN_FRAME = 4096

_HEADER = struct.Struct("<IBQ")
_LENGTH = struct.Struct("<I")
_CLOCK = struct.Struct("<Q")
_AFTER_LENGTH = _HEADER.size - _LENGTH.size
_MOST_AGE = (1 << 32) - 1
_SWAP = sys.byteorder == "big"


def frame(kind: int, number: int = 0, body: bytes = b"") -> bytes:
    return _HEADER.pack(_AFTER_LENGTH + len(body), kind, number) + body


class FrameReader:
    """Cuts a stream of bytes into frames. `most`: the longest frame; a longer one raises FrameError, fatal."""

    __slots__ = ("_at", "_data", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._data = bytearray()
        self._at = 0

    @property
    def waiting(self) -> int:
        """The number of bytes that no frame was made of yet."""
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        del self._data[: self._at]
        self._at = 0
        self._data += data

    def take(self) -> tuple[int, int, bytes] | None:
        """Returns the next frame as (kind, number, body). None: it has not arrived as a whole."""
        have = len(self._data) - self._at
        if have < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data, self._at)
        if not _AFTER_LENGTH <= length <= self.most:
            raise FrameError("length", f"a frame of {length} bytes; at most {self.most} are taken", fatal=True)
        if have < _LENGTH.size + length:
            return None
        _, kind, number = _HEADER.unpack_from(self._data, self._at)
        body = bytes(self._data[self._at + _HEADER.size : self._at + _LENGTH.size + length])
        self._at += _LENGTH.size + length
        return kind, number, body


class Input(NamedTuple):
    """What came for an instance of another monitor, as it was received. `heard_ms`: when, by this monitor's clock."""

    kind: str
    data: bytes
    via: str
    peer: str
    """The address that it came from."""
    heard_ms: int


class BeatBatch(NamedTuple):
    """Beats that another monitor has heard. Beat n was heard at `at_ms - ages[n]`, by this monitor's clock."""

    ids: array[int]
    ages: array[int]
    at_ms: int


class _WireInput(msgspec.Struct, array_like=True, gc=False):
    kind: str
    data: bytes
    via: str
    peer: str
    age_ms: int


_inputs = msgspec.msgpack.Decoder(list[_WireInput])


def pack_beats(number: int, now_ms: int, beats: Mapping[int, int]) -> bytes:
    """Makes a frame of BEATS. beats: id -> when it was heard, by the clock that says `now_ms`."""
    ids = array("Q", beats)
    try:
        ages = array("I", [now_ms - heard_ms for heard_ms in beats.values()])
    except OverflowError:  # in the future, or too long ago
        ages = array("I", [min(max(0, now_ms - heard_ms), _MOST_AGE) for heard_ms in beats.values()])
    if _SWAP:
        ids.byteswap()
        ages.byteswap()
    return frame(BEATS, number, _CLOCK.pack(now_ms) + ids.tobytes() + ages.tobytes())


def unpack_beats(body: bytes) -> tuple[int, array[int], array[int]]:
    """Returns (the sender's clock, ids, ages)."""
    count, rest = divmod(len(body) - _CLOCK.size, 12)
    if count < 0 or rest:
        raise FrameError("malformed", f"beats in {len(body)} bytes", fatal=True)
    ids, ages = array("Q"), array("I")
    ends = _CLOCK.size + 8 * count
    ids.frombytes(body[_CLOCK.size : ends])
    ages.frombytes(body[ends:])
    if _SWAP:
        ids.byteswap()
        ages.byteswap()
    return unpack_clock(body), ids, ages


def pack_inputs(number: int, now_ms: int, inputs: Sequence[Input]) -> bytes:
    items = [(one.kind, one.data, one.via, one.peer, max(0, now_ms - one.heard_ms)) for one in inputs]
    return frame(INPUTS, number, _CLOCK.pack(now_ms) + msgspec.msgpack.encode(items))


def unpack_inputs(body: bytes, at_ms: int) -> list[Input]:
    """Returns the inputs. at_ms: when the frame was sent, by this monitor's clock."""
    found = decode(_inputs, body[_CLOCK.size :])
    return [Input(one.kind, one.data, one.via, one.peer, at_ms - one.age_ms) for one in found]


def pack_clock(now_ms: int) -> bytes:
    return _CLOCK.pack(now_ms)


def unpack_clock(body: bytes) -> int:
    if len(body) < _CLOCK.size:
        raise FrameError("malformed", f"a clock in {len(body)} bytes", fatal=True)
    return int(_CLOCK.unpack_from(body)[0])


def decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    """Decodes a body. Raises FrameError if it has another form."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError("malformed", f"a body that cannot be decoded: {error}", fatal=True) from None


class Lateness:
    """How late frames arrive, compared with the fastest of the last minute or two.

    The clocks of two monitors have nothing in common; but the smallest difference between the receiver's and the
    sender's is that of the fastest frame, and what another one takes longer is time that it waited: in the buffers of
    the system while this process was stopped, for example. So a beat that waited there does not look new. Clocks that
    drift apart do not matter, since the smallest difference is forgotten after at most two windows.
    """

    WINDOW_MS = 60_000
    __slots__ = ("_before", "_ends_ms", "_least")

    def __init__(self) -> None:
        self._before: int | None = None
        self._least: int | None = None
        self._ends_ms = 0

    def of(self, sent_ms: int, now_ms: int) -> int:
        """Returns by how many ms a frame is late. sent_ms: the sender's clock; now_ms: this one's."""
        difference = now_ms - sent_ms
        if self._least is None or now_ms >= self._ends_ms:
            self._before = self._least
            self._least = difference
            self._ends_ms = now_ms + self.WINDOW_MS
        elif difference < self._least:
            self._least = difference
        least = self._least if self._before is None else min(self._least, self._before)
        return difference - least
