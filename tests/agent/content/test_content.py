# SPDX-License-Identifier: MIT
"""The contents of a beat: every field, and where each comes from."""

from __future__ import annotations

import errno
import os
import socket
import sys
import uuid

import pytest

import heartfelt
from heartfelt.agent import AgentConfig
from heartfelt.agent.content import host, identity, plugins
from heartfelt.agent.service.run import ADDRESSES_EVERY_S


def test_every_field(make_service, monkeypatch):
    monkeypatch.setattr(host, "ipv4_addresses", lambda: ["10.0.0.7"])
    service = make_service(
        service="shop", app_name="store", app_type="web", artifact="shop.whl", timeout=3, dynamic_install=True
    )
    service.add_plugin("template", "1.2.0")
    service.add_plugin("plain")
    service.add_external_agent("otel", "2.0")
    service.start()
    [line] = service.lines
    assert line.head == {
        "hostName": socket.gethostname(),
        "ip": ["10.0.0.7"],
        "service": "shop",
        "appName": "store",
        "appType": "web",
        "artifact": "shop.whl",
        "version": heartfelt.__version__,
        "instanceId": service.instance_id,
        "processId": str(os.getpid()),
        "dynamicInstall": True,
        "pluginInfoMap": {
            "template": {"name": "template", "version": "1.2.0"},
            "plain": {"name": "plain", "version": "unknown"},
        },
        "externalAgentInfoMap": {"otel": {"name": "otel", "version": "2.0"}},
        "intervalMs": 100,
        "timeoutMs": 3000,
    }
    assert uuid.UUID(service.instance_id).version == 4


def test_fields_without_a_value_are_absent(make_service, monkeypatch):
    monkeypatch.setattr(host, "ipv4_addresses", list)
    monkeypatch.setattr(host, "host_name", lambda: None)
    service = make_service()
    service.start()
    assert not {"hostName", "ip", "artifact", "timeoutMs", "extInfoFailures"} & set(service.lines[0].head)
    assert service.lines[0].head["service"] == "default"


def test_text_of_any_kind_is_utf8_json(make_service):
    service = make_service(service='店"\\', app_name="\U0001f600")
    service.start()
    assert (service.lines[0].head["service"], service.lines[0].head["appName"]) == ('店"\\', "\U0001f600")


def test_the_content_changes_while_it_runs(make_service):
    service = make_service(interval=1000)
    service.start()
    [line] = service.lines
    service.add_plugin("late", "1")
    line.wait_for(lambda: "late" in line.head["pluginInfoMap"])
    service.add_external_agent("a", "1")
    line.wait_for(lambda: "a" in line.head["externalAgentInfoMap"])
    assert service.stats().heads == len(line.heads) == 3


def test_what_did_not_change_is_not_handed_over_again(make_service):
    service = make_service()
    service.set_ext_info("p", lambda: {"same": "always"})
    service.start()
    [line] = service.lines
    line.wait_for(lambda: line.calls.count("refreshed") >= 8)
    assert len(line.heads) == 1


# -- addresses


@pytest.mark.skipif(sys.platform != "linux", reason="interfaces are listed on Linux")
def test_addresses_of_the_interfaces():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert "127.0.0.1" in host._of_interfaces(sock)
        of_route = host._of_default_route(sock)
    found = host.ipv4_addresses()
    assert "127.0.0.1" not in found and set(of_route) - {"127.0.0.1"} <= set(found)
    for address in found:
        socket.inet_aton(address)


def test_addresses_are_looked_at_again(make_service, monkeypatch, caplog):
    now = [["10.0.0.1"]]

    def addresses():
        if isinstance(now[-1], OSError):
            raise now[-1]
        return now[-1]

    monkeypatch.setattr(host, "ipv4_addresses", addresses)
    service = make_service()
    service.start()
    [line] = service.lines
    assert line.head["ip"] == ["10.0.0.1"]
    run = service._run
    assert run._addresses_due - run._refreshed_at == pytest.approx(ADDRESSES_EVERY_S, abs=30)
    now.append(["10.0.0.2"])
    run._addresses_due = 0
    line.wait_for(lambda: line.head["ip"] == ["10.0.0.2"])
    now.append(OSError(errno.EMFILE, "too many"))
    run._addresses_due = 0
    line.wait_for(lambda: "too many" in caplog.text)
    assert line.head["ip"] == ["10.0.0.2"]


# -- instanceId


def test_a_new_id_at_each_start(make_service):
    service = make_service()
    assert service.instance_id is None
    ids = set()
    for _ in range(3):
        service.start()
        assert service.lines[-1].head["instanceId"] == service.instance_id
        ids.add(service.instance_id)
        service.stop()
    assert len(ids) == 3
    assert service.instance_id in ids


