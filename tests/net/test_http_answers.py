# SPDX-License-Identifier: MIT
"""How an answer to a beat is read: in any pieces, and never more of it than there should be."""

from __future__ import annotations

import contextlib
import random

import pytest

from heartfelt import __version__
from heartfelt._net.http import MOST_HEADERS, Answer, BadAnswer, post, read_answer

OK = b"HTTP/1.1 200 OK\r\n"


def read(stream, size=1 << 20):
    """The answer, and what was left in the stream; it ends where nothing more is there."""
    left = bytearray(stream)

    def receive():
        piece = bytes(left[:size])
        del left[:size]
        return piece

    return read_answer(receive)


GOOD = {
    OK + b"Content-Length: 2\r\n\r\n{}": Answer(200, "OK", True),
    OK + b"content-length:0\r\n\r\n": Answer(200, "OK", True),
    b"HTTP/1.1 204 No Content\r\n\r\n": Answer(204, "No Content", True),
    b"HTTP/1.1 202\r\nContent-Length: 0\r\n\r\n": Answer(202, "", True),
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n": Answer(200, "OK", False),
    OK + b"Connection: Close\r\nContent-Length: 0\r\n\r\n": Answer(200, "OK", False),
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}": Answer(200, "OK", True),
    b"HTTP/1.1 503 Try again\r\nContent-Length: 3\r\n\r\nxyz": Answer(503, "Try again", True),
    OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n": Answer(200, "OK", False),
    OK + b"Content-Length: 99999999\r\n\r\n": Answer(200, "OK", False),
    OK + b"Content-Length: x\r\n\r\n": Answer(200, "OK", False),
    OK + b"\r\n": Answer(200, "OK", False),
    OK + b"Content-Length: 5\r\n\r\nab": Answer(200, "OK", False),
}


@pytest.mark.parametrize("stream", GOOD)
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_answers(stream, size):
    assert read(stream, size) == GOOD[stream]


def test_more_than_an_answer_is_not_kept():
    assert read(OK + b"Content-Length: 1\r\n\r\nxy").keep is False


def test_no_answer():
    assert read(b"") is None


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 200 OK\r\nX: y",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_bad_answers(stream):
    with pytest.raises(BadAnswer):
        read(stream)


def test_headers_without_end():
    pieces = []

    def receive():
        pieces.append(b"x" * 1000)
        return pieces[-1]

    with pytest.raises(BadAnswer, match="longer than"):
        read_answer(receive)
    assert len(pieces) <= MOST_HEADERS // 1000 + 1


def test_interim_answers_without_end():
    with pytest.raises(BadAnswer):
        read(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)


def test_mutated_answers():
    for seed in range(3000):
        chance = random.Random(seed)
        stream = bytearray(chance.choice(list(GOOD)))
        for _ in range(chance.randint(1, 4)):
            stream[chance.randrange(len(stream))] = chance.choice(b"\r\n :0\x80x")
        with contextlib.suppress(BadAnswer):
            read(stream, chance.choice((1, 7, 1000)))


def test_the_request():
    assert post("/p", "::1", 80, "tok", b"gz") == (
        b"POST /p HTTP/1.1\r\nHost: [::1]:80\r\nUser-Agent: heartfelt/%b\r\n"
        b"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n"
        b"Authorization: Bearer tok\r\n\r\ngz" % __version__.encode()
    )
