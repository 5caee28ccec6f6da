# SPDX-License-Identifier: MIT
"""The faults that Sermant's own agent is known for, one by one: this agent does not have them."""

from __future__ import annotations

import socket
import threading

import pytest

from heartfelt.agent import AgentConfig, HeartbeatService
from heartfelt.agent.content import host
from tests.agent.fakes import FakeLine

KINDS = ("sermant", "http")


def service_for(server, **keywords):
    keywords = {"url": server.url, "interval": 0.1, "backend": "heartfelt", "entry_points": False} | keywords
    return HeartbeatService(AgentConfig(**keywords))


def test_an_exception_in_a_provider_kills_no_beats(serve):
    server = serve("sermant")
    service = service_for(server)

    def provider():
        raise RuntimeError("boom")

    service.set_ext_info("p", provider)
    with service:
        server.wait_for(lambda: len(server.beats) >= 5)
        assert server.beats[-1]["extInfoFailures"] == {"p": "RuntimeError: boom"}
        assert service.stats().provider_failures >= 1


def test_a_slow_provider_delays_no_beats(serve):
    """While it hangs the beats that are due are sent; a busy machine may cost some."""
    server = serve("sermant")
    let_go = threading.Event()
    service = service_for(server, interval=1)  # long enough that a busy machine misses none
    service.set_ext_info("p", lambda: {"late": str(let_go.wait(60))})
    with service:
        server.wait_for(lambda: len(server.beats) >= 3)
        assert not let_go.is_set()
        assert all("extInfo" not in beat["pluginInfoMap"]["p"] for beat in server.beats)
        stats = service.stats()
        assert stats.missed < stats.beats
        let_go.set()


def test_a_stop_is_no_death(serve):
    server = serve("sermant")
    service = service_for(server, service="shop")
    with service:
        server.wait_for(lambda: server.beats)
    server.wait_for(lambda: server.goodbyes)
    assert server.goodbyes == [{"service": "shop", "instanceId": service.instance_id}]


def test_what_changed_while_disconnected_is_told_on_connect(serve):
    """Sermant's agent drops its messages meanwhile, and says nothing of it. Here what was missed is counted, and the
    newest state goes out with the connection, not an interval later."""
    server = serve("sermant")
    service = service_for(server, interval=1, first_reconnect=0.05, most_reconnect=0.1)
    with service:
        server.wait_for(lambda: server.beats)
        server.refuse()
        server.drop_connections()
        server.wait_for(lambda: service.stats().failures >= 1)
        service.add_plugin("added meanwhile", "1")
        server.wait_for(lambda: service.stats().missed >= 1)
        before = len(server.beats)
        server.listen()
        server.wait_for(lambda: len(server.beats) > before)
        assert "added meanwhile" in server.beats[before]["pluginInfoMap"]
        assert service.stats().last_error


def test_agents_of_a_restarted_backend_do_not_reconnect_in_step(serve):
    """Their waits are by chance between a half and the whole: with many agents hardly two are the same."""
    server = serve("sermant")
    server.refuse()
    services = [service_for(server, first_reconnect=20, most_reconnect=180) for _ in range(10)]
    for service in services:
        service.start()
    server.wait_for(lambda: all(service.stats().state == "waiting" for service in services))
    waits = [service.stats().reconnect_s for service in services]
    for service in services:
        service.stop(wait=0)
    assert len(set(waits)) >= 8
    assert all(10 <= wait <= 20 for wait in waits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_accepts_and_closes_is_not_hammered(serve, kind):
    """Sermant's backoff starts over at each successful connect: its agents then connect 1,000 times a second."""
    server = serve(kind)
    server.closes_at_once = True
    with service_for(server, first_reconnect=0.2, most_reconnect=60) as service:
        server.wait_for(lambda: server.connections >= 3)
        server.wait_for(lambda: service.stats().state == "waiting" and service.stats().reconnect_s > 0.4)
        assert server.connections <= 6
        service.stop(wait=0)


def test_slow_dns_delays_no_beats(serve, monkeypatch):
    """The host's own name and addresses come from the kernel: nothing asks DNS for them, at no beat."""

    def asked(*arguments):
        raise AssertionError(f"DNS was asked for {arguments}")

    server = serve("sermant")
    service = service_for(server)
    failures = service.stats().failures_of_refresh
    with monkeypatch.context() as patched:
        for name in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getfqdn"):
            patched.setattr(socket, name, asked)
        assert "127.0.0.1" not in host.ipv4_addresses() and host.host_name() == socket.gethostname()
        with service:
            server.wait_for(lambda: len(server.beats) >= 3)
    assert service.stats().failures_of_refresh == failures


def test_a_backends_name_that_dns_does_not_answer_for_delays_no_start_and_no_stop(monkeypatch):
    let_go, asked, answered = threading.Event(), threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def hanging(host, port, family=0, type=0, proto=0, flags=0):
        if host != "backend.invalid" or flags & socket.AI_NUMERICHOST:  # which asks nobody
            return real(host, port, family, type, proto, flags)
        asked.set()
        let_go.wait(60)
        answered.set()
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    service = HeartbeatService(AgentConfig(host="backend.invalid", entry_points=False))
    try:
        service.start()
        assert asked.wait(30)
        assert not answered.is_set()
        assert service.stats().life == "running"
        assert service.stop(wait=0.1) is False
        assert not answered.is_set()
        assert service.stats().life == "stopped"
    finally:
        let_go.set()


def test_a_restart_leaves_no_ghost(serve, tmp_path, monkeypatch):
    """With heartfelt.instance_id = stable it is the same instance; with a new id, the old one has said goodbye."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    server = serve("sermant")
    for _ in range(2):
        with service_for(server, instance="stable", service="shop"):
            before = len(server.beats)
            server.wait_for(lambda count=before: len(server.beats) > count)
    assert len({beat["instanceId"] for beat in server.beats}) == 1
    before = len(server.beats)
    for _ in range(2):
        with service_for(server, service="shop"):
            seen = len(server.beats)
            server.wait_for(lambda count=seen: len(server.beats) > count)
    server.wait_for(lambda: len(server.goodbyes) == 4)
    new = {beat["instanceId"] for beat in server.beats[before:]}
    assert len(new) == 2 and new == {one["instanceId"] for one in server.goodbyes[2:]}


def test_a_beat_without_an_address_is_a_beat(serve, monkeypatch):
    """Sermant's backend drops it silently; that of heartfelt does not, and the field is absent, not empty."""
    monkeypatch.setattr(host, "ipv4_addresses", list)
    server = serve("sermant")
    with service_for(server):
        server.wait_for(lambda: server.beats)
    assert "ip" not in server.beats[0]


def test_the_interval_has_sermants_minimum_towards_its_backend():
    lines = []

    def open_line(plan):
        lines.append(FakeLine(plan))
        return lines[-1]

    with HeartbeatService(AgentConfig(interval=1, entry_points=False), _open_line=open_line) as service:
        assert lines[0].plan.interval_s == 3.0
        assert lines[0].head["intervalMs"] == 3000
        assert service.config.warnings
