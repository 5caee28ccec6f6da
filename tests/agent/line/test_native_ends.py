# SPDX-License-Identifier: MIT
"""The native sender's lines: names that are looked up aside, and how lines end: closed, forgotten, forked."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket
import sys
import threading
import time
import traceback

import pytest

from heartfelt.agent.line import Plan, has_native, open_line

pytestmark = pytest.mark.skipif(not has_native(), reason="there is no native sender here")

if has_native():  # on Windows there is none to import
    from heartfelt import _sender
    from heartfelt.agent.line import names

LONG_S = 40.0
HEAD = b'{"service":"orders","instanceId":"one"'
GOODBYE = b'{"service":"orders","instanceId":"one","goodbye":true}'
QUICK = {"first_reconnect_s": 0.02, "most_reconnect_s": 0.04}


@pytest.fixture
def black_hole():
    """An address where a connection is neither taken nor refused: a listener whose queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


def test_a_close_does_not_wait_for_a_black_hole(black_hole):
    host, port = black_hole
    line = open_line(Plan(transport="sermant", host=host, port=port, interval_s=1))
    line.set_head(HEAD)
    line.start()
    deadline = time.monotonic() + LONG_S
    while line.stats().state != "connecting":
        assert time.monotonic() < deadline
    before = time.monotonic()
    assert line.close(GOODBYE, LONG_S) is False
    assert time.monotonic() - before < LONG_S / 2  # it never beat there, so there is nobody to take leave of


def test_a_name_is_looked_up_aside(serve, native_line_to, monkeypatch, eventually):
    """A look-up that hangs delays no beat of others, nor the close; one that fails is told, and tried again."""
    hang, asked = threading.Event(), []
    look_up = socket.getaddrinfo

    def fake(host, port, *arguments, **options):
        if host != "backend.example":
            return look_up(host, port, *arguments, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        asked.append(host)
        if len(asked) == 1:
            hang.wait(LONG_S)
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return look_up("127.0.0.1", port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    server = serve("sermant")
    other = native_line_to(server)
    line = native_line_to(server, host="backend.example")
    eventually(lambda: asked and line.stats().state == "resolving")
    before = other.stats().beats
    server.wait_for(lambda: other.stats().beats >= before + 3)
    assert server.connections == 1
    hang.set()
    server.wait_for(lambda: server.connections == 2)
    server.wait_for(lambda: line.stats().beats >= 2)
    assert line.stats().last_error == "cannot find the host 'backend.example': no such name"
    for one in (line, other):
        one.close(None, LONG_S)
    eventually(lambda: names._waiter is None)  # no line with a name is left


def test_a_name_is_looked_up_again_when_the_backend_has_moved(serve, native_line_to, monkeypatch):
    here, there = serve("sermant"), serve("sermant", host="127.0.0.2")
    address = ["127.0.0.1"]
    look_up = socket.getaddrinfo

    def fake(host, port, *arguments, **options):
        if host != "backend.example":
            return look_up(host, port, *arguments, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return look_up(address[0], port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    there.stop()
    moved = serve("sermant", host="127.0.0.2", port=here.port)
    line = native_line_to(here, host="backend.example")
    here.wait_for(lambda: here.beats)
    address[0] = "127.0.0.2"
    here.refuse()
    here.drop_connections()
    moved.wait_for(lambda: len(moved.beats) >= 2)
    assert line.stats().state == "connected"


def test_what_cannot_be_sent_is_refused(serve):
    server = serve("sermant")
    line = open_line(Plan(transport="sermant", host=server.host, port=server.port, interval_s=1))
    for head in (b"", b"{", b'"service"'):
        with pytest.raises(ValueError, match="a head must be a JSON object"):
            line.set_head(head)
    with pytest.raises(ValueError, match="too long"):
        line.set_head(b'{"a":"' + random.Random(1).randbytes(1 << 20))
    with pytest.raises(ValueError, match="not an IPv4 or IPv6 address: 'localhost'"):
        line._line.set_addresses([("localhost", 1, 0)])
    assert line.close(None, 1) is False


def test_a_line_that_is_forgotten_ends(serve, eventually):
    server = serve("sermant")
    line = open_line(Plan(transport="sermant", host=server.host, port=server.port, interval_s=LONG_S))
    line.set_head(HEAD)
    line.start()
    server.wait_for(lambda: server.beats)
    del line
    gc.collect()
    server.wait_for(lambda: server.open_connections == 0)
    eventually(lambda: not _sender.runs())
    assert server.goodbyes == []


def test_many_lines_share_one_thread(serve, native_line_to):
    server = serve("sermant")
    before = threading.active_count()
    lines = [native_line_to(server, b'{"service":"%d"' % n, interval_s=0.2) for n in range(100)]
    server.wait_for(lambda: all(line.stats().beats >= 4 for line in lines))
    assert threading.active_count() <= before  # those of earlier tests may end meanwhile
    assert {beat["service"] for beat in server.beats} == {str(n) for n in range(100)}
    assert server.connections == 100
    assert all(line.close(GOODBYE, LONG_S) for line in lines)
    server.wait_for(lambda: len(server.goodbyes) == 100)


def in_child(function):
    """Runs it in a forked child; its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_anew_and_the_parent_goes_on(serve, native_line_to):
    server = serve("sermant")
    line = native_line_to(server)
    server.wait_for(lambda: server.beats)

    def child():
        assert not _sender.runs()
        assert line.stats().state == "closed"
        line.abandon()
        assert line.close(GOODBYE, LONG_S) is False
        fresh = open_line(
            Plan(transport="sermant", host="localhost", port=server.port, interval_s=0.02, token="child", **QUICK)
        )
        fresh.set_head(b'{"service":"child"')
        fresh.start()
        deadline = time.monotonic() + LONG_S
        while fresh.stats().beats < 2:
            assert time.monotonic() < deadline, fresh.stats()
            time.sleep(0.001)
        assert fresh.close(b'{"service":"child"}', LONG_S) is True

    assert in_child(child) == 0
    server.wait_for(lambda: server.goodbyes)
    assert server.goodbyes == [{"service": "child"}]
    beats = line.stats().beats
    server.wait_for(lambda: line.stats().beats >= beats + 2)
    assert line.stats().connects == 1  # the child did not touch the parent's connection


def test_the_process_ends_while_lines_beat(serve, run_python):
    server = serve("sermant")
    run_python(f"""
        import time
        from heartfelt.agent.line import Plan, open_line
        line = open_line(Plan(transport="sermant", host="localhost", port={server.port}, interval_s=0.01))
        line.set_head(b'{{"service":"s"')
        line.start()
        while line.stats().beats < 3:
            time.sleep(0.001)
    """)
    server.wait_for(lambda: len(server.beats) >= 3 and server.open_connections == 0)
