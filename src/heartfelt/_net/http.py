# SPDX-License-Identifier: MIT
"""As much of HTTP/1.1 as it takes to POST a beat and to read whether it was taken; everything read is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from heartfelt._version import __version__

__all__ = ["Answer", "BadAnswer", "post", "read_answer"]

MOST_HEADERS = 16 << 10
MOST_BODY = 64 << 10
MOST_INTERIM = 8


class BadAnswer(OSError):
    """What came is no HTTP answer, or a longer one than an answer to a beat should be."""


class Answer(NamedTuple):
    status: int
    reason: str
    keep: bool
    """Whether the connection can carry the next request."""


def post(path: str, host: str, port: int, token: str | None, packed_json: bytes) -> bytes:
    """The whole request, its body gzip of JSON."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {f'[{host}]' if ':' in host else host}:{port}",
        f"User-Agent: heartfelt/{__version__}",
        "Content-Type: application/json",
        "Content-Encoding: gzip",
        f"Content-Length: {len(packed_json)}",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + packed_json


def read_answer(receive: Callable[[], bytes]) -> Answer | None:
    """One answer, its body thrown away; None if the peer closed before the first byte of it.

    `receive` gives some bytes, or none at the end; what it raises goes through. Raises BadAnswer.
    """
    received = b""
    n_interim = 0
    while True:
        head, found, received_body = received.partition(b"\r\n\r\n")
        if found:
            status, reason, headers, version = _parsed(head)
            if status >= 200:
                break
            n_interim += 1  # 100 Continue and the like come before the answer
            if n_interim > MOST_INTERIM:
                raise BadAnswer(f"more than {MOST_INTERIM} interim answers")
            received = received_body
            continue
        if len(received) > MOST_HEADERS:
            raise BadAnswer(f"an answer's headers are longer than {MOST_HEADERS} bytes")
        more = receive()
        if not more:
            if not received:
                return None
            raise BadAnswer(f"the connection ended within an answer's headers: {received[:100]!r}")
        received += more
    keep = version == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
    if status in (204, 304):
        return Answer(status, reason, keep and not received_body)
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()) or int(length) > MOST_BODY:
        return Answer(status, reason, keep=False)  # the status is what counts: the body is not waited for
    left = int(length) - len(received_body)
    while left > 0:
        more = receive()
        if not more:
            return Answer(status, reason, keep=False)
        left -= len(more)
    return Answer(status, reason, keep and left == 0)


def _parsed(head: bytes) -> tuple[int, str, dict[str, str], str]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or len(status) != 3 or not (status.isascii() and status.isdigit()):
        raise BadAnswer(f"this is no HTTP answer: {first[:100]!r}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status), reason[:100], headers, version
