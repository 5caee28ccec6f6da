# SPDX-License-Identifier: MIT
"""A client that sends a large body before reading gets its answer, never a reset. Clients that leave are counted."""

from __future__ import annotations

import gzip
import random
import re
import socket
import struct

import pytest

from tests.monitor.serving import Serving, run_command, until
from tests.monitor.web.http1.rows import LAST
from tests.monitor.web.http1.wire import chunked, connected, get, post, rest, split_answers

BIG = 3 << 20
JSON = b"Content-Type: application/json"
GZIP = b"Content-Encoding: gzip"


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    data = tmp_path_factory.mktemp("unread") / "data"
    made = run_command("token", "create", "t", "--scope", "admin", "--data", data)
    serving = Serving(data=data, auth_require="always", limits_body_bytes="64 KiB", limits_gunzip_bytes="128 KiB")
    serving.wait_ready()
    serving.token = next(word for word in made.stdout.split() if word.startswith("hf_")).encode()
    yield serving
    assert "Traceback" not in serving.log
    serving.end()


ZIPPED = gzip.compress(b"[" + b" " * BIG + b"]")
RANDOM = gzip.compress(random.Random(1).randbytes(BIG))
CASES = {
    "a body above the limit": (b"/api/v1/beats", True, (), b"x" * BIG, 413),
    "a ping's body above the limit": (b"/ping/a", True, (), b"x" * BIG, 413),
    "gzip that holds too much": (b"/api/v1/beats", True, (GZIP,), ZIPPED, 413),
    "gzip that is too large": (b"/api/v1/beats", True, (GZIP,), RANDOM, 413),
    "another body above the limit": (b"/api/v1/tokens", True, (JSON,), b"x" * BIG, 413),
    "no token": (b"/api/v1/beats", False, (), b"x" * BIG, 401),
    "no token for a ping": (b"/ping/a", False, (), b"x" * BIG, 401),
    "no token elsewhere": (b"/api/v1/tokens", False, (JSON,), b"x" * BIG, 401),
    "no such path": (b"/nowhere", True, (), b"x" * BIG, 404),
    "another method": (b"/healthz", True, (), b"x" * BIG, 405),
    "another type": (b"/api/v1/tokens", True, (b"Content-Type: text/plain",), b"x" * BIG, 415),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("close", [False, True])
def test_the_answer_reaches_a_client_that_is_still_sending(serving, name, coding, close):
    path, with_token, headers, body, status = CASES[name]
    lines = [*headers, *([b"Authorization: Bearer " + serving.token] if with_token else [])]
    lines += [b"Connection: close"] * close
    if coding == "length":
        request = post(path, body, *lines)
    else:
        parts = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
        request = post(path, chunked(*parts), *lines, b"Transfer-Encoding: chunked", length=False)
    with connected(serving) as sock:
        sock.sendall(request)
        if not close:
            sock.sendall(LAST)
        answers = split_answers(rest(sock))
    assert answers[0].status == status
    assert [one.status for one in answers[1:]] in ([], [200])  # a 413 may close the connection, others keep it
    if not close and status != 413:
        assert len(answers) == 2


def test_large_bodies_of_the_api_are_counted(serving):
    def refused():
        found = serving.get("/metrics", token=serving.token.decode()).body
        return float(re.search(rb"^heartfelt_api_large_bodies_total (\S+)", found, re.MULTILINE)[1])

    before = refused()
    token = serving.token.decode()
    headers = {"Content-Type": "application/json"}
    assert serving.post("/api/v1/tokens", b"x" * BIG, token=token, headers=headers).status == 413
    assert refused() == before + 1


def test_clients_that_leave_while_they_pipeline_are_counted(serving):
    def abandoned():
        return serving.json("/api/v1/stats", token=serving.token.decode())["parts"]["requests"]["abandoned"]

    before = abandoned()
    asked = get(b"/api/v1/instances", b"Authorization: Bearer " + serving.token) * 200
    for n in range(20):
        with connected(serving) as sock:
            sock.sendall(asked)
            if n % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            else:
                sock.recv(1000)
    until(lambda: abandoned() > before, "the count")
