# SPDX-License-Identifier: MIT
"""The monitor's configuration: where values come from, what is refused, and how it is said."""

from __future__ import annotations

from dataclasses import fields

import pytest

from heartfelt import ConfigError
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.build import make_policy, webhook_levels
from heartfelt.monitor.config.settings import SETTINGS, variable_of
from heartfelt.monitor.fleet.policy import ServicePolicy
from heartfelt.monitor.model import Level, Limits


@pytest.fixture
def write(tmp_path):
    def write(text, name="monitor.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def load(path=None, environ=None, **flags):
    return MonitorConfig.load(path, environ=environ or {}, flags=flags)


def setting(config, name):
    return next(row for row in config.sources() if row["name"] == name)


def test_each_key_is_a_field_and_each_field_a_key():
    own = {"services", "places", "warnings"}
    assert {one.field for one in SETTINGS} == {one.name for one in fields(MonitorConfig)} - own
    assert len({one.name for one in SETTINGS}) == len(set(map(variable_of, SETTINGS))) == len(SETTINGS.all)
    assert all(one.field == one.name.replace(".", "_") for one in SETTINGS)  # one name from file to use


def test_each_limit_has_a_key():
    assert MonitorConfig().limits == Limits()
    config = MonitorConfig(limits_instances=7, limits_connection_idle=5)
    assert config.limits == Limits(instances=7, connection_idle=5.0)


def test_flags_go_before_the_environment_and_that_before_the_file(write):
    path = write("host = '127.0.0.2'\n[http]\nport = 1\n[tcp]\nport = 1\n[udp]\nport = 1\n")
    config = MonitorConfig.load(
        path, environ={"HEARTFELT_TCP_PORT": "2", "HEARTFELT_UDP_PORT": "2"}, flags={"udp.port": "3"}
    )
    assert (config.host, config.http_port, config.tcp_port, config.udp_port) == ("127.0.0.2", 1, 2, 3)
    assert setting(config, "http.port")["source"] == f"{path}:3"
    assert setting(config, "tcp.port")["source"] == "environment variable HEARTFELT_TCP_PORT"
    assert setting(config, "udp.port")["source"] == "flag udp.port"
    assert setting(config, "data")["source"] == "default"


def test_spans_sizes_shares_and_lists_may_be_written_with_units(write):
    config = load(
        write(
            """
            [lease]
            timeout = "500 ms"
            cache = "5 min"
            [limits]
            body_bytes = "1 MiB"
            [retention]
            events = "2 d"
            [hold]
            share = "25 %"
            [http]
            allowed_hosts = ["a.example", "b.example"]
            """
        )
    )
    assert (config.lease_timeout, config.lease_cache) == (0.5, 300)
    assert (config.limits_body_bytes, config.retention_events, config.hold_share) == (1 << 20, 172800, 0.25)
    assert config.http_allowed_hosts == ("a.example", "b.example")
    assert load(None, {"HEARTFELT_HTTP_ALLOWED_HOSTS": "a, b"}).http_allowed_hosts == ("a", "b")


def test_a_service_has_terms_of_its_own(write):
    config = load(write('[service."my.shop"]\ntimeout = 5\n'), **{"service.other.cache": "1 h"})
    assert config.services == {"my.shop": {"timeout": 5.0}, "other": {"cache": 3600.0}}
    policy = make_policy(config)
    assert policy.services["my.shop"].lease_timeout_ms == 5000
    assert policy.services["other"].lease_timeout_ms is None
    assert policy.cached_ms("other") == 3_600_000
    assert setting(config, "service.my.shop.timeout")["value"] == 5.0


def test_a_service_has_its_number_of_instances_that_must_be_up(write):
    config = load(write("[service.web]\nmin_up = 2\n"), **{"service.api.min_up": "3"})
    policy = make_policy(config)
    assert [policy.min_up(name) for name in ("web", "api", "else")] == [2, 3, 1]
    assert setting(config, "service.web.min_up")["value"] == 2
    for bad in ("0", "-1", "1.5", "many"):
        with pytest.raises(ConfigError, match=rf"service\.web\.min_up.*{bad}"):
            load(**{"service.web.min_up": bad})
    with pytest.raises(ConfigError, match=r"min_up.*at least 1.*0"):
        ServicePolicy(min_up=0)


def test_a_service_has_bounds_on_its_runs(write):
    config = load(write('[service.jobs]\nmax_duration = "1h"\n'), **{"service.jobs.min_duration": "500ms"})
    assert make_policy(config).durations_ms("jobs", None, None) == (500, 3_600_000)
    assert make_policy(config).durations_ms("jobs", 7, None) == (7, 3_600_000)
    assert make_policy(config).durations_ms("none", None, 9) == (None, 9)
    assert setting(config, "service.jobs.max_duration")["default"] is None


@pytest.mark.parametrize("name", ["m.toml", "a.properties"])
def test_a_services_setting_may_be_true_or_false(write, name):
    text = '[service."my.shop"]\nexpected = true\n' if name == "m.toml" else "service.my.shop.expected=yes\n"
    config = load(write(text, name), **{"service.cart.expected": "false"})
    assert config.services == {"my.shop": {"expected": True}, "cart": {"expected": False}}
    policy = make_policy(config)
    found = {(one, by_key): policy.is_expected(one, by_key) for one in ("my.shop", "cart", "x") for by_key in (0, 1)}
    assert found == {
        ("my.shop", 0): True, ("my.shop", 1): True, ("cart", 0): False, ("cart", 1): False, ("x", 0): 0, ("x", 1): 1,
    }  # fmt: skip
    row = setting(config, "service.my.shop.expected")
    assert (row["value"], row["default"], row["unit"]) == (True, None, None)
    assert row["meaning"].startswith("for the service my.shop: a lost instance stays")
    assert row["source"].endswith(":2" if name == "m.toml" else ":1")


def test_sermants_application_properties_are_read_with_their_units(write):
    config = load(
        write(
            """
            server.port=8900
            netty.port=6000
            netty.wait.time=30
            max.effective.time=10000
            max.cache.time=20000
            database.type=MEMORY
            database.address=127.0.0.1:6379
            database.event.expire=3
            webhook.eventpush.level=IMPORTANT
            session.expire=90
            """,
            "application.properties",
        )
    )
    assert (config.http_port, config.tcp_port, config.limits_connection_idle) == (8900, 6000, 30)
    assert (config.lease_timeout, config.lease_cache) == (10, 20)
    assert (config.retention_events, config.session_expire) == (3 * 86400, 90)
    assert webhook_levels(config) == (Level.EMERGENCY, Level.IMPORTANT)
    assert ["database.address" in text for text in config.warnings] == [True]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("[http]\nport = 70000\n", "m.toml", ["m.toml:2: http.port", "70000", "65535"]),
        ("[http]\nprot = 1\n", "m.toml", ["m.toml:2: unknown setting http.prot", "did you mean http.port"]),
        ("[service.shop]\nup = 1\n", "m.toml", ["m.toml:2: unknown setting service.shop.up", "timeout, every, grace"]),
        ("[lease]\ntimeout = 'soon'\n", "m.toml", ["m.toml:2", "lease.timeout", "soon", "90s"]),
        ("x = [\n", "m.toml", ["m.toml", "not valid TOML"]),
        ("max.effective.time=never\n", "a.properties", ["a.properties:1: max.effective.time", "never"]),
        ("database.type=REDIS\n", "a.properties", ["a.properties:1", "MEMORY", "REDIS", "SQLite"]),
        ("[tls]\nkey = 'k.pem'\n", "m.toml", ["m.toml:2: tls.key", "tls.cert"]),
        ("[lease]\ntimeout = 700\n", "m.toml", ["600", "700", "shorter"]),
        ("[service.a]\ntimeout = 700\n", "m.toml", ["service.a", "600", "700"]),
        ("[service.a]\nmin_duration = '2h'\nmax_duration = '1h'\n", "m.toml", ["service.a", "7200", "3600", "swap"]),
        ("[service.a]\nmax_duration = 0\n", "m.toml", ["m.toml:2", "service.a.max_duration", "0"]),
        ("[service.a]\nexpected = 'maybe'\n", "m.toml", ["m.toml:2: service.a.expected", "true or false", "maybe"]),
        ("service.a.expected=2\n", "a.properties", ["a.properties:1: service.a.expected", "true or false", "2"]),
        ("[hold]\nleast = 1\n", "m.toml", ["hold.least", "2", "got 1"]),
    ],
)
def test_bad_values_are_named_with_file_and_line(write, text, name, said):
    with pytest.raises(ConfigError) as caught:
        load(write(text, name))
    assert all(part in str(caught.value) for part in said), caught.value


