# SPDX-License-Identifier: MIT
"""Descriptors: agents on TCP cannot take those of HTTP and of the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys

import pytest

from heartfelt.monitor.descriptors import LEAST, RESERVE, available, shares
from heartfelt.monitor.loop_errors import LoopErrors
from tests.monitor.serving import Serving, until


def test_each_port_gets_what_is_asked_for_if_there_is_enough():
    assert shares(1000, 2000 + RESERVE, tcp=True) == (1000, 1000, None)
    assert shares(1000, 1000 + RESERVE, tcp=False) == (1000, 1000, None)


@pytest.mark.parametrize("there", [0, 64, 100, 256, 1024, 20_000, 39_999])
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("most", [1, 100, 20_000])
def test_what_is_there_is_divided_and_the_reserve_is_kept(there, tcp, most):
    found = shares(most, there, tcp=tcp)
    assert 1 <= found.http <= most and found.tcp <= most
    used = found.http + (found.tcp if tcp else 0)
    assert used <= max(there - RESERVE, 2 * LEAST)
    if found.warning is None:
        assert found.http == most
    else:
        assert str(there) in found.warning and "limits.connections" in found.warning and "LimitNOFILE" in found.warning
        assert found.http >= min(most, LEAST * 8 // 9)


def test_this_process_has_some():
    assert available() > 0


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_idle_agents_take_neither_http_nor_the_store_their_descriptors(tmp_path):
    from tests.monitor.few_descriptors import HARD

    serving = Serving(data=tmp_path / "data", program="tests.monitor.few_descriptors")
    try:
        serving.wait_ready()
        share = shares(20_000, HARD, tcp=True)
        with contextlib.ExitStack() as stack:
            for _ in range(2 * HARD):
                sock = stack.enter_context(socket.socket())
                sock.settimeout(10)
                sock.connect(tuple(serving.ready["tcp"]))

            def tcp():
                return serving.json("/api/v1/stats")["parts"]["tcp"]

            until(lambda: tcp()["connections"] == share.tcp, "as many agents as may be")
            for n in range(2 * share.http):
                assert serving.get(f"/ping/job-{n}").status == 200
            until(
                lambda: serving.json("/api/v1/events") is not None and serving.get("/readyz").status == 200, "the store"
            )
            assert (tcp()["accepting"], tcp()["most"], tcp().get("accept_errors", 0)) == (0, share.tcp, 0)
            assert tcp()["times_full"] >= 1
            assert serving.json("/api/v1/stats")["parts"]["loop"] == {"loop_errors": 0}
        until(lambda: tcp()["accepting"] == 1, "a place")
        assert f"limits.connections is 20000 on each port, but the process may open only {HARD} files" in serving.log
        assert "the process's limit of files" in serving.log
        assert b"heartfelt_loop_errors_total 0" in serving.get("/metrics").body
        assert serving.stop() == 0
        assert "Traceback" not in serving.log
    finally:
        serving.end()


def test_errors_of_the_loop_are_counted_and_logged_within_a_rate(caplog):
    errors = LoopErrors()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(errors.handle)
    with caplog.at_level(logging.ERROR):
        for n in range(100):
            loop.call_exception_handler({"message": f"accept {n}", "exception": OSError(24, "Too many open files")})
    loop.close()
    assert errors.stats() == {"loop_errors": 100}
    assert 1 <= len(caplog.records) < 50
    assert "accept 0" in caplog.text and "Too many open files" in caplog.text
