# SPDX-License-Identifier: MIT
"""Settings that a reload changes, and settings that need a restart."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.settings import OF_A_SERVICE, SETTINGS
from heartfelt.monitor.model import Beat
from heartfelt.monitor.monitor import Monitor
from heartfelt.monitor.reload import LIVE, LIVE_OF_A_SERVICE, SLICE, Reload, combine


def test_the_tables_name_settings_that_exist():
    assert LIVE.keys() <= {one.name for one in SETTINGS}
    assert OF_A_SERVICE.keys() >= LIVE_OF_A_SERVICE


def test_the_documentation_has_the_same_table():
    text = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text("utf-8")
    assert dict(re.findall(r"^\| `([a-z_.]+)` \| (.+) \|$", text, re.MULTILINE)) == LIVE


def test_what_can_change_live_does_and_the_rest_is_named():
    old = MonitorConfig(services={"shop": {"timeout": 5.0, "min_up": 2}})
    wanted = MonitorConfig(
        lease_timeout=30.0, http_port=1, hold_share=0.9, http_allowed_hosts=("a.example",),
        services={"shop": {"min_up": 3, "grace": 1.0}, "cart": {"timeout": 9.0}},
    )  # fmt: skip
    effective, restart = combine(old, wanted)
    assert set(restart) == {"http.port", "hold.share", "service.shop.min_up"}
    assert (effective.lease_timeout, effective.http_allowed_hosts) == (30.0, ("a.example",))
    assert (effective.http_port, effective.hold_share) == (old.http_port, old.hold_share)
    assert effective.services == {"shop": {"min_up": 2, "grace": 1.0}, "cart": {"timeout": 9.0}}
    assert combine(old, old) == (old, ())
    back, restart = combine(effective, old)
    assert (back, restart) == (old, ())


def test_turning_tls_on_or_off_needs_a_restart_and_another_file_does_not():
    off, on = MonitorConfig(), MonitorConfig(tls_cert="a.pem", tls_key="a.key")
    assert combine(off, on) == (off, ("tls.cert", "tls.key"))
    assert combine(on, off) == (on, ("tls.cert", "tls.key"))
    other = MonitorConfig(tls_cert="b.pem", tls_key="b.key")
    assert combine(on, other) == (other, ())


def test_the_places_and_warnings_are_those_of_the_values(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('lease.timeout = "30 s"\ntcp.port = 5\n', "utf-8")
    old = MonitorConfig.load(environ={})
    wanted = MonitorConfig.load(file, environ={"HEARTFELT_LEASE_TIMEOU": "1"})
    effective, _ = combine(old, wanted)
    source = {row["name"]: row["source"] for row in effective.sources()}
    assert source["lease.timeout"].startswith(f"{file}:1")
    assert source["tcp.port"] == "default"
    assert effective.warnings == wanted.warnings
    assert len(wanted.warnings) == 1


@pytest.fixture
def levels_of_loggers(caplog):
    """A reload sets the level of the whole process: `caplog` puts it back."""
    caplog.set_level(logging.getLogger().level)


@pytest.mark.usefixtures("levels_of_loggers")
@pytest.mark.parametrize("bad", ["lease.timeout = 'never'", "no.such = 1", "lease.cache = '1 s'", "= =", None])
def test_an_invalid_file_changes_nothing(tmp_path, bad, caplog):
    file = tmp_path / "a.toml"
    file.write_text('lease.timeout = "30 s"\n', "utf-8")
    config = MonitorConfig(data=str(tmp_path / "data"), http_port=0, tcp_port=0, udp_port=0)

    async def scenario():
        monitor = Monitor(config)
        await monitor.start()
        reloads = Reload(monitor, lambda: MonitorConfig.load(file, environ={}))
        if bad is None:
            file.unlink()
        else:
            file.write_text('http.allowed_hosts = "a.example"\n' + bad, "utf-8")
        assert not await reloads.run()
        assert monitor.config is config
        assert monitor.api.config is config
        assert (reloads.failures, reloads.reloads) == (1, 0)
        assert str(file) in reloads.error
        file.write_text("", "utf-8")
        assert await reloads.run()
        assert reloads.stats()["failed"] == 0
        await monitor.stop()

    asyncio.run(scenario())
    assert caplog.text.count("the reload was refused") == 1
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("levels_of_loggers")
def test_a_reload_reaches_each_part_and_each_instance(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(
        'lease.timeout = "40 s"\nlimits.instances = 1\nretention.bytes = "2 MiB"\nhttp.allowed_hosts = "b.example"\n',
        "utf-8",
    )
    config = MonitorConfig(data=str(tmp_path / "data"), http_port=0, tcp_port=0, udp_port=0)

    async def scenario():
        monitor = Monitor(config)
        await monitor.start()
        names = [f"n{n}" for n in range(2 * SLICE + 1)]
        for name in names:
            monitor.registry.beat(Beat(service="shop", instance_id=name, via="http", peer="127.0.0.1"))
        assert await Reload(monitor, lambda: MonitorConfig.load(file, environ={})).run()
        found = [monitor.registry.find("shop", name) for name in names]
        assert {one.lease_ms for one in found} == {40_000}
        with pytest.raises(Exception, match=r"limits\.instances"):
            monitor.registry.beat(Beat(service="shop", instance_id="more", via="http", peer="127.0.0.1"))
        scope = {"headers": [(b"host", b"b.example")], "method": "GET", "path": "/", "scheme": "http"}
        assert monitor.shield.refusal(scope) is None
        assert monitor.api.config.retention_bytes == 2 << 20
        await monitor.stop()

    asyncio.run(scenario())
