# SPDX-License-Identifier: MIT
"""Framing of requests: nothing can be smuggled, and Upgrade is ignored (RFC 9110, 7.8)."""

from __future__ import annotations

import itertools

import pytest

from tests.monitor.serving import until
from tests.monitor.web.http1.wire import HOST, chunked, connected, exchanged, get, post, rest, split_answers

LAST = get(b"/healthz", close=True)
SMUGGLED = b"GET /ping/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    from tests.monitor.serving import Serving

    serving = Serving(data=tmp_path_factory.mktemp("framing") / "data")
    serving.wait_ready()
    yield serving
    serving.end()


def fresh(name="framed"):
    """A key that no other test has."""
    return f"{name}-{next(_numbers)}"


def heartbeat(key):
    return b'{"service":"framing","instanceId":"%b"}' % key.encode()


UPGRADES = [
    H2C,
    (b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAA"),
    (b"Upgrade: h2c", b"Connection: keep-alive, Upgrade"),
    (b"UPGRADE:h2c", b"CONNECTION:UPGRADE"),
    (b"Upgrade: h2c, websocket, TLS/1.0", b"Connection: Upgrade"),
    (b"Upgrade: h2c", b"Upgrade: websocket", b"Connection: Upgrade"),
    (b"Upgrade:", b"Connection: Upgrade"),
    (b"Upgrade: h2c",),
    (b"Connection: Upgrade",),
]


@pytest.mark.parametrize("headers", UPGRADES, ids=lambda headers: headers[0].decode())
@pytest.mark.parametrize("split", ["one piece", "the body in a second piece", "byte by byte"])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_request_that_offers_an_upgrade_is_served_as_if_it_did_not(serving, headers, split, coding):
    key = fresh("upgrade")
    if coding == "length":
        request = post(b"/api/v1/beats", heartbeat(key), *headers)
    else:
        body = heartbeat(key)
        request = post(
            b"/api/v1/beats", chunked(body[:7], body[7:]), *headers, b"Transfer-Encoding: chunked", length=False
        )
    head, _, body = request.partition(b"\r\n\r\n")
    if split == "one piece":
        pieces = [request + LAST]
    elif split == "byte by byte":
        pieces = [request[n : n + 1] for n in range(len(request))] + [LAST]
    else:
        pieces = [head + b"\r\n\r\n", body, LAST]
    answers = exchanged(serving, *pieces)
    assert [one.status for one in answers] == [200, 200]
    assert answers[0].body == b'{"taken":1}'
    assert answers[1].body == b'{"ok":true}'
    assert serving.find(key) is not None


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_failure_that_is_reported_with_an_offer_of_h2c_keeps_its_text(serving, pieces):
    key = fresh("failed")
    request = post(f"/ping/{key}/fail".encode(), b"the disk is full", *H2C, b"Content-Type: text/plain")
    at = request.index(b"\r\n\r\n") + 4
    parts = [request + LAST] if pieces == 1 else [request[:at], request[at:], LAST]
    answers = exchanged(serving, *parts)
    assert [(one.status, one.body) for one in answers] == [(200, b"OK"), (200, b'{"ok":true}')]
    until(lambda: "the disk is full" in str(serving.json("/api/v1/events", instance=key)), "the event with its text")


def test_a_body_behind_an_offer_of_an_upgrade_is_never_a_request(serving):
    for headers in UPGRADES:
        request = post(f"/ping/{fresh()}".encode(), SMUGGLED, *headers)
        at = request.index(b"\r\n\r\n") + 4
        for pieces in ([request + LAST], [request[:at], request[at:], LAST]):
            assert [one.status for one in exchanged(serving, *pieces)] == [200, 200]
    assert serving.find("smuggled") is None


# What the server makes of it: the statuses of all answers on the connection, where the last piece is a plain request
# with `Connection: close`. One status: the connection was ended after it, and nothing that followed was looked at.
CASES = {
    "plain": (post(b"/ping/a", b"xyz"), [200, 200]),
    "length of zero": (post(b"/ping/a", b""), [200, 200]),
    "length with leading zeros": (post(b"/ping/a", b"xyz", b"Content-Length: 0003", length=False), [200, 200]),
    "two lengths": (post(b"/ping/a", SMUGGLED, b"Content-Length: 0", b"Content-Length: 5", length=False), [400]),
    "two equal lengths": (post(b"/ping/a", b"xyz", b"Content-Length: 3", b"Content-Length: 3", length=False), [400]),
    "a list of lengths": (post(b"/ping/a", b"xyz", b"Content-Length: 3, 3", length=False), [400]),
    "length with a sign": (post(b"/ping/a", b"xyz", b"Content-Length: +3", length=False), [400]),
    "a negative length": (post(b"/ping/a", b"xyz", b"Content-Length: -3", length=False), [400]),
    "hexadecimal length": (post(b"/ping/a", b"xyz", b"Content-Length: 0x3", length=False), [400]),
    "length with a space": (post(b"/ping/a", b"xyz", b"Content-Length: 3 3", length=False), [400]),
    "length with an underscore": (post(b"/ping/a", b"xyz", b"Content-Length: 0_3", length=False), [400]),
    "empty length": (post(b"/ping/a", SMUGGLED, b"Content-Length:", length=False), [400]),
    "length of 5,000 digits": (post(b"/ping/a", b"x", b"Content-Length: " + b"9" * 5000, length=False), [400]),
    "length of 5,000 zeros": (post(b"/ping/a", b"x", b"Content-Length: " + b"0" * 4999 + b"1", length=False), [400]),
    "length of 2**64 + 3": (post(b"/ping/a", b"xyz", b"Content-Length: 18446744073709551619", length=False), [400]),
    "length behind a tab": (post(b"/ping/a", b"xyz", b"Content-Length:\t3", length=False), [200, 200]),
    "space before the colon": (post(b"/ping/a", SMUGGLED, b"Content-Length : 4", length=False), [400]),
    "chunked": (
        post(b"/ping/a", chunked(b"xyz", b"a" * 300), b"Transfer-Encoding: chunked", length=False), [200, 200]
    ),
    "CHUNKED": (post(b"/ping/a", chunked(b"xyz"), b"transfer-encoding: CHUNKED", length=False), [200, 200]),
    "chunks of requests": (
        post(b"/ping/a", chunked(SMUGGLED, SMUGGLED), b"Transfer-Encoding: chunked", length=False), [200, 200]
    ),
    "extensions and trailers": (
        post(
            b"/ping/a", b'3;a=b;c="d \\" e"\r\nxyz\r\n0;end\r\nX-Sum: 1\r\nContent-Length: 70\r\n\r\n',
            b"Transfer-Encoding: chunked", length=False,
        ),
        [200, 200],
    ),
    "length, then chunked": (
        post(b"/ping/a", chunked(b"x"), b"Content-Length: 6", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "chunked, then length": (
        post(b"/ping/a", chunked(b"x"), b"Transfer-Encoding: chunked", b"Content-Length: 6", length=False), [400]
    ),
    "chunked, identity": (
        post(b"/ping/a", chunked(b"x"), b"Transfer-Encoding: chunked, identity", length=False), [400]
    ),
    "identity": (post(b"/ping/a", SMUGGLED, b"Transfer-Encoding: identity", length=False), [400]),
    "identity, and a length": (post(b"/ping/a", SMUGGLED, b"Transfer-Encoding: identity"), [400]),
    "gzip, chunked": (post(b"/ping/a", chunked(b"x"), b"Transfer-Encoding: gzip, chunked", length=False), [501]),
    "chunked twice": (post(b"/ping/a", chunked(b"x"), *[b"Transfer-Encoding: chunked"] * 2, length=False), [400]),
    "xchunked": (post(b"/ping/a", chunked(b"x"), b"Transfer-Encoding: xchunked", length=False), [400]),
    "chunked behind a vertical tab": (
        post(b"/ping/a", chunked(b"x"), b"Transfer-Encoding: \x0bchunked", length=False), [400]
    ),
    "empty coding": (post(b"/ping/a", SMUGGLED, b"Transfer-Encoding:"), [400]),
    "chunked in HTTP/1.0": (
        b"POST /ping/a HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x"), [400]
    ),
    "a chunk's size with 0x": (
        post(b"/ping/a", b"0x3\r\nxyz\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "a chunk's size with a sign": (
        post(b"/ping/a", b"+3\r\nxyz\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "a chunk's size with a space": (
        post(b"/ping/a", b"3 \r\nxyz\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "a chunk's size of 20 digits": (
        post(b"/ping/a", b"1" * 20 + b"\r\nxyz\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "a chunk's size ended by LF": (
        post(b"/ping/a", b"3\nxyz\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "LF in an extension": (
        post(b"/ping/a", b"3;a\nxyz\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "a chunk that is too long": (
        post(b"/ping/a", b"3\r\nxyzz\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "a chunk ended by LF": (
        post(b"/ping/a", b"3\r\nxyz\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "a trailer without a colon": (
        post(b"/ping/a", b"0\r\nGET / HTTP/1.1\r\n\r\n", b"Transfer-Encoding: chunked", length=False), [400]
    ),
    "a folded header": (b"GET /ping/a HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n", [400]),
    "a folded coding": (
        post(b"/ping/a", chunked(b"x"), b"Transfer-Encoding:\r\n chunked", length=False), [400]
    ),
    "a header that begins with a space": (b"GET /ping/a HTTP/1.1\r\n Host: localhost\r\n\r\n", [400]),
    "lines that end with LF": (b"GET /ping/a HTTP/1.1\nHost: localhost\n\n", [400]),
    "one line that ends with LF": (b"GET /ping/a HTTP/1.1\r\nHost: localhost\nX-A: b\r\n\r\n", [400]),
    "a blank line that ends with LF": (b"GET /ping/a HTTP/1.1\r\nHost: localhost\r\n\n", [400]),
    "a bare CR": (b"GET /ping/a HTTP/1.1\r\nHost: localhost\rX-A: b\r\n\r\n", [400]),
    "a NUL": (b"GET /ping/a HTTP/1.1\r\nHost: localhost\r\nX-A: \0\r\n\r\n", [400]),
    "a header without a name": (b"GET /ping/a HTTP/1.1\r\nHost: localhost\r\n: 3\r\n\r\n", [400]),
    "a header without a colon": (b"GET /ping/a HTTP/1.1\r\nHost: localhost\r\nX-A\r\n\r\n", [400]),
    "an empty header, then a length": (post(b"/ping/a", b"xyz", b"X-Empty:"), [200, 200]),
    "a space in the path": (b"GET /ping/a b HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "no version": (b"GET /ping/a\r\n\r\n", [400]),
    "HTTP/0.9": (b"GET /ping/a HTTP/0.9\r\n\r\n", [505]),
    "HTTP/1.2": (b"GET /ping/a HTTP/1.2\r\n" + HOST + b"\r\n", [505]),
    "HTTP/2.0": (b"GET /ping/a HTTP/2.0\r\n" + HOST + b"\r\n", [505]),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", [505]),
    "CONNECT": (b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n", [501]),
    "CONNECT with a body": (
        b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, [501]
    ),
    "an unknown method": (b"SMUGGLE / HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32, [400]),
    "another protocol": (b"SOURCE /ping/a ICE/1.0\r\n\r\n", [400]),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [404, 200]),
    "a whole URL": (b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + b"\r\n", [200, 200]),
    "a URL without a path": (b"GET http://localhost HTTP/1.1\r\n" + HOST + b"\r\n", [200, 200]),
    "an authority for a path": (b"GET localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "blank lines between requests": (b"\r\n\r\n" + post(b"/ping/a", b"xyz") + b"\r\n\r\n\r\n", [200, 200]),
    "close, and a request behind it": (get(b"/ping/a", close=True) + SMUGGLED, [200]),
    "HTTP/1.0, and a request behind it": (b"GET /ping/a HTTP/1.0\r\n" + HOST + b"\r\n" + SMUGGLED, [200]),
    "a body that nobody reads": (b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED)
                                 + SMUGGLED, [405, 200]),
    "chunks that nobody reads": (
        post(b"/healthz", chunked(SMUGGLED), b"Transfer-Encoding: chunked", length=False), [405, 200]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("split", ["together", "apart", "byte by byte"])
def test_what_follows_a_request_is_what_the_client_meant(serving, name, split):
    sent, expected = CASES[name]
    if split == "together":
        pieces = [sent + LAST]
    elif split == "apart":
        at = sent.find(b"\r\n\r\n") + 4
        pieces = [sent[:at], sent[at:], LAST]
    else:
        pieces = [sent[n : n + 1] for n in range(len(sent))] + [LAST]
    answers = exchanged(serving, *pieces)
    assert [one.status for one in answers] == expected, answers
    if len(expected) == 1:
        assert answers[0].headers["connection"] == "close"
    else:
        assert answers[-1].body == b'{"ok":true}'
    assert serving.find("smuggled") is None


def test_a_refusal_names_what_is_wrong_and_what_to_send(serving):
    (answer,) = exchanged(serving, CASES["HTTP/2's preface"][0])
    assert b"HTTP/2.0 is not supported; use HTTP/1.1" in answer.body
    (answer,) = exchanged(serving, CASES["CONNECT"][0])
    assert b"not a proxy" in answer.body
    (answer,) = exchanged(serving, CASES["gzip, chunked"][0])
    assert b"'gzip, chunked'" in answer.body and b"send chunked" in answer.body
    before = serving.json("/api/v1/stats")["parts"]["requests"]["bad_requests"]
    exchanged(serving, b"nonsense\r\n\r\n")
    assert serving.json("/api/v1/stats")["parts"]["requests"]["bad_requests"] == before + 1
    assert b"heartfelt_requests_bad_total" in serving.get("/metrics").body


def test_every_split_of_a_pipeline_in_two_pieces_is_read_alike(serving):
    key = fresh()
    body = heartbeat(key)
    sent = (
        post(b"/api/v1/beats", body, *H2C)
        + post(b"/api/v1/beats", chunked(body[:5], body[5:]), b"Transfer-Encoding: chunked", length=False)
        + LAST
    )
    for at in range(1, len(sent)):
        answers = exchanged(serving, sent[:at], sent[at:])
        assert [one.status for one in answers] == [200, 200, 200], at


def test_a_client_that_expects_continue_is_asked_for_the_body_once(serving):
    key = fresh()
    body = heartbeat(key)
    head, _, _ = post(b"/api/v1/beats", body, b"Expect: 100-continue").partition(b"\r\n\r\n")
    with connected(serving) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body + LAST)
        assert [one.status for one in split_answers(rest(sock))] == [200, 200]
    with connected(serving) as sock:  # the body comes without waiting: it is not asked for
        sock.sendall(head + b"\r\n\r\n" + body + LAST)
        assert [one.status for one in split_answers(rest(sock))] == [200, 200]


def test_an_answer_instead_of_continue_ends_the_connection(serving):
    """Whether the body follows cannot be known: what follows must not be taken for a request."""
    head = b"POST /healthz HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
    with connected(serving) as sock:
        sock.sendall(head)
        (answer,) = split_answers(rest(sock))
    assert (answer.status, answer.headers["connection"]) == (405, "close")
    statuses = [one.status for one in exchanged(serving, head, SMUGGLED, LAST)]
    assert statuses in ([405], [405, 200])  # 200: the body came before the answer was begun
    assert serving.find("smuggled") is None
