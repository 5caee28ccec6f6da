# SPDX-License-Identifier: MIT
"""Framing of requests: nothing can be smuggled, and Upgrade is ignored (RFC 9110, 7.8)."""

from __future__ import annotations

import itertools

import pytest

from tests.monitor.serving import until
from tests.monitor.web.http1 import rfc9110, rfc9112
from tests.monitor.web.http1.rfc9110 import H2C, WEBSOCKET
from tests.monitor.web.http1.rows import LAST, SMUGGLED
from tests.monitor.web.http1.wire import HOST, chunked, connected, exchanged, post, rest, split_answers

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
    WEBSOCKET,
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


def test_a_refusal_names_what_is_wrong_and_what_to_send(serving):
    (answer,) = exchanged(serving, rfc9112.ROWS["HTTP/2's preface"].sent)
    assert b"HTTP/2.0 is not supported; use HTTP/1.1" in answer.body
    (answer,) = exchanged(serving, rfc9110.ROWS["CONNECT"].sent)
    assert b"not a proxy" in answer.body
    (answer,) = exchanged(serving, rfc9112.ROWS["gzip, chunked"].sent)
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
