# SPDX-License-Identifier: MIT
"""The line on a Python thread, against the test server. No wait is for a time; nothing asserts an absolute one."""

from __future__ import annotations

import json
import random
import time

import pytest

from heartfelt.agent.line import Plan, open_line
from heartfelt.agent.line.thread import ThreadLine
from tests.agent.lines import GOODBYE, HEAD, INTERVAL_S


@pytest.fixture(params=["sermant", "http", "udp"])
def kind(request):
    return request.param


def test_beats_and_their_content(serve, beating, kind):
    server = serve(kind)
    before = time.time() * 1000
    line = beating(server)
    server.wait_for(lambda: len(server.beats) >= 4)
    first, second, third = server.beats[:3]
    assert {name: first[name] for name in ("service", "instanceId", "name")} == json.loads(HEAD + b"}")
    assert [beat["beat"] for beat in (first, second, third)] == [1, 2, 3]
    assert list(first)[-4:] == ["heartbeatTime", "lastHeartbeatTime", "lagMs", "beat"]
    assert before - 1 <= first["heartbeatTime"] <= time.time() * 1000
    assert first["lastHeartbeatTime"] == first["heartbeatTime"]
    assert second["lastHeartbeatTime"] == first["heartbeatTime"]
    assert first["lagMs"] <= second["lagMs"] <= third["lagMs"]  # nobody has refreshed it
    stats = line.stats()
    assert (stats.sender, stats.state, stats.connects, stats.failures) == ("thread", "connected", 1, 0)
    assert (stats.refused, stats.reconnect_s, stats.last_error) == (0, 0, None)
    assert server.tokens == []
    assert server.connections == (0 if kind == "udp" else 1)


def test_no_beat_is_early(serve, beating, kind):
    """Beat n does not go out before slot n, however late those before it did. (The rate itself: test_schedule.py.)"""
    server = serve(kind)
    before = time.time() * 1000
    line = beating(server)
    server.wait_for(lambda: len(server.beats) >= 10)
    line.close(None, 10)
    for beat in server.beats:
        assert beat["heartbeatTime"] >= before + (beat["beat"] - 1) * INTERVAL_S * 1000 - 2  # two clocks, rounded
    stats = line.stats()
    assert stats.beats + stats.missed <= (time.time() * 1000 - before) / 1000 / INTERVAL_S + 2


def test_the_newest_head_goes_out_and_refreshes_count(serve, beating):
    server = serve("sermant")
    line = beating(server)
    server.wait_for(lambda: server.beats)
    line.set_head(b'{"service":"new"')
    server.wait_for(lambda: server.beats[-1]["service"] == "new")
    server.wait_for(lambda: server.beats[-1]["lagMs"] > 0)
    line._refreshed_at -= 1000
    server.wait_for(lambda: server.beats[-1]["lagMs"] >= 1_000_000)
    line.refreshed()
    server.wait_for(lambda: server.beats[-1]["lagMs"] < 1_000_000)


def test_nothing_before_there_is_a_head(serve, open_to, kind):
    server = serve(kind)
    line = open_to(server)
    line.start()
    line.start()
    assert line.stats().missed == 0
    line.set_head(HEAD)
    server.wait_for(lambda: server.beats)


def test_a_beat_out_of_turn(serve, beating, kind):
    server = serve(kind)
    line = beating(server, interval_s=1000)
    server.wait_for(lambda: len(server.beats) == 1)
    line.beat_now()
    server.wait_for(lambda: len(server.beats) == 2)
    server.wait_for(lambda: line.stats().beats == 2)
    assert line.stats().missed == 0


def test_goodbye(serve, beating, kind):
    server = serve(kind)
    line = beating(server, interval_s=1000)
    server.wait_for(lambda: server.beats)
    assert line.close(GOODBYE, 10) is True
    assert line.close(None, 10) is True
    server.wait_for(lambda: server.goodbyes)
    assert server.goodbyes == [json.loads(GOODBYE)]
    server.wait_for(lambda: server.open_connections == 0)
    assert len(server.beats) == 1
    with pytest.raises(RuntimeError, match="closed"):
        line.start()


