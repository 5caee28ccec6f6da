# SPDX-License-Identifier: MIT
"""A request's head: parsed by llhttp, with a second check of the body's framing.

If two programs disagree on the framing, a request can be smuggled past one of them. So an ambiguous head is refused,
and the connection is closed: more than one Content-Length, one that is not a plain number, one together with
Transfer-Encoding, a Transfer-Encoding other than `chunked`, chunked in HTTP/1.0. The same holds for a Host header that
is missing, repeated or malformed: two programs could disagree on whom the request is for (RFC 9112, 3.2).
"""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

import httptools

CHUNKED = -1
"""The length of a body whose end is marked by its chunks."""

_VERSIONS = (b" HTTP/1.1", b" HTTP/1.0")
_LATER_MINOR = re.compile(rb" HTTP/1\.[2-9]\Z")
_SOME_VERSION = re.compile(rb" HTTP/[0-9.]+\Z")
_METHOD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ")
_KNOWN_METHODS = frozenset((
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"CONNECT",
    b"PROPFIND", b"PROPPATCH", b"MKCOL", b"COPY", b"MOVE", b"LOCK", b"UNLOCK", b"SEARCH", b"REPORT",
))  # fmt: skip
"""Methods that the parser knows, too; the application refuses those that it does not serve, with 405."""
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|(?:[0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?\Z")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(/[^?#]*)?(?:\?([^#]*))?\Z", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_TAB_AT_END = re.compile(rb"(?<=[^\r\n \t])[ \t]+\r\n")
_MOST_DIGITS = 18
_MATTER = frozenset((b"content-length", b"transfer-encoding", b"expect", b"host"))


class BadRequest(Exception):
    """Closes the connection with this response, because later bytes on it cannot be split into requests."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class RequestTarget(NamedTuple):
    """The target of a request."""

    path: str
    raw_path: bytes
    """The path as sent. `*` for a request to the server as a whole (OPTIONS only)."""
    query: bytes


class HeadParser:
    """Parses one complete head after another. The attributes describe the last one.

    llhttp counts a body, too, so it must be fed the bytes of a body with a length (`skip`). It is not fed chunked
    bodies; after one, or after an error, the parser is unusable, and `parse` makes another.
    """

    __slots__ = (
        "_complete", "_encodings", "_expectations", "_hosts", "_lengths", "_parser", "_url", "expects_continue",
        "headers", "keep_alive", "length", "method", "target", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = None
        self._complete = False
        self._lengths: list[bytes] = []
        self._encodings: list[bytes] = []
        self._hosts: list[bytes] = []
        self._expectations: list[bytes] = []
        self._url = b""
        self.method = self.version = ""
        self.target = RequestTarget("", b"", b"")
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
            if _LATER_MINOR.search(line):  # RFC 9110, 2.5: read it as the highest minor version that is implemented
                head = b"%b1%b" % (head[: len(line) - 1], head[len(line) :])
                line = head[: len(line)]
            elif _SOME_VERSION.search(line):
                shown = line.rpartition(b" ")[2][:20].decode()
                raise BadRequest(505, f"{shown} is not supported; use HTTP/1.1")
            else:
                raise BadRequest(400, f"a request must begin with METHOD PATH HTTP/1.1; got {line[:100]!r}")
        method = _METHOD.match(line)
        if method is not None and method[1] not in _KNOWN_METHODS:
            raise BadRequest(501, f"the method {method[1][:40].decode()} is not supported; use GET or POST")
        if b"\t\r\n" in head:  # white space, which the parser takes for a part of the value
            head = _TAB_AT_END.sub(b"\r\n", head)
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
        self._check_host()
        if self._expectations and self.version == "1.1":
            self._check_expectations()
        self._split_target()

    def _feed(self, head: bytes) -> None:
        if self._parser is None or not self._complete:
            self._parser = httptools.HttpRequestParser(self)
        self.headers = []
        self._url = b""
        self._hosts.clear()
        self._expectations.clear()
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

    def _check_host(self) -> None:
        hosts = self._hosts
        if len(hosts) > 1:
            shown = b", ".join(hosts)[:100].decode("latin-1")
            raise BadRequest(400, f"send one Host header; got {len(hosts)}: {shown!r}")
        if hosts:
            if not _HOST.match(hosts[0]):
                shown = hosts[0][:100].decode("latin-1")
                raise BadRequest(400, f"the Host header {shown!r} is not a host with an optional port")
        elif self.version == "1.1":
            raise BadRequest(400, "the Host header is missing; HTTP/1.1 requires it")

    def _check_expectations(self) -> None:
        for expectation in b",".join(self._expectations).split(b","):
            expectation = expectation.strip(b" \t")
            if expectation.lower() == b"100-continue":
                self.expects_continue = True
            elif expectation:
                shown = expectation[:40].decode("latin-1")
                raise BadRequest(417, f"the expectation {shown!r} cannot be met; send Expect: 100-continue, or none")

    def _split_target(self) -> None:
        url = self._url
        if url[:1] == b"/" and b"#" not in url:
            raw_path, _, query = url.partition(b"?")
        elif url == b"*" and self.method == "OPTIONS":
            raw_path, query = b"*", b""
        else:
            absolute = _ABSOLUTE.match(url)
            if absolute is None or not _HOST.match(absolute[1]):
                raise BadRequest(400, f"the request's target must be a path; got {url[:100]!r}")
            authority, path, query = absolute.groups()
            raw_path, query = path or (b"*" if self.method == "OPTIONS" and query is None else b"/"), query or b""
            # RFC 9112, 3.2.2: the target's authority counts, whatever the Host header says
            self.headers = [(name, authority if name == b"host" else value) for name, value in self.headers]
            if not self._hosts:
                self.headers.append((b"host", authority))
        text = raw_path.decode("latin-1")
        self.target = RequestTarget(urllib.parse.unquote(text) if "%" in text else text, raw_path, query)

    def skip(self, body: bytes) -> None:
        """Feeds the parser all or part of a body that has a length."""
        if self._parser is not None:
            try:
                self._parser.feed_data(body)
            except httptools.HttpParserError:  # pragma: no cover
                self._parser = None

    # -- called by the parser

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        value = value.rstrip(b" \t")  # llhttp leaves tabs
        self.headers.append((name, value))
        if name in _MATTER:
            if name == b"content-length":
                self._lengths.append(value)
            elif name == b"transfer-encoding":
                self._encodings.append(value)
            elif name == b"host":
                self._hosts.append(value)
            else:
                self._expectations.append(value)

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        self.method = parser.get_method().decode("ascii")
        self.keep_alive = self.version == "1.1" and parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self._complete = True
