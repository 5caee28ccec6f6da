# SPDX-License-Identifier: MIT
"""AgentConfig: every source, their precedence, and what is said of what cannot be."""

from __future__ import annotations

import dataclasses
import pickle
import re
import sys
from datetime import timedelta

import pytest

from heartfelt import ConfigError
from heartfelt.agent import AgentConfig, config
from heartfelt.agent.config.settings import SETTINGS, environment_names

SERMANTS_OWN = """\
# agent config
agent.config.isEnhanceBootStrapEnable=false
agent.config.ignoredPrefixes=com.huawei.sermant,com.huaweicloud.sermant
# agent service config
agent.service.heartbeat.enable=true
agent.service.gateway.enable=true
agent.service.dynamic.config.enable=true
# event config
event.enable=false
event.sendInterval=30000
# dynamic config
dynamic.config.serverAddress=127.0.0.1:2181
dynamic.config.password=
# heartbeat config
heartbeat.interval=20000
# gateway config
gateway.nettyIp=10.0.0.7
gateway.nettyPort=6889
gateway.nettyConnectTimeout=4000
gateway.nettyWriteAndReadWaitTime=60000
gateway.sendInternalTime=10
gateway.initReconnectInternalTime=6
gateway.maxReconnectInternalTime=170
# service meta config
service.meta.application=default
service.meta.environment=
"""


