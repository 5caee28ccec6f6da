# SPDX-License-Identifier: MIT
"""Sermant's own files: each key of its backend is used, or known to have no meaning here; placeholders as in Spring."""

from __future__ import annotations

import pytest

from heartfelt import ConfigError
from heartfelt._config.placeholders import LONGEST
from tests.monitor.config.test_config import load, write  # noqa: F401

USED = {
    "server.port": "8900", "server.address": "127.0.0.1", "netty.port": "6888", "netty.wait.time": "60",
    "max.effective.time": "60000", "max.cache.time": "600000", "database.type": "MEMORY",
    "database.event.expire": "7", "webhook.eventpush.level": "EMERGENCY", "session.expire": "60",
}  # fmt: skip
IGNORED = """
    netty.connection.size visibility.effectiveTimes heartbeat.cache database.address database.user database.password
    database.version database.max.total database.max.idle database.timeout database.expire database.field.expire
    database.filter.thread.num database.fixedDelay database.url database.port dynamic.config.enable
    dynamic.config.namespace dynamic.config.timeout dynamic.config.serverAddress dynamic.config.dynamicConfigType
    dynamic.config.connectTimeout dynamic.config.enableAuth dynamic.config.userName dynamic.config.password
    dynamic.config.secretKey dynamic.config.template.path dynamic.config.requestTimeout spring.kafka.bootstrap-servers
    kafka.pool.timeoutMs kafka.key.deserializer kafka.value.deserializer kafka.group.id kafka.enable.auto.commit
    kafka.auto.commit.interval.ms kafka.auto.offset.reset kafka.session.timeout.ms fetch.min.bytes fetch.max.wait.ms
    kafka.key.serializer kafka.value.serializer kafka.acks kafka.max.request.size kafka.buffer.memory kafka.retries
    kafka.request.timeout.ms kafka.max.block.ms kafka.heartbeat.topic datatype.topic.mapping.0
    datatype.topic.mapping.12
"""


def properties(write, text):  # noqa: F811
    return write(text, "application.properties")


def test_each_key_of_sermants_backend_is_known(write):  # noqa: F811
    text = "".join(f"{name}={value}\n" for name, value in USED.items())
    assert not load(properties(write, text)).warnings
    config = load(properties(write, "".join(f"{name}=${{NOWHERE}}\n" for name in IGNORED.split())))
    for n, name in enumerate(IGNORED.split(), 1):
        assert f":{n}: {name} has no meaning here" in config.warnings[n - 1]
    assert len(config.warnings) == len(IGNORED.split())
    slip = load(properties(write, "database.event.expird=3\n"))
    assert "did you mean database.event.expire?" in slip.warnings[0]


@pytest.mark.parametrize(
    ("value", "environ", "port"),
    [
        ("${PORT:8901}", {}, 8901),
        ("${PORT:8901}", {"PORT": "7"}, 7),
        ("${PORT}", {"PORT": "7"}, 7),
        ("${my.server-port}", {"MY_SERVER_PORT": "7"}, 7),
        ("${my.server-port}", {"MY_SERVERPORT": "7"}, 7),
        ("${A:${B:${C:9}}}", {}, 9),
        ("${A:${B:${C:9}}}", {"C": "7"}, 7),
        ("${A:${NOWHERE}}", {"A": "7"}, 7),
        ("${${WHICH}}", {"WHICH": "PORT", "PORT": "7"}, 7),
        ("${A}", {"A": "${B}", "B": "7"}, 7),
        ("8${A:}0", {}, 80),
        ("${other.port}", {}, 1234),
    ],
)
def test_placeholders(write, value, environ, port):  # noqa: F811
    assert load(properties(write, f"server.port={value}\nother.port=1234\n"), environ).http_port == port


def test_a_flag_and_the_monitors_own_names(write):  # noqa: F811
    path = properties(write, "http.port=${udp.port}\nservice.a.timeout=${T:30 s}\ndatabase.type=${DB:memory}\n")
    config = load(path, **{"udp.port": "77"})
    assert (config.http_port, config.services) == (77, {"a": {"timeout": 30.0}})
    assert load(write('data = "${HOME}"\n')).data == "${HOME}"  # TOML has none


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server.port=${PORT}\n", [":1: server.port", "${PORT}", "environment variable PORT", "${PORT:default}"]),
        ("\nserver.port=${A:${my.b}}\n", [":2: server.port", "${my.b}", "MY_B"]),
        ("server.port=${server.port}\n", [":1: server.port", "refer to itself"]),
        ("server.port=${a}\na=${b}${b}\nb=${c}${c}\n" + "c=${a}\n", [":1: server.port", "refer to itself"]),
        ("data=" + "".join(f"${{a{n}}}" for n in range(300)) + "\n", [":1: data", "a0"]),
        ("data=" + "${a}" * 300 + "\na=1\n", [":1: data", "more than 200"]),
        ("data=${a}${a}\na=" + "x" * (LONGEST // 2 + 1) + "\n", [":1: data", "longer than"]),
        ("server.port=" + "${a:" * 40 + "1" + "}" * 40 + "\n", [":1: server.port", "nested"]),
        ("server.port=${PORT:none}\n", [":1: server.port", "none"]),
        ("server.port=${PORT\n", [":1: server.port", "${PORT"]),
    ],
)
def test_placeholders_without_a_value_are_named(write, text, said):  # noqa: F811
    with pytest.raises(ConfigError) as caught:
        load(properties(write, text))
    assert all(part in str(caught.value) for part in said), caught.value
