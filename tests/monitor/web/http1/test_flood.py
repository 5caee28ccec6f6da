# SPDX-License-Identifier: MIT
"""Clients that send on and on, and read nothing: what they cost has a bound, is counted, and comes to an end."""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.monitor.serving import PATIENCE_S, run_command, until
from tests.monitor.web.http1.wire import HOST, connected, get, split_answers

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

REQUESTS = 20_000
MOST_GROWTH = 12 << 20
"""An unbounded server takes several kB a request, or all of the 30 MB that a flood has."""
FLOOD_BYTES = 30 << 20
STUCK_S = 2.0
"""A socket into which nothing could be written for so long is taken for blocked."""


def memory(serving):
    """Bytes that the process occupies."""
    status = Path(f"/proc/{serving.process.pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) << 10


def counts(serving, token=None):
    return serving.json("/api/v1/stats", token=token)["parts"]["requests"]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    from tests.monitor.serving import Serving

    serving = Serving("--set", "http.request_timeout=3s", data=tmp_path_factory.mktemp("flood") / "data")
    serving.wait_ready()
    for _ in range(50):  # what is made with the first requests
        serving.get("/healthz")
    yield serving
    serving.end()


def send_until_blocked(sock, data):
    """How much of it went into the socket before that took no more, or was closed by the other side."""
    sent = 0
    sock.setblocking(False)
    view = memoryview(data)
    with contextlib.suppress(ConnectionError):
        while sent < len(data) and select.select([], [sock], [], STUCK_S)[1]:
            sent += sock.send(view[sent : sent + (1 << 16)])
    sock.setblocking(True)
    sock.settimeout(PATIENCE_S)
    return sent


@pytest.mark.parametrize("answer", [200, 401])
def test_a_client_that_pipelines_and_never_reads_costs_little(serve, answer, tmp_path):
    if answer == 401:
        assert run_command("token", "create", "r", "--scope", "read", "--data", tmp_path / "data").returncode == 0
    serving = serve(auth_require="always" if answer == 401 else "auto")
    if answer == 401:
        path, marker = b"/api/v1/instances", b"HTTP/1.1 401 "
    else:
        path, marker = b"/healthz", b"HTTP/1.1 200 "
    for _ in range(50):
        assert serving.get(path.decode()).status == answer
    request = get(path, b"X-Filler: " + b"x" * 1400)
    flood = request * REQUESTS
    before = memory(serving)
    with connected(serving) as sock:
        sent = send_until_blocked(sock, flood)
        growth = memory(serving) - before
        assert growth < MOST_GROWTH
        assert sent < len(flood), "the kernel's buffers are too large for this test, or the server read all"
        assert serving.get("/healthz").status == 200
        until(lambda: "reading is paused" in serving.log, "the line in the log")
        # Once it reads, it gets every answer.
        sender = threading.Thread(target=sock.sendall, args=(memoryview(flood)[sent:],))
        sender.start()
        found, tail = 0, b""
        while found < REQUESTS:
            data = sock.recv(1 << 20)
            assert data, f"the connection was ended after {found} answers"
            text = tail + data
            found += text.count(marker)
            tail = text[-len(marker) + 1 :]
        sender.join(PATIENCE_S)
        assert not sender.is_alive()
    assert memory(serving) - before < MOST_GROWTH


def test_pauses_of_reading_are_counted(hasty):
    before = counts(hasty)["pipeline_pauses"]
    assert b"heartfelt_requests_pipeline_pauses_total" in hasty.get("/metrics").body
    with connected(hasty) as sock:
        send_until_blocked(sock, get(b"/healthz", b"X-Filler: " + b"x" * 1400) * REQUESTS)
        until(lambda: counts(hasty)["pipeline_pauses"] > before, "the count")


def test_thousands_of_requests_in_one_piece_are_taken_one_by_one(hasty):
    """They arrive in one read of the socket; the answers come in order."""
    n = 5000
    pieces = [b"GET /ping/p-%d HTTP/1.1\r\n%b\r\n" % (one % 7, HOST) for one in range(n)]
    pieces.append(get(b"/healthz", close=True))
    before = memory(hasty)
    with connected(hasty) as sock:
        sender = threading.Thread(target=sock.sendall, args=(b"".join(pieces),))
        sender.start()
        data = bytearray()
        while piece := sock.recv(1 << 16):
            data += piece
        sender.join(PATIENCE_S)
    answers = split_answers(bytes(data))
    assert len(answers) == n + 1
    assert answers[-1].body == b'{"ok":true}'
    assert memory(hasty) - before < MOST_GROWTH


CHUNKED = b"POST /api/v1/beats HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
LONG = b"x" * 60_000
FLOODS = {
    "tiny chunks": (CHUNKED, b"1\r\nx\r\n" * 1000),
    "chunks of line ends": (CHUNKED, b"4\r\n\r\n\r\n\r\n" * 1000),
    "an extension without an end": (CHUNKED + b"1;a=", LONG),
    "extensions": (CHUNKED, (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 50),
    "a trailer without an end": (CHUNKED + b"0\r\nX-A: ", LONG),
    "trailers": (CHUNKED + b"0\r\n", b"X-A: b\r\n" * 1000),
    "blank lines": (b"", b"\r\n" * 10_000),
    "a request line without an end": (b"GET /", LONG),
    "a header without an end": (b"GET / HTTP/1.1\r\nX-A: ", LONG),
    "headers without an end": (b"GET / HTTP/1.1\r\n", b"X-A: b\r\n" * 1000),
    "a body that nobody reads": (
        b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 4000000000\r\n\r\n", LONG
    ),
    "chunks that nobody reads": (
        CHUNKED.replace(b"/api/v1/beats", b"/healthz"), b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    ),
    "a body above the bound": (
        b"POST /api/v1/beats HTTP/1.1\r\n" + HOST + b"Content-Length: 4000000000\r\n\r\n", LONG
    ),
    "chunks above the bound": (CHUNKED, b"8000\r\n" + b"x" * 0x8000 + b"\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOODS)
def test_a_request_without_an_end_is_ended_by_the_server(hasty, name):
    begin, more = FLOODS[name]
    before = memory(hasty)
    give_up = time.monotonic() + PATIENCE_S
    sent = 0
    answer = b""
    most = before
    with connected(hasty) as sock:
        sock.sendall(begin)
        sock.setblocking(False)
        with contextlib.suppress(ConnectionError):
            for piece in itertools.repeat(more):
                view = memoryview(piece)
                while view:
                    assert time.monotonic() < give_up, f"the connection is open still, after {sent} bytes"
                    readable, writable, _ = select.select([sock], [sock] if sent < FLOOD_BYTES else [], [], 1)
                    if readable:
                        data = sock.recv(65536)
                        if not data:
                            raise ConnectionResetError
                        answer += data
                    if writable:
                        n = sock.send(view)
                        sent += n
                        view = view[n:]
                        if sent % (1 << 20) < n:
                            most = max(most, memory(hasty))
    assert most - before < MOST_GROWTH
    assert not answer or answer.startswith((b"HTTP/1.1 4",)), answer  # a reset may overtake it
    assert hasty.get("/healthz").status == 200


def test_requests_behind_a_stream_wait_in_a_bounded_buffer(hasty):
    before = memory(hasty)
    with connected(hasty) as sock:
        sock.sendall(get(b"/api/v1/stream"))
        answer = sock.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        flood = get(b"/healthz", b"X-Filler: " + b"x" * 1400) * REQUESTS
        assert send_until_blocked(sock, flood) < len(flood)
        assert memory(hasty) - before < MOST_GROWTH
        hasty.beat(instance_id="behind-a-stream")
        while b"behind-a-stream" not in answer:  # which goes on
            data = sock.recv(65536)
            assert data
            answer += data
        assert b'{"ok":true}' not in answer


def test_a_large_body_flows_as_the_application_takes_it(serve):
    """4,000 heartbeats in one request, of which the socket's buffers hold a part."""
    serving = serve()
    body = ("[" + ",".join(f'{{"service":"flow","instanceId":"i-{n}"}}' for n in range(4000)) + "]").encode()
    head = b"POST /api/v1/beats HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)
    with connected(serving) as sock:
        sock.sendall(head)
        for at in range(0, len(body), 777):
            sock.sendall(body[at : at + 777])
        sock.sendall(get(b"/healthz", close=True))
        data = b""
        while piece := sock.recv(65536):
            data += piece
    first, last = split_answers(data)
    assert first.body == b'{"taken":4000}'
    assert last.body == b'{"ok":true}'


def test_all_of_it_holds_for_tls(serve, tmp_path):
    from tests.certificates import Certificates

    made = Certificates(tmp_path)
    context = made.client_context()
    context.check_hostname = False
    serving = serve(
        "--cert", made.certificate, "--key", made.key, "--set", "http.request_timeout=3s", tls=context
    )  # fmt: skip
    assert serving.get("/healthz").status == 200
    before = memory(serving)
    flood = get(b"/healthz", b"X-Filler: " + b"x" * 1400) * (2 * REQUESTS)
    with connected(serving) as plain, context.wrap_socket(plain) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # otherwise the kernel may hold all answers
        sock.settimeout(STUCK_S)
        sent = 0
        with pytest.raises(TimeoutError):  # what TLS has begun to write is lost with it
            while sent < len(flood):
                sent += sock.send(flood[sent : sent + (1 << 14)])
        assert memory(serving) - before < MOST_GROWTH
        until(lambda: counts(serving)["pipeline_pauses"] > 0, "the count")
    body = b"x" * (6 << 20)
    head = b"POST /api/v1/beats HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)
    with connected(serving) as plain, context.wrap_socket(plain) as sock:
        sock.sendall(head)
        sock.sendall(body)  # above the bound: it is answered, and read for a while
        answer = sock.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413 "), answer
    with connected(serving) as plain, context.wrap_socket(plain) as sock:
        sock.sendall(head[:-4])
        answer = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while data := sock.recv(65536):
                answer += data
        assert answer.startswith(b"HTTP/1.1 408 ")