@pytest.fixture
def write(tmp_path):
    """write(text, name): the path of a file with it."""

    def write_one(text, name="config.properties"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_one


def load(path=None, **keywords):
    return AgentConfig.load(path, **{"environ": {}, **keywords})


# -- the table


def test_the_table_tells_of_every_key():
    rows = re.findall(r"^\| `([^`]+)`[^|]*\| `([^`]+)`", config.__doc__, re.MULTILINE)
    assert rows == [
        (one.name, one.field) for one in sorted(SETTINGS, key=lambda one: rows.index((one.name, one.field)))
    ]
    assert {keyword for _, keyword in rows} == {one.name for one in dataclasses.fields(AgentConfig)} - {"warnings"}


def test_defaults():
    found = AgentConfig()
    assert (found.enable, found.interval, found.timeout, found.service) == (True, 30.0, None, "default")
    assert (found.transport, found.backend, found.host, found.port) == ("sermant", "sermant", "127.0.0.1", 6888)
    assert (found.connect_timeout, found.first_reconnect, found.most_reconnect) == (5.0, 5.0, 180.0)
    assert found.warnings == ()
    assert found == load() == pickle.loads(pickle.dumps(found))


# -- .properties


def test_the_file_that_sermant_ships(write):
    found = load(write(SERMANTS_OWN))
    assert (found.enable, found.interval, found.host, found.port) == (True, 20.0, "10.0.0.7", 6889)
    assert (found.connect_timeout, found.first_reconnect, found.most_reconnect) == (4.0, 6.0, 170.0)
    assert found.warnings == ()


def test_properties_by_javas_rules(write):
    text = (
        "\n  ! a comment, which a backslash does not continue \\\n"
        "serviceName : sh\\\n    op\\\n\n"
        "appName\tmy app\r\n"
        "app\\Type=\\u00e4\\=\\q\\:\r"
        "artifact = a=b:c \\\\\n"
        "#appName=no\n"
        "heartfelt.instance_id=\\ud83d\\ude00"
    )
    found = load(write(text))
    assert (found.service, found.app_name, found.artifact) == ("shop", "my app", "a=b:c \\")
    assert (found.app_type, found.instance) == ("ä=q:", "\U0001f600")
    with pytest.raises(ConfigError, match=r"config\.properties:6: appType must not contain control characters"):
        load(write("\n\n\n\n\nappType=a\\tb"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n# c\nheartbeat.interval=often", r":3: heartbeat\.interval must be a duration .*; got 'often'"),
        ("heartbeat.interval=10", r":1: heartbeat\.interval must be from 50 ms to 30 min; got '10'"),
        ("heartbeat.interval=1e3", ":1: .* must be a duration"),
        ("heartbeat.interval=nan", ":1: .* must be a duration"),
        ("\ngateway.nettyPort=70000", r":2: gateway\.nettyPort must be from 1 to 65535; got '70000'"),
        ("gateway.nettyPort=", r":1: gateway\.nettyPort must be a whole number"),
        ("gateway.nettyIp=http://x", r":1: gateway\.nettyIp must be a host name or an IP address"),
        ("agent.service.heartbeat.enable=maybe", r":1: .*enable must be true or false; got 'maybe'"),
        ("serviceName=", ":1: serviceName must not be empty"),
        ("serviceName=" + "x" * 300, ":1: serviceName must be at most 256 characters long, not 300"),
        ("heartfelt.transport=tcp", ":1: .* must be one of sermant, http, udp; got 'tcp'"),
        ("appName=a\nserviceName=\\u12g4", r":2: \\u must be followed by four hexadecimal digits"),
        ("appName=a\nserviceName=\\ud800", ":2: half a surrogate pair"),
        (b"appName=a\nserviceName=\xff\n", ":2: this is not UTF-8"),
        ("heartfelt.url=ftp://x", r":1: heartfelt\.url must be a URL such as"),
        ("heartfelt.url=udp://x:0", ":1: .* port from 1 to 65535"),
        ("heartfelt.url=udp://x:99999", ":1: .* port is invalid"),
        ("heartfelt.url=udp://x/y", ":1: .* must not have a path"),
        ("heartfelt.url=http://x/?a=b", ":1: .* must not contain . or #"),
        ("\ngateway.nettyPort=1\nheartfelt.url=udp://x", r":3: heartfelt\.url and .*:2 \(gateway\.nettyPort\) contra"),
        ("heartfelt.path=beats", r"path \(.*:1\) must begin with /"),
        ("heartfelt.tls.enable=true\nheartfelt.transport=udp", r"tls \(.*:1\) is on, but udp has no TLS"),
        ("\nheartfelt.tls.ca=x", r"tls_ca \(.*:2\) is set, but TLS is off"),
        ("heartfelt.token=a\nheartfelt.token_file=b", r"token \(.*:1\) and token_file \(.*:2\) are both set"),
        ("heartfelt.backend=sermant\nheartfelt.transport=udp", r"transport \(.*:2\) is udp, which a Sermant backend"),
        (
            "gateway.initReconnectInternalTime=9\ngateway.maxReconnectInternalTime=8",
            r"first_reconnect \(.*:1\), 9 s, must not be longer than most_reconnect \(.*:2\), 8 s",
        ),
    ],
)  # fmt: skip
def test_bad_values_are_named_with_file_and_line(write, text, said):
    path = write(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_unknown_keys_are_named_with_file_and_line(write):
    path = write("appName=a\nheartbeat.intervals=5000\nappName=b\nsomething.else=1\n")
    found = load(path)
    assert found.app_name == "b"
    assert found.warnings == (
        f"{path}:2: unknown setting heartbeat.intervals; did you mean heartbeat.interval?",
        f"{path}:3: appName is given again; the value in line 1 is ignored",
        f"{path}:4: unknown setting something.else",
    )
    with pytest.raises(ConfigError, match="did you mean"):
        load(path, strict=True)


def test_a_file_that_cannot_be_read(tmp_path, write):
    with pytest.raises(ConfigError, match=r"none\.properties cannot be read: No such file"):
        load(tmp_path / "none.properties")
    with pytest.raises(ConfigError, match="right file"):
        load(write(b"#" * (1 << 20) + b"\n"))


# -- TOML


def test_toml(write):
    text = """
serviceName = "shop"
gateway.nettyPort = 7000
heartbeat = {interval = 4000}
[heartfelt]  # a table
token = "t"
[heartfelt.provider]
timeout = 500
"""
    found = load(write(text, "c.toml"))
    assert (found.service, found.port, found.interval) == ("shop", 7000, 4.0)
    assert (found.token, found.provider_timeout) == ("t", 0.5)


def test_toml_names_file_and_line(write):
    text = '# c\n[heartbeat]\n"interval" = "no"\n[x]\ntext = """\n[heartbeat]\ninterval = 1\n"""\n'
    path = write(text, "c.toml")
    with pytest.raises(ConfigError, match=re.escape(f"{path}:3: heartbeat.interval must be a duration")):
        load(path)
    found = load(write(text.replace('"no"', "5000"), "c.toml"))
    assert found.warnings == (f"{path}:5: unknown setting x.text",)
    with pytest.raises(ConfigError, match=re.escape(f"{path}:2: this is not valid TOML")):
        load(write("a = 1\nb = = 2\n", "c.toml"))
    with pytest.raises(ConfigError, match=r"c\.toml:1: gateway\.nettyPort must be a whole number .* got True"):
        load(write("gateway.nettyPort = true", "c.toml"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(write(b"a = '\xff'", "c.toml"))


def test_where_no_toml_is_read_the_remedy_is_named(write, monkeypatch):
    for name in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"c\.toml: .* pip install 'heartfelt\[toml\]'"):
        load(write("a = 1", "c.toml"))


# -- the environment, start arguments, keywords


def test_the_environments_names():
    assert list(environment_names("gateway.nettyIp")) == [
        "gateway.nettyIp", "gateway_nettyIp", "gateway-nettyIp",
        "GATEWAY.NETTYIP", "GATEWAY_NETTYIP", "GATEWAY-NETTYIP",
        "gateway.nettyip", "gateway_nettyip", "gateway-nettyip",
        "gateway.netty.ip", "gateway_netty_ip", "gateway-netty-ip",
        "GATEWAY.NETTY.IP", "GATEWAY_NETTY_IP", "GATEWAY-NETTY-IP",
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(environment_names("heartbeat.interval")))
def test_the_environment(name):
    assert load(environ={name: "7000"}).interval == 7.0
    with pytest.raises(ConfigError, match=f"environment variable {re.escape(name)}: heartbeat.interval must be"):
        load(environ={name: "7 fish"})


def test_os_environ_is_the_environment(monkeypatch):
    monkeypatch.setenv("SERVICE_NAME", "from os.environ")
    assert AgentConfig.load().service == "from os.environ"
    assert AgentConfig().service == "default"


def test_precedence(write):
    path = write("serviceName=file\nappName=file\nappType=file\nartifact=file")
    environ = {"SERVICENAME": "environ", "APP_NAME": "environ", "app-type": "environ"}
    found = load(path, environ=environ, args="serviceName=args, appName=args", service="keyword")
    assert (found.service, found.app_name, found.app_type, found.artifact) == ("keyword", "args", "environ", "file")
    assert load(path, args={"serviceName": "mapping"}).service == "mapping"


def test_start_arguments_that_cannot_be():
    with pytest.raises(ConfigError, match=r"start argument heartbeat\.interval: .* must be a duration"):
        load(args="heartbeat.interval=x")
    with pytest.raises(ConfigError, match="'appName' has no '='"):
        load(args="appName,serviceName=a")
    assert "start argument servicName: " in load(args="servicName=a").warnings[0]


def test_keywords():
    found = AgentConfig(interval=timedelta(seconds=5), timeout=20, first_reconnect=0.1, provider_limit=10)
    assert (found.interval, found.timeout, found.first_reconnect, found.provider_limit) == (5.0, 20.0, 0.1, 10)
    for keywords, kind, said in [
        ({"interval": "5"}, TypeError, "interval must be seconds .int, float. or a timedelta; got '5'"),
        (
            {"interval": 30000},
            ConfigError,
            "interval must be from 50 ms to 30 min; the keyword takes seconds, the setting in f",
        ),
        ({"interval": float("nan")}, ConfigError, "interval must be from"),
        ({"interval": True}, TypeError, "interval must be seconds"),
        ({"enable": 1}, TypeError, "enable must be true or false; got 1"),
        ({"enable": "true"}, TypeError, "enable must be true or false"),
        ({"service": 5}, TypeError, "service must be text; got 5"),
        ({"service": "\ud800"}, ConfigError, "unpaired surrogates"),
        ({"port": 0}, ConfigError, "port must be from 1 to 65535; got 0"),
        ({"fork": "maybe"}, ConfigError, "fork must be one of restart, silent"),
    ]:
        with pytest.raises(kind, match=said):
            AgentConfig(**keywords)
        with pytest.raises(kind, match=said):
            load(**keywords)
    with pytest.raises(TypeError, match="unknown setting servic; did you mean service"):
        load(servic="x")


# -- addresses


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://m", ("http", "m", 8900, False, "/api/v1/beats")),
        ("https://m/base/", ("http", "m", 443, True, "/base/api/v1/beats")),
        ("udp://[::1]:5", ("udp", "::1", 5, False, "/api/v1/beats")),
        ("sermant://m", ("sermant", "m", 6888, False, "/api/v1/beats")),
        ("tcp://m:1", ("sermant", "m", 1, False, "/api/v1/beats")),
        ("sermants://m", ("sermant", "m", 6888, True, "/api/v1/beats")),
    ],
)
def test_urls(url, found):
    for one in (AgentConfig(url=url), load(environ={"HEARTFELT_URL": url}), AgentConfig().replace(url=url)):
        assert (one.transport, one.host, one.port, one.tls, one.path) == found
        assert one.backend == ("sermant" if one.transport == "sermant" else "heartfelt")


def test_an_address_takes_nothing_of_one_of_lower_precedence(write):
    path = write("heartfelt.url=sermants://file:1\nheartfelt.tls.ca=/ca\nheartfelt.backend=sermant\nheartfelt.token=a")
    found = load(path, environ={"HEARTFELT_URL": "http://environ", "HEARTFELT_TOKEN_FILE": "/t"})
    assert (found.host, found.port, found.tls, found.tls_ca, found.backend) == (
        "environ",
        8900,
        False,
        None,
        "heartfelt",
    )
    assert (found.token, found.token_file) == (None, "/t")
    assert load(path, host="other").port == 1


def test_the_default_port_is_the_transports():
    assert [AgentConfig(transport=name).port for name in ("sermant", "http", "udp")] == [6888, 8900, 8901]
    assert AgentConfig(port=5).replace(transport="udp").port == 8901


# -- intervals and timeouts


def test_a_sermant_backends_minimum():
    found = AgentConfig(interval=0.5)
    assert found.interval == 3.0
    assert "raised from 0.5 s to 3 s" in found.warnings[0]
    found = AgentConfig(interval=0.5, backend="heartfelt")
    assert (found.interval, found.warnings) == (0.5, ())


@pytest.mark.parametrize(
    ("keywords", "warns"),
    [
        ({"interval": 30}, False),
        ({"interval": 30.5}, True),
        ({"interval": 10, "timeout": 20}, False),
        ({"interval": 10, "timeout": 19}, True),
        ({"interval": 100, "timeout": 300}, False),
    ],
)
def test_an_interval_longer_than_half_of_the_timeout_is_warned_of(keywords, warns):
    for found in (AgentConfig(**keywords), load(**keywords), pickle.loads(pickle.dumps(load(**keywords)))):
        assert [("is longer than half of" in text) for text in found.warnings] == [True] * warns
    assert load(**keywords).replace(interval=5).warnings == ()


# -- secrets


def test_secrets_are_never_shown(write, tmp_path):
    shown = repr(AgentConfig(token="hunter2", url="http://m"))
    assert "hunter2" not in shown
    for text in ("heartfelt.token=hunter2 \\u00e4", "heartfelt.url=http://me:hunter2@m", "heartfelt.url=x://hunter2"):
        with pytest.raises(ConfigError) as caught:
            load(write(text))
        assert "hunter2" not in f"{caught.value}{caught.value!r}{caught.value.__cause__}"
    with pytest.raises(ConfigError, match="without blanks") as caught:
        AgentConfig(token="hunter2 \n")
    assert "hunter2" not in str(caught.value)
