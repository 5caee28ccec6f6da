# SPDX-License-Identifier: MIT
"""Clients that send slowly, too much, or nothing at all; and those that do not read."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.monitor.serving import PATIENCE_S, stream_events

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """A monitor that has little patience."""
    from tests.monitor.serving import Serving

    data = tmp_path_factory.mktemp("hasty") / "data"
    serving = Serving(
        "--set", "http.request_timeout=1s", "--set", "http.header_bytes=4096", "--set", "http.keep_alive=1s", data=data
    )
    serving.wait_ready()
    yield serving
    serving.end()


@contextlib.contextmanager
def connected(serving):
    with socket.create_connection((serving.host, serving.port), timeout=PATIENCE_S) as sock:
        yield sock


def rest(sock):
    """Returns all that is received until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            found += data
    return found


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b", b"\r\n\r\n",
     b"POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{",
     b"POST /api/v1/beats HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"],
)  # fmt: skip
def test_a_request_that_does_not_come_whole_is_ended(hasty, sent):
    with connected(hasty) as sock:
        sock.sendall(sent)
        answer = rest(sock)
    assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400")), answer


def test_a_drip_of_bytes_does_not_keep_a_connection_open(hasty):
    sent = 0
    with connected(hasty) as sock:
        sock.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            while sent < PATIENCE_S * 20:
                sock.sendall(b"\r\n")
                sent += 1
                with contextlib.suppress(TimeoutError):
                    if not sock.recv(1000):
                        break
    assert 0 < sent < PATIENCE_S * 20


def test_a_connection_may_be_idle_between_requests_only_so_long(hasty):
    with connected(hasty) as sock:
        sock.sendall(REQUEST)
        answer = rest(sock)
    assert answer.startswith(b"HTTP/1.1 200")


def test_many_requests_on_one_connection_are_served(hasty):
    with connected(hasty) as sock:
        for _ in range(50):
            sock.sendall(REQUEST)
            answer = sock.recv(65536)
            while b'{"ok":true}' not in answer:
                answer += sock.recv(65536)
        sock.sendall(REQUEST * 20)  # all at once
        answer = b""
        while answer.count(b'{"ok":true}') < 20:
            data = sock.recv(65536)
            assert data
            answer += data


@pytest.mark.parametrize("pieces", [1, 100])
def test_a_head_that_is_too_large_is_refused(hasty, pieces):
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: " + b"a" * 90_000
    step = len(head) // pieces
    with connected(hasty) as sock:
        with contextlib.suppress(ConnectionError):
            for begin in range(0, len(head), step):
                sock.sendall(head[begin : begin + step])
        answer = rest(sock)
    assert answer.startswith(b"HTTP/1.1 431")
    assert hasty.json("/api/v1/stats")["parts"]["requests"]["large_heads"] > 0


def test_a_large_body_is_no_large_head(hasty):
    body = b'{"name": "' + b"a" * 100_000 + b'", "scopes": ["read"]}'
    answer = hasty.post("/api/v1/tokens", body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json["code"]) == (400, "bad_value")
    answer = hasty.post("/api/v1/tokens", body * 10, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json["code"]) == (413, "body_limit")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"name":1}', b'{"nme":"x"}', b"null"])
def test_a_body_that_is_not_what_it_should_be_is_refused(hasty, body):
    answer = hasty.post("/api/v1/tokens", body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json["code"]) == (400, "bad_body")
    answer = hasty.post("/api/v1/tokens", body, headers={"Content-Type": "text/plain"})
    assert (answer.status, answer.json["code"]) == (415, "content_type")


def test_pages_of_other_sites_are_kept_out(hasty):
    assert hasty.get("/api/v1/instances", headers={"Host": "evil.example"}).status == 421
    assert hasty.get("/healthz", headers={"Host": "pod-7.ns"}).status == 200
    hasty.beat()
    foreign = {"Origin": "http://evil.example", "Content-Type": "application/json"}
    changing = (("POST", "/api/v1/hold/release"), ("POST", "/api/v1/beats"), ("DELETE", "/api/v1/instances/1"))
    for method, path in changing:
        answer = hasty.request(method, path, b"{}", headers=foreign)
        assert (answer.status, answer.json["code"]) == (403, "cross_site"), path
    assert hasty.get("/ping/x", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    assert hasty.request("OPTIONS", "/api/v1/instances", headers={"Origin": "http://evil.example"}).status == 405
    assert hasty.find("x") is None


def test_a_viewer_that_does_not_read_holds_nobody_up_and_is_told_to_read_anew(serve):
    serving = serve("--set", "http.viewer_bytes=64 KiB")
    slow_connection, slow = serving.open_stream(topics=["change"], receive_bytes=4096)
    quick_connection, quick = serving.open_stream(topics=["counts"])

    def resyncs():
        return serving.json("/api/v1/stats")["parts"]["stream"]["resyncs"]

    total = 0
    while not resyncs():  # no more than it takes: who does not read for 30 s is disconnected
        assert total < 60_000
        serving.beats(2000, f"service-{total}")
        total += 2000
    while stream_events(quick, 1)[0][2].get("all", {}).get("total") != total:
        pass
    names = []
    while "resync" not in names[1:]:
        names += [one[1] for one in stream_events(slow, 1)]
    slow_connection.close()
    quick_connection.close()