def test_no_goodbye_where_none_is_given(serve, beating, kind):
    server = serve(kind)
    line = beating(server)
    server.wait_for(lambda: server.beats)
    assert line.close(None, 10) is False
    server.wait_for(lambda: server.open_connections == 0)
    assert server.goodbyes == []


def test_closed_before_it_was_started(serve, open_to):
    line = open_to(serve("udp"))
    assert line.close(GOODBYE, 10) is False
    assert line.stats().state == "closed"


@pytest.mark.parametrize("kind", ["sermant", "http"])
def test_goodbye_over_a_connection_of_its_own(serve, beating, kind):
    """The connection is gone, and the wait for the next one long: stop is still told."""
    server = serve(kind)
    line = beating(server, interval_s=1000, first_reconnect_s=1000, most_reconnect_s=1000)
    server.wait_for(lambda: server.beats)
    server.drop_connections()
    server.wait_for(lambda: line.stats().state != "connected")
    assert line.close(GOODBYE, 10) is True
    server.wait_for(lambda: server.goodbyes)


def test_token(serve, beating, kind):
    server = serve(kind)
    line = beating(server, token="secret")
    server.wait_for(lambda: len(server.beats) >= 2)
    assert server.tokens == ["secret"] * (1 if kind == "sermant" else len(server.tokens))
    if kind == "sermant":
        server.drop_connections()
        server.wait_for(lambda: len(server.tokens) == 2)  # once more, in the first frame of the next connection
    line.close(GOODBYE, 10)
    server.wait_for(lambda: server.goodbyes)
    assert set(server.tokens) == {"secret"}
    assert "secret" not in repr(line.stats())


def test_a_lost_connection_is_noticed_at_once_and_made_anew(serve, beating):
    server = serve("sermant")
    line = beating(server, interval_s=1000)
    server.wait_for(lambda: server.beats)
    server.drop_connections()
    server.wait_for(lambda: len(server.beats) == 2)  # the newest state, long before the next beat is due
    stats = line.stats()
    assert (stats.connects, stats.failures, stats.missed, stats.state) == (2, 1, 0, "connected")
    assert "closed the connection" in stats.last_error
    server.drop_connections(reset=True)
    server.wait_for(lambda: len(server.beats) == 3)


def test_refused_connections_are_tried_again(serve, beating):
    server = serve("sermant")
    server.refuse()
    line = beating(server)
    server.wait_for(lambda: line.stats().failures >= 3 and line.stats().missed >= 2)
    stats = line.stats()
    assert "refused" in stats.last_error
    assert (stats.beats, stats.connects, stats.state in ("waiting", "connecting", "resolving")) == (0, 0, True)
    server.listen()
    server.wait_for(lambda: server.beats)
    assert server.beats[0]["beat"] == 1  # the newest state; what was missed is not sent
    server.wait_for(lambda: line.stats().state == "connected")
    assert line.stats().reconnect_s == 0


def test_missed_beats_are_counted_while_the_line_waits(serve, beating):
    server = serve("sermant")
    server.refuse()
    line = beating(server, first_reconnect_s=1000, most_reconnect_s=1000)
    server.wait_for(lambda: line.stats().missed >= 3)
    stats = line.stats()
    assert (stats.state, stats.failures) == ("waiting", 1)
    assert 500 <= stats.reconnect_s <= 1000
    line.close(None, 10)
    assert line.stats().missed == line.stats().missed


def test_a_server_that_accepts_and_closes_at_once_does_not_reset_the_backoff(serve, beating):
    server = serve("sermant")
    server.closes_at_once = True
    line = beating(server, first_reconnect_s=0.01, most_reconnect_s=1000, interval_s=1000)
    server.wait_for(lambda: server.connections >= 4)
    server.wait_for(lambda: line.stats().failures >= 4 and line.stats().state == "waiting")
    assert line.stats().reconnect_s >= 0.5 * 0.01 * 8


