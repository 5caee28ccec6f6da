# SPDX-License-Identifier: MIT
"""The line on a Python thread: what only http can do, and TLS."""

from __future__ import annotations

import pytest

from tests.agent.lines import GOODBYE
from tests.agent.server import Answer

# -- http


@pytest.mark.parametrize("status", [401, 503])
def test_http_refusals(serve, beating, status):
    server = serve("http")
    server.answer = Answer(status)
    line = beating(server)
    server.wait_for(lambda: line.stats().refused >= 3)
    stats = line.stats()
    assert (stats.beats, stats.failures, stats.connects) == (0, 0, 1)  # it is an answer: the connection is good
    assert f"HTTP {status}" in stats.last_error
    server.answer = Answer(202)
    server.wait_for(lambda: line.stats().beats >= 1)
    assert server.beats[0]["beat"] == 1


def test_http_that_hangs(serve, beating):
    server = serve("http")
    server.answer = Answer(hang=True)
    line = beating(server, write_timeout_s=0.05)
    server.wait_for(lambda: line.stats().failures >= 2)
    assert "took too long" in line.stats().last_error
    server.answer = Answer()
    server.wait_for(lambda: line.stats().beats >= 1)


def test_http_that_closes_after_each_answer(serve, beating):
    server = serve("http")
    server.answer = Answer(close=True)
    line = beating(server)
    server.wait_for(lambda: line.stats().beats >= 4)
    stats = line.stats()
    assert (stats.failures, stats.connects >= 4) == (0, True)


def test_http_that_closes_kept_connections(serve, beating):
    """As servers do after a while: neither a failure nor a missed beat."""
    server = serve("http")
    line = beating(server, interval_s=1000)  # no beat goes out but those that are asked for
    for n_beats in range(1, 6):
        server.wait_for(lambda n_beats=n_beats: line.stats().beats == n_beats)
        server.drop_connections()
        server.wait_for(lambda: line.stats().state == "idle")  # it has seen the end of the connection
        line.beat_now()
    server.wait_for(lambda: line.stats().beats == 6)
    stats = line.stats()
    assert (stats.connects, stats.failures, stats.missed) == (6, 0, 0)


def test_http_that_closes_kept_connections_at_a_request(serve, beating):
    """The race of every kept connection: the beat goes out once more, at once, on another one."""
    server = serve("http")
    server.answer = Answer(most_requests=2)
    line = beating(server, first_reconnect_s=1000, most_reconnect_s=1000)
    server.wait_for(lambda: line.stats().beats >= 6)
    assert (line.stats().failures, line.stats().connects >= 3) == (0, True)
    line.close(None, 10)
    assert [beat["beat"] for beat in server.beats] == list(range(1, len(server.beats) + 1))
    assert server.goodbyes == []


def test_http_that_never_answers_is_not_asked_without_end(serve, beating):
    server = serve("http")
    server.closes_at_once = True
    line = beating(server, first_reconnect_s=1000, most_reconnect_s=1000)
    server.wait_for(lambda: line.stats().state == "waiting")
    assert (line.stats().failures, server.connections) == (1, 1)


def test_http_bodies_of_answers_are_passed_over(serve, beating):
    server = serve("http")
    server.answer = Answer(body=b"HTTP/1.1 500 no\r\n\r\n" * 1000)
    line = beating(server)
    server.wait_for(lambda: line.stats().beats >= 3)
    assert (line.stats().refused, line.stats().connects) == (0, 1)
    server.answer = Answer(body=b"x" * 1_000_000)  # too long to wait for: the status counts
    server.wait_for(lambda: line.stats().connects >= 3)
    assert (line.stats().refused, line.stats().failures) == (0, 0)


# -- TLS


@pytest.mark.parametrize("kind", ["sermant", "http"])
def test_tls(serve, beating, certificates, kind):
    server = serve(kind, tls=certificates.server_context())
    line = beating(server, tls=certificates.client_context(), server_hostname="localhost", token="secret")
    server.wait_for(lambda: len(server.beats) >= 3)
    assert line.close(GOODBYE, 10) is True
    server.wait_for(lambda: server.goodbyes)
    server.wait_for(lambda: server.open_connections == 0)
    assert line.stats().failures == 0


@pytest.mark.parametrize("kind", ["sermant", "http"])
@pytest.mark.parametrize("fault", ["ca", "name", "plain"])
def test_tls_faults_are_named(serve, beating, certificates, kind, fault):
    server = serve(kind, tls=None if fault == "plain" else certificates.server_context())
    context = certificates.client_context(certificates.other_ca if fault == "ca" else None)
    name = "elsewhere.example" if fault == "name" else "localhost"
    line = beating(server, tls=context, server_hostname=name, connect_timeout_s=0.2 if fault == "plain" else 5)
    server.wait_for(lambda: line.stats().failures >= 1)
    stats = line.stats()
    expected = {"ca": "certificate verify failed", "name": "elsewhere.example", "plain": ""}[fault]
    assert expected in stats.last_error
    assert (stats.beats, stats.connects, server.beats) == (0, 0, [])
    line.close(None, 10)
    server.wait_for(lambda: server.open_connections == 0)
    server.errors.clear()  # a handshake is no frame


def test_tls_lost_connection(serve, beating, certificates):
    server = serve("sermant", tls=certificates.server_context())
    line = beating(server, interval_s=1000, tls=certificates.client_context(), server_hostname="localhost")
    server.wait_for(lambda: server.beats)
    server.drop_connections()
    server.wait_for(lambda: len(server.beats) == 2)
    assert line.stats().failures == 1