def test_bad_values_of_environment_and_flags_are_named():
    with pytest.raises(ConfigError, match=r"environment variable HEARTFELT_HTTP_PORT: http.port .* got 'x'"):
        load(None, {"HEARTFELT_HTTP_PORT": "x"})
    with pytest.raises(ConfigError, match=r"flag lease.timeout: lease.timeout .* got '-1'"):
        load(None, None, **{"lease.timeout": "-1"})
    with pytest.raises(ConfigError, match=r"http_port must be .* got True"):
        MonitorConfig(http_port=True)


def test_slips_are_warned_of(write):
    config = load(write("max.effectve.time=1\nserver.port=1\nserver.port=2\n", "a.properties"))
    assert config.http_port == 2
    assert any("did you mean max.effective.time" in text for text in config.warnings)
    assert any("given again" in text and ":3" in text for text in config.warnings)
    config = load(None, {"HEARTFELT_HTTP_PROT": "1", "HEARTFELT_EXAMPLES": "5"})
    assert len(config.warnings) == 1
    assert "did you mean HEARTFELT_HTTP_PORT" in config.warnings[0]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "monitor.example"}, True),
        ({"tcp_host": "10.0.0.1"}, True),
        ({"tcp_host": "10.0.0.1", "tcp_enable": False}, False),
        ({"auth_require": "always"}, True),
    ],
)
def test_tokens_are_needed_as_soon_as_a_port_is_reached_from_elsewhere(settings, needed):
    assert MonitorConfig(**settings).auth_needed is needed


