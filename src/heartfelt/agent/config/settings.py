# SPDX-License-Identifier: MIT
"""The agent's settings, with Sermant's names where Sermant has them, and their names in the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from heartfelt._config.settings import SettingSpec, SettingsTable
from heartfelt._config.values import Duration, flag, host, maybe, one_of, text, token, whole

LEAST_INTERVAL_S = 0.05
MOST_INTERVAL_S = 1800.0


SETTINGS = SettingsTable(
    (
        SettingSpec("agent.service.heartbeat.enable", "enable", flag),
        SettingSpec("heartbeat.interval", "interval", Duration(LEAST_INTERVAL_S, MOST_INTERVAL_S, "ms")),
        SettingSpec("heartbeat.timeout", "timeout", maybe(Duration(LEAST_INTERVAL_S, 30 * 86400, "ms"))),
        SettingSpec("serviceName", "service", text()),
        SettingSpec("appName", "app_name", text()),
        SettingSpec("appType", "app_type", text()),
        SettingSpec("artifact", "artifact", maybe(text())),
        SettingSpec("dynamicInstall", "dynamic_install", flag),
        SettingSpec("gateway.nettyIp", "host", host, former=("backend.nettyIp",)),
        SettingSpec("gateway.nettyPort", "port", whole(1, 65535), former=("backend.nettyPort",)),
        SettingSpec("gateway.nettyConnectTimeout", "connect_timeout", Duration(0.001, 600, "ms")),
        SettingSpec("gateway.initReconnectInternalTime", "first_reconnect", Duration(0.001, 86400)),
        SettingSpec("gateway.maxReconnectInternalTime", "most_reconnect", Duration(0.001, 86400)),
        SettingSpec(
            "heartfelt.url", "url", maybe(text(2048)), secret=True
        ),  # it may have a password in it, which is then refused
        SettingSpec("heartfelt.transport", "transport", one_of("sermant", "http", "udp")),
        SettingSpec("heartfelt.backend", "backend", maybe(one_of("sermant", "heartfelt"))),
        SettingSpec("heartfelt.path", "path", text(1024)),
        SettingSpec("heartfelt.write_timeout", "write_timeout", Duration(0.001, 600, "ms")),
        SettingSpec("heartfelt.tls.enable", "tls", flag),
        SettingSpec("heartfelt.tls.ca", "tls_ca", maybe(text(4096))),
        SettingSpec("heartfelt.tls.hostname", "tls_hostname", maybe(host)),
        SettingSpec("heartfelt.token", "token", maybe(token), secret=True),
        SettingSpec("heartfelt.token_file", "token_file", maybe(text(4096))),
        SettingSpec("heartfelt.instance", "instance", text(128), former=("heartfelt.instance_id",)),
        SettingSpec("heartfelt.fork", "fork", one_of("restart", "silent")),
        SettingSpec("heartfelt.entry_points", "entry_points", flag),
        SettingSpec("heartfelt.provider.timeout", "provider_timeout", Duration(0.001, 600, "ms")),
        SettingSpec("heartfelt.provider.limit", "provider_limit", whole(1, 1 << 20)),
    ),
)

# Settings of other parts of Sermant: a file may be shared with a Java agent.
_OTHERS = re.compile(
    r"agent\.(config|service)\.|adaptor\.|event\.|notification\.|inject\.|dynamic\.config\.|service\.meta\.|"
    r"visibility\.|monitor\.|httpserver\.|xds\.|metric\.|ext\.agent\.|external\.agent\.|"
    r"gateway\.(nettyWriteAndReadWaitTime|sendInternalTime)$|backend\.http(Ip|Port)$|"
    r"(instanceName|agentPath|agentFile|command)$"
)


def is_others(name: str) -> bool:
    """Whether it is a setting of Sermant's that heartfelt does not use."""
    return bool(_OTHERS.match(name))


def environment_names(name: str) -> Iterator[str]:
    """Yields the variables that may hold a setting, in Sermant's order; the first that is set counts."""
    separators = (".", "_", "-")
    as_is = [name.replace(".", separator) for separator in separators]
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", ".", name)
    apart = [split.replace(".", separator) for separator in separators]
    names = [
        *as_is, *map(str.upper, as_is), *map(str.lower, as_is), *map(str.lower, apart), *map(str.upper, apart)
    ]  # fmt: skip
    yield from dict.fromkeys(names)


def from_environment(setting: SettingSpec, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that holds it and its value, or None."""
    for name in environment_names(setting.name):
        if name in environ:
            return name, environ[name]
    return None