def test_a_literal_id(make_service):
    service = make_service(instance="shop-0")
    service.start()
    assert service.instance_id == "shop-0"


@pytest.fixture
def own_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "heartfelt"


def test_stable_ids(own_directory, run_python):
    config = AgentConfig(instance="stable", service="shop")
    first, second = identity.new_identity(config), identity.new_identity(config)
    assert first.instance_id != second.instance_id
    other = identity.new_identity(config.replace(service="other"))
    assert other.instance_id not in (first.instance_id, second.instance_id)
    code = """
        from heartfelt.agent import AgentConfig
        from heartfelt.agent.content import identity
        print(identity.new_identity(AgentConfig(instance="stable", service="shop")).instance_id)
    """
    third = run_python(code).strip()  # of another process, which then ends
    assert third not in (first.instance_id, second.instance_id)
    first.release()
    first.release()
    assert run_python(code).strip() == first.instance_id
    second.release()
    other.release()
    assert identity.new_identity(config).instance_id == first.instance_id


def test_a_stable_id_is_the_same_after_a_restart_of_the_service(own_directory, make_service):
    service = make_service(instance="stable")
    service.start()
    before = service.instance_id
    service.stop()
    service.start()
    assert service.instance_id == before


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no users' rights")
def test_a_directory_that_others_can_write_to_is_not_trusted(own_directory, caplog):
    own_directory.mkdir()
    own_directory.chmod(0o777)
    config = AgentConfig(instance="stable")
    found = identity.new_identity(config).instance_id
    assert uuid.UUID(found).version == 4
    assert "must be a directory that only this user can write to" in caplog.text


# -- entry points


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install(name, version, entry_points, module=""): a package that is found like an installed one."""

    def make(name, version, entry_points, module=""):
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)
        (tmp_path / f"{name}.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)

    return make


def test_plugins_and_providers_of_installed_packages(install, make_service):
    install(
        "heartfelt_test_good",
        "3.1",
        "[heartfelt.plugins]\nlisted = heartfelt_test_good\nmine = heartfelt_test_good\n"
        "[heartfelt.ext_info]\nlisted = heartfelt_test_good:info\nown = heartfelt_test_good:info\n",
        "def info():\n    return {'from': 'package'}\n",
    )
    install(
        "heartfelt_test_bad",
        "1",
        "[heartfelt.ext_info]\nraises = heartfelt_test_bad:info\nnone = heartfelt_test_bad:nothing\n"
        "text = heartfelt_test_bad:TEXT\n",
        "def info():\n    raise ValueError('boom')\nTEXT = 'no callable'\n",
    )
    service = make_service(entry_points=True)
    service.add_plugin("mine", "my own version")
    service.set_ext_info("own", lambda: {"from": "program"})
    service.start()
    [line] = service.lines
    line.wait_for(
        lambda: len(line.head.get("extInfoFailures", ())) == 3 and "extInfo" in line.head["pluginInfoMap"]["own"]
    )
    plugins = line.head["pluginInfoMap"]
    assert plugins["listed"] == {"name": "listed", "version": "3.1", "extInfo": {"from": "package"}}
    assert plugins["mine"]["version"] == "my own version"
    assert plugins["own"]["extInfo"] == {"from": "program"}
    failures = line.head["extInfoFailures"]
    assert failures["raises"] == "ValueError: boom"
    assert "nothing" in failures["none"]
    assert failures["text"] == "TypeError: heartfelt_test_bad:TEXT is a str, not a callable without arguments"


def test_entry_points_that_cannot_be_read_stop_nothing(make_service, monkeypatch, caplog):
    def broken():
        raise ValueError("bad metadata")

    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", broken)
    service = make_service(entry_points=True)
    service.start()
    assert service.lines[0].calls[:2] == ["set_head", "start"]
    assert "cannot read the entry points of the installed packages: ValueError: bad metadata" in caplog.text
    assert "bad metadata" in service.stats().last_provider_failure
    assert service.stats().provider_failures == 1


def test_entry_points_can_be_left_alone(install, make_service):
    install("heartfelt_test_unwanted", "1", "[heartfelt.plugins]\nunwanted = heartfelt_test_unwanted\n")
    service = make_service(entry_points=False)
    service.start()
    assert service.lines[0].head["pluginInfoMap"] == {}


# -- goodbyes


@pytest.mark.parametrize("transport", ["sermant", "http", "udp"])
def test_goodbyes(make_service, transport):
    service = make_service(transport=transport, service="shop")
    service.start()
    [line] = service.lines
    assert service.stop() is True
    if transport == "sermant":
        assert line.goodbye == {"service": "shop", "instanceId": service.instance_id}
    else:
        time_ms = line.goodbye.pop("heartbeatTime")
        assert time_ms > 1_600_000_000_000
        assert line.goodbye == {**line.head, "goodbye": True}
