# SPDX-License-Identifier: MIT
"""The agent's configuration.

| key in files, environment | keyword | default | meaning |
|---|---|---|---|
| `agent.service.heartbeat.enable` | `enable` | true | false: `start()` does nothing |
| `heartbeat.interval` (ms) | `interval` (s) | 30 s | from 50 ms to 30 min; a Sermant backend's minimum is 3 s |
| `heartbeat.timeout` (ms) | `timeout` (s) | none | the lease wanted of heartfelt's monitor, sent as `timeoutMs` |
| `serviceName` | `service` | default | name of the service |
| `appName` | `app_name` | default | name of the application |
| `appType` | `app_type` | default | type of the application |
| `artifact` | `artifact` | none | name of the artifact |
| `dynamicInstall` | `dynamic_install` | false | whether the agent came into a program that ran already |
| `gateway.nettyIp` | `host` | 127.0.0.1 | the backend's host name or address |
| `gateway.nettyPort` | `port` | by transport | its port: 6888 (sermant), 8900 (http), 8901 (udp) |
| `gateway.nettyConnectTimeout` (ms) | `connect_timeout` (s) | 5 s | time limit of an attempt to connect |
| `gateway.initReconnectInternalTime` (s) | `first_reconnect` (s) | 5 s | wait after a failed attempt; then doubled |
| `gateway.maxReconnectInternalTime` (s) | `most_reconnect` (s) | 180 s | the longest such wait |
| `heartfelt.url` | `url` | none | the four above in one: http, https, udp, sermant, sermants (TLS) |
| `heartfelt.transport` | `transport` | sermant | `sermant` (Sermant's TCP protocol), `http` or `udp` |
| `heartfelt.backend` | `backend` | by transport | who listens: `sermant`, or `heartfelt` (http, udp) |
| `heartfelt.path` | `path` | /api/v1/beats | where beats are posted to by http |
| `heartfelt.write_timeout` (ms) | `write_timeout` (s) | 5 s | how long a connection may refuse to take a beat |
| `heartfelt.tls.enable` | `tls` | false | TLS, for sermant and http |
| `heartfelt.tls.ca` | `tls_ca` | the system's | file of the authorities that are trusted |
| `heartfelt.tls.hostname` | `tls_hostname` | the host | the name that the backend's certificate must have |
| `heartfelt.token` | `token` | none | secret that the monitor may ask for |
| `heartfelt.token_file` | `token_file` | none | file that has it instead, read at each start |
| `heartfelt.instance` | `instance` | new | `new` at each start, `stable` over restarts, or the id itself |
| `heartfelt.fork` | `fork` | restart | a forked child beats as another instance (`restart`) or not (`silent`) |
| `heartfelt.entry_points` | `entry_points` | true | whether installed packages may add plugins and extra information |
| `heartfelt.provider.timeout` (ms) | `provider_timeout` (s) | 1 s | time limit of a provider of extra information |
| `heartfelt.provider.limit` (bytes) | `provider_limit` | 65536 | the most that it may give, as JSON |

Precedence: keywords, then start arguments, environment, file, defaults. The environment has a key as it is, or with
each dot an underscore or a hyphen, in upper or lower case, the words of nettyIp together or apart: GATEWAY_NETTY_IP.
"""

from __future__ import annotations

from heartfelt.agent.config.agent_config import AgentConfig

__all__ = ["AgentConfig"]
