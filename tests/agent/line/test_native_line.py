# SPDX-License-Identifier: MIT
"""The native sender's lines against the test server: what they send, and that nothing which Python does delays it."""

from __future__ import annotations

import ctypes
import json
import random
import string
import time

import pytest

from heartfelt.agent.line import Plan, has_native, open_line
from tests.agent.http_side import Answer

pytestmark = pytest.mark.skipif(not has_native(), reason="there is no native sender here")

if has_native():  # on Windows there is none to import
    pass

LONG_S = 40.0
HEAD = b'{"service":"orders","instanceId":"one"'
GOODBYE = b'{"service":"orders","instanceId":"one","goodbye":true}'
KINDS = ("sermant", "http", "udp")
QUICK = {"first_reconnect_s": 0.02, "most_reconnect_s": 0.04}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def all_text(seed, size):
    chars = string.printable + "äß語\U0001f600\x00"
    return "".join(random.Random(seed).choices(chars, k=size))


@pytest.mark.parametrize("size", [0, 1, 100, 5_000])
def test_what_arrives_is_what_was_handed_over(serve, native_line_to, kind, size):
    said = {"service": "orders", "instanceId": "one", "text": all_text(size, size), "pluginInfoMap": {"a": {"b": "c"}}}
    server = serve(kind)
    before_ms = time.time_ns() // 1_000_000
    native_line_to(server, json.dumps(said, ensure_ascii=False).encode()[:-1])
    server.wait_for(lambda: len(server.beats) >= 3)
    after_ms = time.time_ns() // 1_000_000
    volatile = ["heartbeatTime", "lastHeartbeatTime", "lagMs", "beat"]
    for number, beat in enumerate(server.beats[:3], start=1):
        assert list(beat)[-4:] == volatile
        times = {name: beat.pop(name) for name in volatile}
        assert beat == said
        assert times["beat"] == number
        assert before_ms <= times["lastHeartbeatTime"] <= times["heartbeatTime"] <= after_ms + 1
        if number == 1:
            assert times["lastHeartbeatTime"] == times["heartbeatTime"]  # there was none before


def test_a_large_head_is_sent_in_pieces(serve, native_line_to):
    server = serve("sermant")
    said = {"service": "s", "noise": random.Random(1).randbytes(3 << 18).hex()}
    native_line_to(server, json.dumps(said).encode()[:-1], interval_s=0.5)
    assert server.wait_for(lambda: server.beats)[0]["noise"] == said["noise"]


def test_a_new_head_is_in_the_next_beat(serve, native_line_to, kind):
    server = serve(kind)
    line = native_line_to(server, interval_s=LONG_S)
    server.wait_for(lambda: server.beats)
    line.set_head(b'{"service":"new"')
    line.beat_now()
    server.wait_for(lambda: len(server.beats) == 2)
    assert server.beats[1]["service"] == "new"
    assert server.beats[1]["beat"] == 2


def test_the_first_beat_waits_for_the_head(serve):
    server = serve("sermant")
    line = open_line(Plan(transport="sermant", host=server.host, port=server.port, interval_s=LONG_S))
    line.start()
    server.wait_for(lambda: server.connections == 1)
    line.set_head(HEAD)
    server.wait_for(lambda: server.beats)
    assert line.close(None, LONG_S) is False


def test_beats_go_on_while_a_c_call_holds_the_gil(serve_elsewhere, native_line_to):
    """The lag that they tell grows, and falls when the interpreter runs again."""
    server = serve_elsewhere("sermant")
    line = native_line_to(server, interval_s=0.1)
    server.wait_for(lambda n: n["beats"] >= 2)
    line.refreshed()
    ctypes.PyDLL(None).usleep(2_000_000)  # holds the GIL
    stats = line.stats()
    line.refreshed()
    line.beat_now()
    beats = server.wait_for(lambda n: n["beats"] > stats.beats and n["last"][-1]["lagMs"] < 1000)["last"]
    assert max(beat["lagMs"] for beat in beats) >= 1000
    # 20 were due. One that is late by less than an interval is sent; a machine that stops everybody may cost some.
    assert stats.beats >= 10
    assert stats.missed + stats.beats >= 20


def test_the_token_is_in_the_first_frame_of_each_connection(serve, native_line_to):
    server = serve("sermant")
    line = native_line_to(server, token="secret")
    server.wait_for(lambda: len(server.beats) >= 3)
    assert server.tokens == ["secret"]
    server.drop_connections()
    server.wait_for(lambda: server.connections == 2 and len(server.tokens) == 2)
    stats = line.stats()
    assert stats.failures == 1
    assert stats.last_error is not None


@pytest.mark.parametrize("kind", ["http", "udp"])
def test_the_token_is_with_each_beat(serve, native_line_to, kind):
    server = serve(kind)
    native_line_to(server, token="secret")
    server.wait_for(lambda: len(server.beats) >= 3)
    assert len(server.tokens) >= 3 and set(server.tokens) == {"secret"}