def test_a_server_that_does_not_read(serve, beating):
    """The write times out: that is a failure, and the connection is given up."""
    server = serve("sermant")
    server.stop_accepting()
    line = beating(server, interval_s=0.002, write_timeout_s=0.05)
    line.set_head(b'{"noise":"' + random.Random(1).randbytes(100_000).hex().encode() + b'"')
    server.wait_for(lambda: "writing took too long" in (line.stats().last_error or ""))
    server.wait_for(lambda: line.stats().missed > 0)
    line.close(None, 10)
    server.errors.clear()


def test_what_a_server_writes_is_thrown_away(serve, beating):
    server = serve("sermant")
    line = beating(server)
    server.wait_for(lambda: server.beats)
    for _ in range(20):
        server.say(b"x" * 100_000)
    seen = len(server.beats)
    server.wait_for(lambda: len(server.beats) >= seen + 3)
    assert (line.stats().failures, server.connections) == (0, 1)


# -- udp


def test_udp_refused_is_counted_and_beats_go_on(serve, beating):
    server = serve("udp")
    server.refuse()
    line = beating(server)
    server.wait_for(lambda: line.stats().failures >= 2 and line.stats().beats >= 3)
    assert "refused" in line.stats().last_error
    assert line.stats().state == "connected"
    server.listen()
    server.wait_for(lambda: server.beats)


def test_udp_datagram_too_long(serve, beating):
    server = serve("udp")
    line = beating(server)
    server.wait_for(lambda: server.beats)
    line.set_head(b'{"noise":"' + random.Random(1).randbytes(100_000).hex().encode() + b'"')
    server.wait_for(lambda: line.stats().missed >= 2 and line.stats().failures >= 2)
    assert line.stats().failures <= line.stats().missed + 1  # once a beat: it does not try without end
    line.set_head(HEAD)
    seen = len(server.beats)
    server.wait_for(lambda: len(server.beats) > seen)


# -- faults and ends


def test_a_fault_of_its_own_is_told(serve, beating, monkeypatch, caplog):
    """Whatever breaks inside is seen in the stats and the log: a line never just stops."""
    server = serve("sermant")
    line = beating(server)
    server.wait_for(lambda: server.beats)
    monkeypatch.setattr(line, "_listen", None)
    monkeypatch.setattr(line, "_beat", None)
    server.wait_for(lambda: line.stats().state == "closed")
    assert "TypeError" in line.stats().last_error
    assert "ended because of an internal error" in caplog.text


def test_a_failure_is_a_warning_once_and_again_after_it_was_good(serve, beating, caplog):
    server = serve("sermant")
    server.refuse()
    line = beating(server)
    server.wait_for(lambda: line.stats().failures >= 4)
    server.listen()
    server.wait_for(lambda: server.beats)
    server.refuse()
    failures = line.stats().failures
    server.drop_connections()
    server.wait_for(lambda: line.stats().failures >= failures + 4)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [("refused" in text, "closed" in text) for text in warnings] == [(True, False), (False, True), (True, False)]
    assert all(f"127.0.0.1:{server.port}" in text for text in warnings)


def test_abandon_frees_without_a_word(serve, beating):
    """As a forked child does; here the thread is there, and ends, too."""
    server = serve("sermant")
    line = beating(server, interval_s=1000)
    server.wait_for(lambda: server.beats)
    line._lock.acquire()  # as if the parent's thread held it at the fork
    line.abandon()
    server.wait_for(lambda: server.open_connections == 0)
    assert line.stats().state == "closed"
    assert server.goodbyes == []
    assert line.close(GOODBYE, 0) is False


# -- which one


def test_which_line_is_opened(monkeypatch, certificates):
    plan = Plan(transport="sermant", host="127.0.0.1", port=1, interval_s=1)
    monkeypatch.setattr("heartfelt.agent.line.open.has_native", lambda: False)
    line = open_line(plan)
    assert isinstance(line, ThreadLine)
    line.close(None, 0)
    monkeypatch.setattr("heartfelt.agent.line.open.has_native", lambda: True)
    line = open_line(Plan(transport="http", host="h", port=1, interval_s=1, tls=certificates.client_context()))
    assert isinstance(line, ThreadLine)
    line.close(None, 0)
