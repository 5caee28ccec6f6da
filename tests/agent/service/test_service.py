# SPDX-License-Identifier: MIT
"""HeartbeatService and ServiceManager: their life, on a line that sends nothing, and to a server that receives it."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
import subprocess
import sys
import threading
import time

import pytest

from heartfelt import ConfigError, HeartfeltError
from heartfelt.agent import AgentConfig, AgentStats, HeartbeatService, ServiceManager, ServiceNotStarted

KINDS = ("sermant", "http", "udp")


# -- life, by a fake line


def test_start_and_stop(make_service):
    service = make_service(service="shop")
    assert service.stats().life == "new" and "new" in repr(service)
    assert service.stop() is False
    service.start()
    service.start()
    [line] = service.lines
    assert line.calls[:2] == ["set_head", "start"]
    assert (service.stats().life, service.stats().instance_id) == ("running", service.instance_id)
    assert service.stop(wait=1) is True
    assert service.stop() is False
    assert line.calls.count("close") == 1 and line.calls[-1] == "close"
    assert service.stats().life == "stopped"
    service.start()
    assert len(service.lines) == 2


def test_after_a_stop_the_line_is_left_alone(make_service):
    service, other = make_service(), make_service()
    service.start()
    other.start()
    run = service._run
    service.stop()
    service.add_plugin("late")
    run._dirty.set()
    run._tick_due = 0
    run.tick(time.monotonic())  # one that the stop has overtaken
    assert service.beat_now() is False
    [line] = service.lines
    seen = len(line.calls)
    count = other.lines[0].calls.count("refreshed") + 4
    other.lines[0].wait_for(lambda: other.lines[0].calls.count("refreshed") >= count)
    assert len(line.calls) == seen and line.calls[-1] == "close"


def test_the_context_manager(make_service):
    with pytest.raises(ZeroDivisionError), make_service() as service:
        assert service.stats().life == "running"
        raise ZeroDivisionError
    assert service.lines[0].calls[-1] == "close"


def test_the_switch(make_service, caplog):
    caplog.set_level(logging.INFO, "heartfelt.agent")
    service = make_service(enable=False)
    service.start()
    assert (service.lines, service.stats().life, service.beat_now(), service.stop()) == ([], "disabled", False, False)
    assert "agent.service.heartbeat.enable is false" in caplog.text


def test_beat_now_sends_what_is_known_now(make_service):
    service = make_service(interval=1000)
    service.start()
    service.add_plugin("new")
    assert service.beat_now() is True
    [line] = service.lines
    line.wait_for(lambda: "beat_now" in line.calls)
    before = line.calls.index("beat_now")
    assert "set_head" in line.calls[2:before] and "new" in line.heads[1]["pluginInfoMap"]


def test_stats(make_service):
    service = make_service()
    service.start()
    [line] = service.lines
    line.wait_for(lambda: service.stats().refreshes >= 3)
    stats = service.stats()
    assert isinstance(stats, AgentStats)
    assert (stats.sender, stats.beats, stats.missed, stats.refused, stats.connects) == ("fake", 7, 1, 2, 3)
    assert (stats.failures, stats.last_error, stats.reconnect_s, stats.max_late_ms) == (4, "e", 0.5, 0.25)
    assert (stats.state, stats.heads, stats.provider_failures, stats.last_provider_failure) == ("connected", 1, 0, None)
    assert stats.lag_ms >= 0 and stats.max_lag_ms >= 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.beats = 0
    service.stop()
    assert service.stats().beats == 7


def test_the_plan_is_the_configurations(make_service, tmp_path):
    (tmp_path / "token").write_text(" secret\n")
    service = make_service(
        url="http://[::1]:9/x", interval=2, token_file=str(tmp_path / "token"), connect_timeout=1, write_timeout=2,
        first_reconnect=3, most_reconnect=4,
    )  # fmt: skip
    service.start()
    plan = service.lines[0].plan
    assert (plan.transport, plan.host, plan.port, plan.path) == ("http", "::1", 9, "/x/api/v1/beats")
    assert (plan.tls, plan.server_hostname, plan.token, plan.interval_s) == (None, None, "secret", 2)
    assert (plan.connect_timeout_s, plan.write_timeout_s, plan.first_reconnect_s, plan.most_reconnect_s) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("settings", "first_s", "most_s"),
    [
        ({}, 5, 20),
        ({"timeout": 90}, 5, 30),
        ({"timeout": 3}, 1, 1),
        ({"timeout": 3600}, 5, 180),
        ({"timeout": 60, "most_reconnect": 7}, 5, 7),
    ],
)
def test_no_wait_is_longer_than_a_third_of_the_timeout(make_service, settings, first_s, most_s):
    service = make_service(url="http://[::1]:9/", interval=1, **settings)
    service.start()
    plan = service.lines[0].plan
    assert (plan.first_reconnect_s, plan.most_reconnect_s) == (first_s, most_s)


def test_files_that_start_needs(make_service, tmp_path):
    (tmp_path / "token").write_text("hunter2 hunter2")
    for keywords, said in [
        ({"token_file": str(tmp_path / "none")}, "token_file: cannot read .*none: No such file"),
        ({"token_file": str(tmp_path / "token")}, "token_file: the token in .*token must be 1 to 4096 printable"),
        ({"tls": True, "tls_ca": str(tmp_path / "none")}, "tls_ca: .*none must be a readable file of CA certificates"),
        (
            {"tls": True, "tls_ca": str(tmp_path / "token")},
            "tls_ca: .*token must be a readable file of CA certificates",
        ),
    ]:
        service = make_service(**keywords)
        with pytest.raises(ConfigError, match=said) as caught:
            service.start()
        assert "hunter2" not in str(caught.value)
        assert (service.stats().life, service.lines) == ("new", [])


def test_what_cannot_be_a_configuration():
    with pytest.raises(TypeError, match=r"config must be an AgentConfig, not 'x\.properties'"):
        HeartbeatService("x.properties")
    with pytest.raises(TypeError, match="unknown setting intervals; did you mean interval"):
        HeartbeatService(AgentConfig(), intervals=3)
    assert HeartbeatService(AgentConfig(service="a"), service="b").config.service == "b"
    service = HeartbeatService()
    for misuse in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="pickle its config"):
            misuse(service)


def test_keywords_are_completed_by_the_environment(monkeypatch):
    monkeypatch.setenv("HEARTBEAT_INTERVAL", "4000")
    assert HeartbeatService(service="a").config == AgentConfig(service="a", interval=4)


def test_warnings_of_the_configuration_are_logged(caplog):
    HeartbeatService(AgentConfig(interval=100))
    assert [one.getMessage() for one in caplog.records] == list(AgentConfig(interval=100).warnings) != []


def test_one_refresh_thread_serves_all_and_ends_with_the_last(make_service, eventually):
    services = [make_service() for _ in range(20)]
    for service in services:
        service.start()
    assert [thread.name for thread in threading.enumerate()].count("heartfelt-agent") == 1
    for service in services:
        service.lines[0].wait_for(lambda line=service.lines[0]: line.calls.count("refreshed") >= 3)
        service.stop()
    eventually(lambda: "heartfelt-agent" not in [thread.name for thread in threading.enumerate()])
    services[0].start()
    services[0].lines[1].wait_for(lambda: "refreshed" in services[0].lines[1].calls)


def test_a_refresh_that_fails_is_counted_and_stops_no_other(make_service, monkeypatch, caplog):
    monkeypatch.setattr("heartfelt.agent.service.refresh.AFTER_ERROR_S", 0.01)
    bad, good = make_service(), make_service()
    bad.start()
    good.start()
    before = bad.stats().failures_of_refresh

    def fail():
        raise OSError("broken")

    bad.lines[0].refreshed = fail
    bad.lines[0].wait_for(lambda: bad.stats().failures_of_refresh >= before + 2)
    count = good.lines[0].calls.count("refreshed") + 3
    good.lines[0].wait_for(lambda: good.lines[0].calls.count("refreshed") >= count)
    assert "OSError: broken" in caplog.text


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="nothing keeps other threads from running"
)
def test_lag_is_told_when_python_does_not_run(make_service):
    service = make_service(interval=0.1)
    service.start()
    [line] = service.lines
    line.wait_for(lambda: "refreshed" in line.calls)
    held = sys.getswitchinterval()
    sys.setswitchinterval(100)  # this thread does not let go of the interpreter
    try:
        give_up = time.monotonic() + 0.5
        while time.monotonic() < give_up:
            pass
        assert service.stats().lag_ms > 300
    finally:
        sys.setswitchinterval(held)
    line.wait_for(lambda: service.stats().max_lag_ms > 300)


# -- the manager


@pytest.fixture
def manager():
    yield ServiceManager
    ServiceManager.stop(wait=0)


def test_the_manager(serve, manager):
    server = serve("http")
    with pytest.raises(ServiceNotStarted, match="there is no running HeartbeatService") as caught:
        manager.get_service(HeartbeatService)
    assert isinstance(caught.value, KeyError) and isinstance(caught.value, HeartfeltError)
    config = AgentConfig(url=server.url, interval=0.1)
    service = manager.start(config)
    assert manager.get_service(HeartbeatService) is manager.start(config) is manager.start() is service
    with pytest.raises(ConfigError, match="running with a different configuration"):
        manager.start(config, service="other")
    with pytest.raises(TypeError, match="HeartbeatService or a subclass, not <class 'int'>"):
        manager.get_service(int)
    server.wait_for(lambda: server.beats)
    service.stop()
    assert manager.start() is service and service.stats().life == "running"
    server.wait_for(lambda: service.stats().beats)  # who was not heard of need not say goodbye
    assert manager.stop() is True
    assert manager.stop() is False
    with pytest.raises(ServiceNotStarted):
        manager.get_service(HeartbeatService)
    with pytest.raises(TypeError, match="no instances"):
        ServiceManager()


# -- to a server


def config_for(server, **keywords):
    return AgentConfig(url=server.url, **{"interval": 0.1, "backend": "heartfelt", "entry_points": False} | keywords)


@pytest.mark.parametrize("kind", KINDS)
def test_a_life_as_a_server_sees_it(serve, kind):
    server = serve(kind)
    status = ["started"]
    service = HeartbeatService(config_for(server, service="shop", token="secret"))
    service.add_plugin("template", "1.2.0")
    service.set_ext_info("template", lambda: {"status": status[-1]})
    with service:
        server.wait_for(lambda: len(server.beats) >= 4)
        status.append("busy")
        server.wait_for(lambda: server.beats[-1]["pluginInfoMap"]["template"]["extInfo"] == {"status": "busy"})
        server.wait_for(lambda: service.stats().beats >= 4)
    first = server.beats[0]
    assert first["pluginInfoMap"] == {
        "template": {"name": "template", "version": "1.2.0", "extInfo": {"status": "started"}}
    }
    assert {one["instanceId"] for one in server.beats} == {service.instance_id}
    assert [one["beat"] for one in server.beats] == list(range(1, len(server.beats) + 1))
    for before, after in zip(server.beats, server.beats[1:], strict=False):
        assert after["lastHeartbeatTime"] == before["heartbeatTime"] <= after["heartbeatTime"]
        assert after["lagMs"] >= 0
    [goodbye] = server.wait_for(lambda: server.goodbyes)
    assert (goodbye["service"], goodbye["instanceId"]) == ("shop", service.instance_id)
    assert set(server.tokens) == {"secret"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_beat_is_sent_at_once(serve, kind):
    server = serve(kind)
    with HeartbeatService(config_for(server, interval=1000)):
        server.wait_for(lambda: server.beats)


def test_tls(serve, certificates):
    server = serve("sermant", tls=certificates.server_context())
    with HeartbeatService(
        url=f"sermants://{server.host}:{server.port}", tls_ca=str(certificates.ca), tls_hostname="localhost"
    ):
        server.wait_for(lambda: server.beats)


def test_goodbye_at_the_exit_of_the_interpreter(serve):
    server = serve("http")
    code = f"""
from heartfelt.agent import ServiceManager, HeartbeatService, AgentConfig
ServiceManager.start(url={server.url!r}, service="managed")
HeartbeatService(url={server.url!r}, service="left open").start()
HeartbeatService(url="http://127.0.0.1:9", service="nobody listens").start()
import sys
sys.stdin.read()
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    server.wait_for(lambda: len(server.beats) >= 2)
    assert server.goodbyes == []
    program.stdin.close()
    assert program.wait(30) == 0
    assert {one["service"] for one in server.goodbyes} == {"managed", "left open"}


@pytest.mark.parametrize("kind", KINDS)
def test_stop_is_bounded_where_nobody_listens(serve, kind):
    server = serve(kind)
    config = config_for(server)
    server.refuse()
    service = HeartbeatService(config)
    service.start()
    if kind != "udp":
        server.wait_for(lambda: service.stats().failures >= 1)
    said = service.stop(wait=0.2)
    assert kind == "udp" or said is False  # a datagram may be handed to the kernel for nobody
    assert service.stats().beats == 0 or kind == "udp"