def test_the_goodbye_is_the_last_that_is_heard(serve, native_line_to, kind):
    server = serve(kind)
    line = native_line_to(server)
    server.wait_for(lambda: len(server.beats) >= 2)
    assert line.close(GOODBYE, LONG_S) is True
    assert line.close(GOODBYE, LONG_S) is True  # again: as before
    server.wait_for(lambda: server.goodbyes and server.open_connections == 0)
    assert server.goodbyes == [json.loads(GOODBYE)]
    assert len(server.beats) == line.stats().beats
    assert line.stats().state == "closed"
    line.set_head(HEAD)
    line.refreshed()
    line.beat_now()
    with pytest.raises(RuntimeError, match="closed"):
        line.start()


@pytest.mark.parametrize("kind", ["sermant", "http"])
def test_it_comes_back_when_the_backend_does(serve, native_line_to, kind, eventually):
    server = serve(kind)
    line = native_line_to(server)
    server.wait_for(lambda: server.beats)
    server.refuse()
    server.drop_connections()
    eventually(lambda: line.stats().failures >= 3)
    assert f"cannot connect to {server.host}:{server.port}" in line.stats().last_error
    assert line.stats().state in ("waiting", "connecting")
    before = len(server.beats)
    server.listen()
    server.wait_for(lambda: len(server.beats) >= before + 2)
    assert line.stats().state == "connected"
    assert line.stats().reconnect_s == 0


def test_a_server_that_closes_at_once_is_tried_ever_more_rarely(serve, native_line_to, eventually):
    server = serve("sermant")
    server.closes_at_once = True
    line = native_line_to(server, first_reconnect_s=0.02, most_reconnect_s=60.0)
    eventually(lambda: line.stats().reconnect_s > 0.16)  # at least the fifth wait
    stats = line.stats()
    assert stats.failures >= 4
    assert stats.reconnect_s >= 0.5 * 0.02 * 2 ** (stats.failures - 1)  # it never started over
    assert line.close(GOODBYE, LONG_S) is False


@pytest.mark.parametrize("status", [401, 503])
def test_an_http_server_may_refuse(serve, native_line_to, status):
    server = serve("http")
    server.answer = Answer(status)
    line = native_line_to(server)
    server.wait_for(lambda: len(server.requests) >= 3)
    server.answer = Answer(202)
    server.wait_for(lambda: len(server.beats) >= 2)
    stats = line.stats()
    assert stats.refused >= 3
    assert stats.failures == 0
    assert stats.last_error == f"{server.host}:{server.port} answered {status}"
    assert server.connections == 1


def test_an_http_server_may_close_after_each_answer(serve, native_line_to):
    server = serve("http")
    server.answer = Answer(close=True)
    line = native_line_to(server)
    server.wait_for(lambda: len(server.beats) >= 4)
    assert line.stats().failures == 0


def test_an_http_server_may_hang(serve, native_line_to, eventually):
    server = serve("http")
    server.answer = Answer(hang=True)
    line = native_line_to(server, write_timeout_s=0.1)
    eventually(lambda: line.stats().failures >= 2)
    assert "did not answer within 0.1 s" in line.stats().last_error
    assert line.stats().beats == 0


def test_a_backend_that_does_not_read_is_given_up(serve, native_line_to, eventually):
    server = serve("sermant")
    head = b'{"noise":"' + random.Random(1).randbytes(1 << 19).hex().encode() + b'"'
    line = native_line_to(server, head, write_timeout_s=0.2, interval_s=0.1)
    server.wait_for(lambda: server.beats)
    server.pause_reading()
    eventually(lambda: "did not accept a beat" in (line.stats().last_error or ""))
    assert line.stats().missed > 0


def test_a_datagram_that_nobody_takes_is_a_failure_and_beats_go_on(serve, native_line_to, eventually):
    server = serve("udp")
    line = native_line_to(server)
    server.wait_for(lambda: server.beats)
    server.refuse()
    eventually(lambda: line.stats().failures >= 2)
    server.listen()
    before = len(server.beats)
    server.wait_for(lambda: len(server.beats) >= before + 3)
    assert line.stats().connects == 1


def test_heads_of_any_size_are_read_by_any_gunzip(serve, native_line_to):
    """The gzip is read by zlib with its check of crc and length; here for heads at the borders of deflate's blocks."""
    server = serve("udp")
    line = native_line_to(server, interval_s=LONG_S)
    server.wait_for(lambda: server.beats)
    for n, size in enumerate((1, 30, 31, 32, 255, 256, 32_766, 32_768, 40_000), start=2):
        text = all_text(size, size // 4) + "x" * size
        line.set_head(b'{"t":' + json.dumps(text).encode())
        line.beat_now()
        server.wait_for(lambda n=n: len(server.beats) >= n)
        assert server.beats[-1]["t"] == text
