# SPDX-License-Identifier: MIT
"""The chunked transfer coding (RFC 9112, 7.1), decoded as data arrives. Extensions and trailers are read and
dropped."""

from __future__ import annotations

import re

from heartfelt.monitor.web.http1.head import BadRequest

MOST_LINE = 1024
"""Maximum bytes of a line: a chunk's size with its extensions, or a trailer."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n")


class Chunks:
    """Decodes one body. `take` consumes as much of the received data as it can; `done`: the body is complete.

    most_framing: by how many bytes the body's framing (sizes, extensions, line ends, trailers) may exceed its data.
    This bounds the work that tiny chunks or endless extensions cause; a chunk of five bytes or more pays for its own
    framing.
    """

    __slots__ = ("_framing", "_in_trailers", "_left", "_most_framing", "done")

    def __init__(self, most_framing: int) -> None:
        self._most_framing = most_framing
        self._framing = 0  # bytes of framing minus bytes of data
        self._left = -1  # bytes of the chunk, including the line end after its data; -1: a size comes next
        self._in_trailers = False
        self.done = False

    def take(self, data: bytearray) -> bytes:
        """Decodes the part of the body that `data` holds, and deletes it from `data`. Raises BadRequest."""
        parts: list[bytearray] = []
        at = 0
        end = len(data)
        while at < end and not self.done:
            if self._in_trailers:
                taken = self._take_trailer(data, at)
            elif self._left < 0:
                taken = self._take_size(data, at)
            elif self._left > 2:
                taken = min(self._left - 2, end - at)
                parts.append(data[at : at + taken])
                self._left -= taken
                self._framing -= taken
            else:
                taken = self._take_line_end(data, at)
            if not taken:
                break
            at += taken
        del data[:at]
        return b"".join(parts)

    def _take_size(self, data: bytearray, at: int) -> int:
        match = _SIZE.match(data, at, at + MOST_LINE)
        if match is None:
            return self._incomplete(data, at, "a chunk's size")
        size = int(match[1], 16)
        if size:
            self._left = size + 2
        else:
            self._in_trailers = True
        return self._count(match.end() - at)

    def _take_line_end(self, data: bytearray, at: int) -> int:
        found = bytes(data[at : at + 2])
        if found == b"\r\n":
            self._left = -1
            return self._count(2)
        if found == b"\r":
            return 0
        raise BadRequest(
            400, f"a chunk is longer than its size: its data is followed by {found!r} instead of a line end"
        )

    def _take_trailer(self, data: bytearray, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.done = True
            return 2
        match = _TRAILER.match(data, at, at + MOST_LINE)
        if match is None:
            return self._incomplete(data, at, "a trailer of the chunked body")
        return self._count(match.end() - at)

    def _incomplete(self, data: bytearray, at: int, name: str) -> int:
        """Returns 0 if the line may still become valid. Raises BadRequest otherwise."""
        line = bytes(data[at : at + MOST_LINE])
        if b"\n" in line:
            shown = line.partition(b"\n")[0][:40] + b"\n"
            raise BadRequest(400, f"{name} is malformed: {shown!r}")
        if len(line) == MOST_LINE:
            raise BadRequest(400, f"{name} is longer than {MOST_LINE} bytes; send shorter extensions and trailers")
        return 0

    def _count(self, taken: int) -> int:
        self._framing += taken
        if self._framing > self._most_framing:
            text = f"the framing of the chunked body exceeds its data by more than {self._most_framing} bytes"
            raise BadRequest(400, f"{text}; send larger chunks, with fewer extensions and trailers")
        return taken
