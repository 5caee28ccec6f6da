# SPDX-License-Identifier: MIT
"""HTTP/1.1 messages: building a request, and reading an answer of which every part is bounded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping

from heartfelt._net.url import bracketed
from heartfelt._version import __version__

__all__ = ["MOST_HEADERS", "MOST_INTERIM", "BadAnswer", "HttpResponse", "NoAnswer", "request", "request_head"]

MOST_HEADERS = 16 << 10
MOST_INTERIM = 8
MOST_CHUNK_LINE = 4 << 10
_NO_BODY = (204, 304)
_UNSAFE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")  # what must not be in a header


class BadAnswer(OSError):
    """The answer is not valid HTTP, ends too early, or is longer than it may be."""


class NoAnswer(ConnectionError):
    """The server closed the connection before it answered."""


def request_head(method: str, target: str, host: str, port: int, headers: Mapping[str, str]) -> bytes:
    """The beginning of a request, up to its last header: Content-Length and an empty line are still to follow.

    Raises ValueError for a target or a header that would break the message.
    """
    fields = {"Host": f"{bracketed(host)}:{port}", "User-Agent": f"heartfelt/{__version__}", **headers}
    if not target.isascii() or not target.isprintable() or " " in target:
        raise ValueError(f"{target!r} cannot be the target of a request")
    for name, value in fields.items():
        if _UNSAFE.search(value):
            raise ValueError(f"the header {name} contains characters that are not allowed there")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), ""]
    return "\r\n".join(lines).encode("latin-1")


def request(method: str, target: str, host: str, port: int, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """A whole request. Raises ValueError as `request_head` does."""
    head = request_head(method, target, host, port, headers)
    return head + b"\r\n" if body is None else head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class HttpResponse:
    """One answer: its head is read at once, its body on request.

    `receive` returns some bytes, or none at the end of the connection; what it raises is passed on.
    Raises NoAnswer if the connection ends before the first byte, and BadAnswer.
    """

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = b""
        self.status, self.reason, self.headers, version = self._read_head()
        self._keeps = version == "HTTP/1.1" and "close" not in self.headers.get("connection", "").lower()
        self._is_complete = False
        self._pieces = self._read_body()

    @property
    def keeps(self) -> bool:
        """Whether the connection can carry another request: the body was read to its end, and nothing is left over."""
        return self._keeps and self._is_complete and not self._buffer

    def read_some(self) -> bytes:
        """Returns the next bytes of the body; none at its end."""
        return next(self._pieces, b"")

    def read(self, most: int) -> bytes:
        """Returns the whole body. Raises BadAnswer if it is longer than `most` bytes."""
        body = self.read_beginning(most + 1)
        if len(body) > most:
            raise BadAnswer(f"the answer is longer than {most} bytes")
        return body

    def read_beginning(self, most: int) -> bytes:
        """Returns the body, or its first `most` bytes if it is longer."""
        parts, size = [], 0
        while size < most and (piece := self.read_some()):
            parts.append(piece)
            size += len(piece)
        return b"".join(parts)[:most]

    def lines(self, most: int) -> Iterator[bytes]:
        """The lines of the body, with their ends, as they arrive. Raises BadAnswer for one longer than `most` bytes."""
        buffer = b""
        while piece := self.read_some():
            *whole, last = piece.split(b"\n")
            for line in whole:
                if len(buffer) + len(line) > most:
                    break
                yield buffer + line + b"\n"
                buffer = b""
            else:
                buffer += last
                if len(buffer) <= most:
                    continue
            raise BadAnswer(f"a line of the answer is longer than {most} bytes")
        if buffer:
            yield buffer

    def skip(self, most: int) -> None:
        """Reads a body of at most `most` bytes and throws it away, so that the connection can be kept.

        Raises no OSError: the caller has the status already, and the connection is just not kept.
        """
        framing = self._framing()
        if framing is None or framing == "bad" or (isinstance(framing, int) and framing > most):
            return
        with contextlib.suppress(OSError):
            while most >= 0 and (piece := self.read_some()):
                most -= len(piece)

    # -- reading

    def _read_head(self) -> tuple[int, str, dict[str, str], str]:
        for _ in range(MOST_INTERIM + 1):
            while b"\r\n\r\n" not in self._buffer:
                if len(self._buffer) > MOST_HEADERS:
                    raise BadAnswer(f"the headers of the answer are longer than {MOST_HEADERS} bytes")
                more = self._receive()
                if not more and not self._buffer:
                    raise NoAnswer("the server closed the connection without an answer")
                if not more:
                    raise BadAnswer(f"the connection ended within the headers of the answer: {self._buffer[:100]!r}")
                self._buffer += more
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            parsed = _parsed(head)
            if parsed[0] >= 200:
                return parsed
        raise BadAnswer(f"more than {MOST_INTERIM} interim answers")

    def _framing(self) -> int | str | None:
        """The body's length; "chunked"; None if only the end of the connection ends it; "bad" for invalid headers."""
        if self.status in _NO_BODY:
            return 0
        encoding = self.headers.get("transfer-encoding")
        length = self.headers.get("content-length")
        if encoding is not None:
            return "chunked" if encoding.strip().lower() == "chunked" and length is None else "bad"
        if length is None:
            return None
        return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else "bad"

    def _read_body(self) -> Iterator[bytes]:
        framing = self._framing()
        if framing == "bad":
            raise BadAnswer("the answer has an invalid Content-Length or Transfer-Encoding")
        if framing is None:
            self._keeps = False
            while piece := self._take(1 << 20, end_is_fine=True):
                yield piece
        elif isinstance(framing, int):
            yield from self._read_exactly(framing)
        else:
            while size := self._chunk_size():
                yield from self._read_exactly(size)
                if self._line():
                    raise BadAnswer("a chunk of the answer is longer than its size says")
            left = MOST_HEADERS
            while trailer := self._line():
                left -= len(trailer)
                if left < 0:
                    raise BadAnswer(f"the trailers of the answer are longer than {MOST_HEADERS} bytes")
        self._is_complete = True

    def _read_exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._take(size)
            size -= len(piece)
            yield piece

    def _chunk_size(self) -> int:
        text = self._line().partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", text):
            raise BadAnswer(f"{text[:40]!r} is not the size of a chunk")
        return int(text, 16)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > MOST_CHUNK_LINE:
                break
            self._buffer += self._more()
        line, _, rest = self._buffer.partition(b"\n")
        if len(line) > MOST_CHUNK_LINE:
            raise BadAnswer(f"a line between the chunks of the answer is longer than {MOST_CHUNK_LINE} bytes")
        self._buffer = rest
        return line.removesuffix(b"\r")

    def _take(self, most: int, end_is_fine: bool = False) -> bytes:
        data = self._buffer or (self._receive() if end_is_fine else self._more())
        self._buffer = data[most:]
        return data[:most]

    def _more(self) -> bytes:
        more = self._receive()
        if not more:
            raise BadAnswer("the connection ended before the answer was complete")
        return more


def _parsed(head: bytes) -> tuple[int, str, dict[str, str], str]:
    """Status, reason, headers by their names in lower case, version. Repeated headers are joined."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not re.fullmatch(r"[0-9]{3}", status):
        raise BadAnswer(f"this is not an HTTP answer: {first[:100]!r}")
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return int(status), reason[:100], headers, version