def test_ports_without_tls_beyond_this_machine_are_warned_of():
    assert "TLS" in MonitorConfig(host="0.0.0.0").warnings[0]
    assert MonitorConfig().warnings == ()


def test_periods_and_graces_reach_the_policy(write):
    text = '[lease]\nevery = "5 min"\ngrace = "30 s"\njob_timeout = "2 h"\n[service.etl]\nevery = "1 h"\ngrace = 0.5\n'
    config = load(write(text))
    policy = make_policy(config)
    assert (policy.lease_every_ms, policy.lease_grace_ms, policy.lease_job_timeout_ms) == (300_000, 30_000, 7_200_000)
    assert (policy.services["etl"].lease_every_ms, policy.services["etl"].lease_grace_ms) == (3_600_000, 500)
    assert setting(config, "service.etl.every")["value"] == 3600.0
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('[lease]\nevery = "20 s"\n', "20 s and its grace of 10 s are within the lease.timeout of 60 s, which"),
        (
            '[service.a]\ntimeout = "20 s"\ngrace = "1 s"\n',
            "service.a.timeout is the whole time until a loss, and servi",
        ),
    ],
)
def test_a_period_or_a_grace_that_changes_nothing_is_warned_of(write, text, warning):
    assert any(warning in one for one in load(write(text)).warnings)
