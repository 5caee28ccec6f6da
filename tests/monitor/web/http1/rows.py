# SPDX-License-Identifier: MIT
"""Rows of the tables of RFC 9112 and RFC 9110, and how one is sent to any HTTP server of a monitor's.

A row is what is sent, the statuses of the answers to it, and whether the connection stays usable. `run` sends a plain
request behind it, so a server that takes a part of the row for something else is found out.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from tests.monitor.web.http1.wire import HOST, connected, get, post, rest, split_answers

LAST = get(b"/healthz", close=True)
SMUGGLED = b"GET /ping/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
MANY_PIECES = 2000
"""Rows of more bytes are not sent byte by byte."""
SPLITS = ("together", "apart", "byte by byte")


class Row(NamedTuple):
    sent: bytes
    statuses: tuple[int, ...]
    """Statuses of the answers, without 100."""
    stays: bool
    """False: the server closes the connection after them, and looks at nothing that follows."""
    methods: tuple[str, ...] = ()
    """Methods of the requests, where one is HEAD."""


def keeps(sent, *statuses, methods=()):
    return Row(sent, statuses, True, methods)


def ends(sent, *statuses):
    return Row(sent, statuses, False)


def pieces_of(row, split):
    """The pieces to send, with the last request where the connection stays or should have been closed."""
    if split == "together":
        return [row.sent + LAST]
    if split == "apart" or len(row.sent) > MANY_PIECES:
        at = row.sent.find(b"\r\n\r\n") + 4
        return [row.sent[:at], row.sent[at:], LAST]
    return [row.sent[n : n + 1] for n in range(len(row.sent))] + [LAST]


def run(server, row, split="together"):
    """The answers to a row, without the interim ones. server: anything with a host and a port."""
    with connected(server) as sock:
        with contextlib.suppress(ConnectionError):
            for piece in pieces_of(row, split):
                sock.sendall(piece)
        received = rest(sock)
    return [one for one in split_answers(received, row.methods) if one.status >= 200]


def check(server, row, split="together"):
    answers = run(server, row, split)
    expected = [*row.statuses, 200] if row.stays else [*row.statuses]
    assert [one.status for one in answers] == expected, answers
    if row.stays:
        assert answers[-1].body == b'{"ok":true}'
    elif answers:
        assert answers[-1].headers["connection"] == "close"
    return answers


# -- what rows are made of


def ask(line, *headers, host=HOST):
    """A request without a body, from its whole first line."""
    return b"%b\r\n%b%b\r\n" % (line, host, b"".join(one + b"\r\n" for one in headers))


def sized(*values, body=b"xyz"):
    """A ping with these Content-Length headers."""
    return post(b"/ping/a", body, *[b"Content-Length: " + one for one in values], length=False)


def coded(body, *codings):
    """A ping with these Transfer-Encoding headers."""
    lines = [b"Transfer-Encoding: " + one for one in codings or [b"chunked"]]
    return post(b"/ping/a", body, *lines, length=False)
