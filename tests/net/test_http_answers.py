# SPDX-License-Identifier: MIT
"""How an answer to a beat is read: in any pieces, and never more of it than there should be."""

from __future__ import annotations

import contextlib
import random

import pytest

from heartfelt import __version__
from heartfelt._net.http import MOST_HEADERS, BadAnswer, HttpResponse, NoAnswer, request

OK = b"HTTP/1.1 200 OK\r\n"


def answer_from(stream, size=1 << 20):
    """The answer in a stream that arrives in pieces of `size` bytes and then ends."""
    left = bytearray(stream)

    def receive():
        piece = bytes(left[:size])
        del left[:size]
        return piece

    return HttpResponse(receive)


def skipped(stream, size=1 << 20):
    """(status, reason, keeps) of an answer whose body was skipped."""
    answer = answer_from(stream, size)
    answer.skip(64 << 10)
    return answer.status, answer.reason, answer.keeps


GOOD = {
    OK + b"Content-Length: 2\r\n\r\n{}": (200, "OK", True),
    OK + b"content-length:0\r\n\r\n": (200, "OK", True),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, "No Content", True),
    b"HTTP/1.1 202\r\nContent-Length: 0\r\n\r\n": (202, "", True),
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n": (200, "OK", False),
    OK + b"Connection: Close\r\nContent-Length: 0\r\n\r\n": (200, "OK", False),
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}": (200, "OK", True),
    b"HTTP/1.1 503 Try again\r\nContent-Length: 3\r\n\r\nxyz": (503, "Try again", True),
    OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n": (200, "OK", True),
    OK + b"Content-Length: 99999999\r\n\r\n": (200, "OK", False),
    OK + b"Content-Length: x\r\n\r\n": (200, "OK", False),
    OK + b"\r\n": (200, "OK", False),
    OK + b"Content-Length: 5\r\n\r\nab": (200, "OK", False),
}


@pytest.mark.parametrize("stream", GOOD)
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_answers(stream, size):
    assert skipped(stream, size) == GOOD[stream]


def test_more_than_an_answer_is_not_kept():
    assert skipped(OK + b"Content-Length: 1\r\n\r\nxy") == (200, "OK", False)


def test_no_answer():
    with pytest.raises(NoAnswer):
        answer_from(b"")


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BODIES = {
    OK + b"Content-Length: 5\r\n\r\nhello": (b"hello", True),
    OK + b"Content-Length: 0\r\n\r\n": (b"", True),
    OK + b"\r\nhello": (b"hello", False),
    b"HTTP/1.1 204 No Content\r\n\r\n": (b"", True),
    CHUNKED + b"5\r\nhello\r\n0\r\n\r\n": (b"hello", True),
    CHUNKED + b"2;name=value\r\nhe\r\n03\r\nllo\r\n0\r\nTrailer: x\r\n\r\n": (b"hello", True),
    CHUNKED + b"A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n": (b"\r\n" * 5, True),
}


@pytest.mark.parametrize("stream", BODIES)
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_bodies(stream, size):
    answer = answer_from(stream, size)
    assert (answer.read(10), answer.keeps) == BODIES[stream]


@pytest.mark.parametrize(
    "stream",
    [
        OK + b"Content-Length: 5\r\n\r\nhell",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        CHUNKED + b"5\r\nhell",
        CHUNKED + b"5\r\nhello",
        CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\nhello",
        CHUNKED + b"0" * 20 + b"5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5;" + b"x" * 10_000 + b"\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"0\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
        CHUNKED + b"0\r\n",
    ],
)
def test_bodies_that_are_not_complete_or_not_valid(stream):
    answer = answer_from(stream, 1000)
    with pytest.raises(BadAnswer):
        answer.read(1 << 20)
    assert not answer.keeps


def test_a_body_that_is_too_long_is_not_read_to_its_end():
    pieces = [OK + b"\r\n"]

    def receive():
        pieces.append(b"x" * 1000)
        return pieces[-2]

    with pytest.raises(BadAnswer, match="longer than 5000"):
        HttpResponse(receive).read(5000)
    assert len(pieces) < 10
    assert answer_from(OK + b"\r\n" + b"x" * 1000).read_beginning(50) == b"x" * 50


def test_lines_arrive_as_they_come():
    pieces = iter([CHUNKED, b"3\r\na\nb\r\n", b"2\r\n\nc\r\n", b"0\r\n\r\n"])
    lines = HttpResponse(lambda: next(pieces)).lines(10)
    assert next(lines) == b"a\n"
    assert next(lines) == b"b\n"
    assert list(lines) == [b"c"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_that_are_too_long(size):
    lines = answer_from(OK + b"\r\nshort\n" + b"x" * 100 + b"\nshort\n", size).lines(50)
    assert next(lines) == b"short\n"
    with pytest.raises(BadAnswer, match="longer than 50"):
        next(lines)


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
        answer_from(stream)


def test_headers_without_end():
    pieces = []

    def receive():
        pieces.append(b"x" * 1000)
        return pieces[-1]

    with pytest.raises(BadAnswer, match="longer than"):
        HttpResponse(receive)
    assert len(pieces) <= MOST_HEADERS // 1000 + 1


def test_interim_answers_without_end():
    with pytest.raises(BadAnswer):
        answer_from(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)


def test_mutated_answers():
    for seed in range(3000):
        chance = random.Random(seed)
        stream = bytearray(chance.choice(list(GOOD)))
        for _ in range(chance.randint(1, 4)):
            stream[chance.randrange(len(stream))] = chance.choice(b"\r\n :0\x80x")
        with contextlib.suppress(BadAnswer, NoAnswer):
            skipped(stream, chance.choice((1, 7, 1000)))


def test_the_request():
    headers = {"Content-Type": "application/json", "Authorization": "Bearer tok"}
    assert request("POST", "/p", "::1", 80, headers, b"gz") == (
        b"POST /p HTTP/1.1\r\nHost: [::1]:80\r\nUser-Agent: heartfelt/%b\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer tok\r\nContent-Length: 2\r\n\r\ngz" % __version__.encode()
    )
    assert request("GET", "/p", "h", 80, {}, None).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/a b", {}), ("/a\r\nX: y", {}), ("/\xe4", {}), ("/", {"X": "a\r\nY: b"}), ("/", {"X": "\u0100"})],
)
def test_requests_that_would_break_the_message(target, headers):
    with pytest.raises(ValueError, match=r"cannot be|not allowed"):
        request("GET", target, "h", 80, headers, None)
