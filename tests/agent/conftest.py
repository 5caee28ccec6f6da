# SPDX-License-Identifier: MIT
"""Shared by the agent's tests: the server that receives what agents send, and throw-away certificates."""

from __future__ import annotations

import os

import pytest

from heartfelt.agent import AgentConfig, HeartbeatService
from heartfelt.agent.line import Plan, open_line
from heartfelt.agent.line.thread import ThreadLine
from tests.agent.elsewhere import Elsewhere
from tests.agent.fakes import FakeLine
from tests.agent.lines import HEAD, INTERVAL_S
from tests.agent.server import Server


@pytest.fixture
def serve():
    """serve(kind, **options): a running Server, stopped when the test ends; what it could not read fails the test.

    A test that sends what cannot be read takes it out of `server.errors`.
    """
    servers = []

    def start(kind, **options):
        server = Server(kind, **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()
    assert [error for server in servers for error in server.errors] == []


@pytest.fixture
def open_to():
    """open_to(server, **of the plan): a ThreadLine, closed when its test ends; its thread has ended then."""
    lines = []

    def make(server, **options):
        options.setdefault("first_reconnect_s", 0.01)
        options.setdefault("most_reconnect_s", 0.04)
        options.setdefault("interval_s", INTERVAL_S)
        options.setdefault("host", "127.0.0.1")
        line = ThreadLine(Plan(transport=server.kind, port=server.port, **options))
        lines.append(line)
        return line

    yield make
    for line in lines:
        line.close(None, 10)
        assert line.stats().state == "closed"
        assert line._thread is None or (not line._thread.join(10) and not line._thread.is_alive())


@pytest.fixture
def beating(open_to):
    """As open_to, with a head, and started."""

    def make(server, **options):
        line = open_to(server, **options)
        line.set_head(HEAD)
        line.start()
        return line

    return make


@pytest.fixture
def make_service(monkeypatch):
    """make_service(**keywords): a service on a FakeLine, `service.lines` are those it opened; stopped when the test
    ends. The environment has no say."""
    services = []
    monkeypatch.setattr("os.environ", {key: value for key, value in os.environ.items() if "HEARTFELT" not in key})

    def make(config=None, **keywords):
        lines = []

        def open_line(plan):
            lines.append(FakeLine(plan))
            return lines[-1]

        keywords = {"interval": 0.1, "backend": "heartfelt", "entry_points": False} | keywords
        service = HeartbeatService(config or AgentConfig(**keywords), _open_line=open_line)
        service.lines = lines
        services.append(service)
        return service

    yield make
    for service in services:
        service.stop(wait=0)


@pytest.fixture
def native_line_to():
    """native_line_to(server, **plan): a line that has a head and beats, closed when the test ends."""
    from heartfelt import _sender  # there is none on Windows
    from heartfelt.agent.line.native import NativeLine

    lines = []

    def make(server, head=b'{"service":"orders","instanceId":"one"', **plan):
        settings = {"transport": server.kind, "host": server.host, "port": server.port, "interval_s": 0.05}
        settings |= {"first_reconnect_s": 0.02, "most_reconnect_s": 0.04}
        line = open_line(Plan(**{**settings, **plan}))
        assert isinstance(line, NativeLine)
        lines.append(line)
        line.set_head(head)
        line.start()
        return line

    yield make
    for line in lines:
        line.close(None, 30)
    assert not _sender.runs()  # the thread ends with the last line


@pytest.fixture
def serve_elsewhere():
    """serve_elsewhere(kind): a running server in a process of its own."""
    servers = []

    def start(kind):
        servers.append(Elsewhere(kind))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
