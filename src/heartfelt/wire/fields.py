# SPDX-License-Identifier: MIT
"""The JSON of a beat: the names of its fields, and their meaning.

Sermant's fields. A reader can rely on `service` and `instanceId` only; a field without a value is absent:

| field | type | meaning |
|---|---|---|
| hostName | string | the host's name |
| ip | list of strings | IPv4 addresses other than 127.0.0.1 |
| service | string | the service's name, "default" if it has none |
| appType | string | the application's type |
| heartbeatTime | int, ms since the epoch | the agent's wall clock at this beat; only to be shown |
| lastHeartbeatTime | int, ms since the epoch | the same at the previous beat |
| version | string | the agent's version |
| instanceId | string | new at each start of the process, unless configured otherwise |
| pluginInfoMap | object | name -> {name, version, extInfo: {string: string}}; extInfo may be absent |
| appName, artifact, processId | string | |
| dynamicInstall | bool | whether the agent was loaded into a running process |
| externalAgentInfoMap | object | name -> {name, version} of other agents in the process |

heartfelt's own fields, which Sermant's backend ignores:

| field | type | meaning |
|---|---|---|
| intervalMs | int | ms until the next beat |
| timeoutMs | int | the timeout that the monitor should use, if the agent asks for one |
| everyMs, graceMs | int | instead of a timeout: the period in which it beats, and how much later a beat may come |
| expected | bool | true: once lost, it stays lost until it beats or is removed by hand; false: it is removed later |
| minDurationMs, maxDurationMs | int | bounds on the duration of its runs; a run outside of them has failed |
| lagMs | int | ms since the agent's interpreter last ran: an instance may be alive, but stuck |
| beat | int | number of this beat since the agent's start, from 1 |
| extInfoFailures | object | plugin -> why its provider of extInfo failed; absent if none failed |
| goodbye | bool | true: the instance ends normally. HTTP and UDP only; in TCP, a goodbye is a field of the frame |

The four that change at each beat (`VOLATILE`) come last, so that a sender can append them to a head that is made, and
compressed, less often.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "APP_NAME",
    "APP_TYPE",
    "ARTIFACT",
    "BEAT",
    "DYNAMIC_INSTALL",
    "EVERY_MS",
    "EXPECTED",
    "EXTERNAL_AGENT_INFO_MAP",
    "EXT_INFO",
    "EXT_INFO_FAILURES",
    "GOODBYE",
    "GRACE_MS",
    "HEARTBEAT_TIME",
    "HOST_NAME",
    "INSTANCE_ID",
    "INTERVAL_MS",
    "IP",
    "LAG_MS",
    "LAST_HEARTBEAT_TIME",
    "MAX_DURATION_MS",
    "MIN_DURATION_MS",
    "NAME",
    "PLUGIN_INFO_MAP",
    "PROCESS_ID",
    "SERVICE",
    "TIMEOUT_MS",
    "VERSION",
    "VOLATILE",
    "whole_beat",
]

HOST_NAME: Final = "hostName"
IP: Final = "ip"
SERVICE: Final = "service"
APP_TYPE: Final = "appType"
HEARTBEAT_TIME: Final = "heartbeatTime"
LAST_HEARTBEAT_TIME: Final = "lastHeartbeatTime"
VERSION: Final = "version"
INSTANCE_ID: Final = "instanceId"
PLUGIN_INFO_MAP: Final = "pluginInfoMap"
APP_NAME: Final = "appName"
ARTIFACT: Final = "artifact"
PROCESS_ID: Final = "processId"
DYNAMIC_INSTALL: Final = "dynamicInstall"
EXTERNAL_AGENT_INFO_MAP: Final = "externalAgentInfoMap"
NAME: Final = "name"
EXT_INFO: Final = "extInfo"

INTERVAL_MS: Final = "intervalMs"
TIMEOUT_MS: Final = "timeoutMs"
EVERY_MS: Final = "everyMs"
GRACE_MS: Final = "graceMs"
EXPECTED: Final = "expected"
MIN_DURATION_MS: Final = "minDurationMs"
MAX_DURATION_MS: Final = "maxDurationMs"
LAG_MS: Final = "lagMs"
BEAT: Final = "beat"
EXT_INFO_FAILURES: Final = "extInfoFailures"
GOODBYE: Final = "goodbye"

VOLATILE: Final = (HEARTBEAT_TIME, LAST_HEARTBEAT_TIME, LAG_MS, BEAT)


def whole_beat(head: bytes, *, time_ms: int, last_time_ms: int, lag_ms: int, number: int) -> bytes:
    """Makes a beat's JSON from its head (not empty, without the closing brace) and the volatile fields."""
    return b'%b,"heartbeatTime":%d,"lastHeartbeatTime":%d,"lagMs":%d,"beat":%d}' % (
        head,
        time_ms,
        last_time_ms,
        lag_ms,
        number,
    )
