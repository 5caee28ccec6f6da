# SPDX-License-Identifier: MIT
"""The lane of `heartfelt serve`, when the process has few file descriptors."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.monitor.serving import PATIENCE_S, Serving, until
from tests.monitor.web.http1.wire import split_answers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no lane elsewhere")
ROOM = 40


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    serving = Serving(data=tmp_path_factory.mktemp("lane"))
    try:
        serving.wait_ready()
        yield serving
    finally:
        serving.end()


def limit_descriptors(serving, more):
    """Lets the process have this many more descriptors than it has. None: as many as it had at first."""
    import resource

    pid = serving.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    n_open = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard if more is None else n_open + more, hard))


def connect(serving):
    return socket.create_connection((serving.host, serving.port), timeout=PATIENCE_S)


def ping(sock, key):
    sock.sendall(b"GET /ping/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % key)


def answer(sock):
    data = b""
    while not data.endswith(b"OK"):
        part = sock.recv(4096)
        assert part, "the connection was closed without an answer"
        data += part
    return split_answers(data)[0].status


def lane(serving):
    return serving.json("/api/v1/stats")["parts"]["lane"]


def test_all_clients_are_answered_though_there_are_not_enough_descriptors(serving):
    """Those that keep their connections idle make room for the others."""
    limit_descriptors(serving, ROOM)
    socks = [connect(serving) for _ in range(3 * ROOM)]
    try:
        for sock in socks:
            ping(sock, b"a")
        assert [answer(sock) for sock in socks] == [200] * len(socks)
    finally:
        for sock in socks:
            sock.close()
        limit_descriptors(serving, None)
    until(lambda: lane(serving)["connections"] == 0, "the end of the connections")
    stats = lane(serving)
    assert stats["requests"] >= 3 * ROOM and stats["evicted"] >= ROOM and stats["accept_errors"] > 0


def test_a_client_waits_until_another_one_has_gone(serving):
    limit_descriptors(serving, ROOM)
    silent = [connect(serving) for _ in range(2 * ROOM)]  # of which about half can be accepted
    late = connect(serving)
    try:
        ping(late, b"b")
        until(lambda: "raise the process's limit" in serving.log, "the log line")
        for sock in silent:
            sock.close()
        assert answer(late) == 200
    finally:
        late.close()
        limit_descriptors(serving, None)
    assert serving.log.count("raise the process's limit") < 20
