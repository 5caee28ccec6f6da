# SPDX-License-Identifier: MIT
"""A request's head: parsed by llhttp, with a second check of the body's framing.

If two programs disagree on the framing, a request can be smuggled past one of them. So an ambiguous head is refused,
and the connection is closed: more than one Content-Length, one that is not a plain number, one together with
Transfer-Encoding, a Transfer-Encoding other than `chunked`, chunked in HTTP/1.0.
"""

from __future__ import annotations

import re
import urllib.parse

import httptools

CHUNKED = -1
"""The length of a body whose end is marked by its chunks."""

_VERSIONS = (b" HTTP/1.1", b" HTTP/1.0")
_SOME_VERSION = re.compile(rb" HTTP/[0-9.]+\Z")
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_MOST_DIGITS = 18
_MATTER = frozenset((b"content-length", b"transfer-encoding", b"expect"))


class BadRequest(Exception):
    """Closes the connection with this response, because later bytes on it cannot be split into requests."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class HeadParser:
    """Parses one complete head after another. The attributes describe the last one.

    llhttp counts a body, too, so it must be fed the bytes of a body with a length (`skip`). It is not fed chunked
    bodies; after one, or after an error, the parser is unusable, and `parse` makes another.
    """

    __slots__ = (
        "_complete", "_encodings", "_lengths", "_parser", "expects_continue", "headers", "keep_alive", "length",
        "method", "target", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = None
        self._complete = False
        self._lengths: list[bytes] = []
        self._encodings: list[bytes] = []
        self.method = self.version = ""
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.length = 0  # bytes of the body, or CHUNKED
        self.keep_alive = False
        self.expects_continue = False

    def close(self) -> None:
        self._parser = None  # it refers to this object

    def parse(self, head: bytes) -> None:
        """Parses a head, from its first line to its blank line. Raises BadRequest."""
        line = head[: head.index(b"\r\n")]
        if not line.endswith(_VERSIONS):
            if _SOME_VERSION.search(line):
                shown = line.rpartition(b" ")[2][:20].decode()
                raise BadRequest(505, f"{shown} is not supported; use HTTP/1.1")
            raise BadRequest(400, f"a request must begin with METHOD PATH HTTP/1.1; got {line[:100]!r}")
        self.version = "1.1" if line.endswith(b"1") else "1.0"
        try:
            self._feed(head)
        except httptools.HttpParserUpgrade:
            if line.startswith(b"CONNECT "):
                raise BadRequest(501, "CONNECT is not supported: this server is not a proxy") from None
            # RFC 9110, 7.8: a server may ignore Upgrade. llhttp cannot, so it gets the head without that field.
            self._parser = None
            try:
                self._feed(_UPGRADE.sub(b"", head))
            except httptools.HttpParserUpgrade:  # pragma: no cover
                raise BadRequest(400, "the Upgrade header could not be ignored; remove it") from None
        if self._lengths or self._encodings:
            self._find_length()
        if self._complete != (self.length == 0):
            self._parser = None
            raise BadRequest(400, "it is not clear whether the request has a body; send one Content-Length")

    def _feed(self, head: bytes) -> None:
        if self._parser is None or not self._complete:
            self._parser = httptools.HttpRequestParser(self)
        self.headers = []
        self.target = b""
        self.length = 0
        self._complete = self.expects_continue = False
        if self._lengths or self._encodings:
            self._lengths, self._encodings = [], []
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserError as error:
            self._parser = None
            raise BadRequest(400, f"the request could not be parsed: {error}") from None

    def _find_length(self) -> None:
        if self._encodings:
            encoding = b", ".join(self._encodings)
            if self._lengths:
                raise BadRequest(400, "send either Content-Length or Transfer-Encoding, not both")
            if encoding.lower() != b"chunked":
                shown = encoding[:100].decode("latin-1")
                raise BadRequest(501, f"Transfer-Encoding {shown!r} is not supported; send chunked, or Content-Length")
            if self.version == "1.0":
                raise BadRequest(400, "HTTP/1.0 does not have Transfer-Encoding; send Content-Length, or use HTTP/1.1")
            self.length = CHUNKED
            self._parser = None
            self._complete = False
            return
        text = self._lengths[0]
        if len(self._lengths) > 1 or not text.isdigit() or len(text) > _MOST_DIGITS:
            shown = b", ".join(self._lengths)[:40].decode("latin-1")
            raise BadRequest(400, f"Content-Length must be one plain number; got {shown!r}")
        self.length = int(text)

    def skip(self, body: bytes) -> None:
        """Feeds the parser all or part of a body that has a length."""
        if self._parser is not None:
            try:
                self._parser.feed_data(body)
            except httptools.HttpParserError:  # pragma: no cover
                self._parser = None

    # -- called by the parser

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        value = value.rstrip(b" \t")  # llhttp leaves tabs
        self.headers.append((name, value))
        if name in _MATTER:
            if name == b"content-length":
                self._lengths.append(value)
            elif name == b"transfer-encoding":
                self._encodings.append(value)
            elif value.lower() == b"100-continue":
                self.expects_continue = True

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        self.method = parser.get_method().decode("ascii")
        self.keep_alive = self.version == "1.1" and parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self._complete = True


def split_target(target: bytes) -> tuple[str, bytes, bytes]:
    """Returns the path, the path as sent, and the query. Raises BadRequest."""
    if target[:1] != b"/" or b"#" in target:
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserError:
            url = None
        if url is None or not (url.host or url.path):
            raise BadRequest(400, f"the request's target must be a path; got {target[:100]!r}")
        raw_path, query = url.path or b"/", url.query or b""
    else:
        raw_path, _, query = target.partition(b"?")
    path = raw_path.decode("latin-1")
    return urllib.parse.unquote(path) if "%" in path else path, raw_path, query
