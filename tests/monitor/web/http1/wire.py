# SPDX-License-Identifier: MIT
"""HTTP by raw sockets: what is sent is exactly what a test says, and answers are split as a strict client would."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import NamedTuple

from tests.monitor.serving import PATIENCE_S

HOST = b"Host: localhost\r\n"


class Plain(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def connected(serving):
    with socket.create_connection((serving.host, serving.port), timeout=PATIENCE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def rest(sock):
    """Receives until the other side closes the connection."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            found += data
    return found


def split_answers(data, methods=()):
    """The answers in `data`, to the last byte. methods: of their requests, as far as they are HEAD."""
    found = []
    while data:
        head, blank, data = data.partition(b"\r\n\r\n")
        assert blank, head
        line, *lines = head.decode("latin-1").split("\r\n")
        status = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", line)
        assert status, line
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        number = int(status[1])
        if number == 100 or number in (204, 304) or (len(found) < len(methods) and methods[len(found)] == "HEAD"):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size, _, data = data.partition(b"\r\n")
                n = int(size, 16)
                body, data = body + data[:n], data[n:]
                assert data[:2] == b"\r\n", data
                data = data[2:]
                if not n:
                    break
        elif "content-length" in headers:
            n = int(headers["content-length"])
            assert len(data) >= n, (head, data)
            body, data = data[:n], data[n:]
        else:
            body, data = data, b""
        found.append(Plain(number, headers, body))
    return found


def exchanged(serving, *pieces):
    """The answers to what is sent, piece by piece, and whether the server has ended the connection by itself.

    The last piece should make the server end the connection (`Connection: close`), or be refused.
    """
    with connected(serving) as sock:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                sock.sendall(piece)
        return split_answers(rest(sock))


def get(path, *headers, close=False):
    more = b"".join(one + b"\r\n" for one in headers) + (b"Connection: close\r\n" if close else b"")
    return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path, HOST, more)


def post(path, body, *headers, length=True):
    more = b"".join(one + b"\r\n" for one in headers) + (b"Content-Length: %d\r\n" % len(body) if length else b"")
    return b"POST %b HTTP/1.1\r\n%b%b\r\n%b" % (path, HOST, more, body)


def chunked(*parts):
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
