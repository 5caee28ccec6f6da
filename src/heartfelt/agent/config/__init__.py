# SPDX-License-Identifier: MIT
"""The agent's configuration.

| key in files, environment | keyword | default | meaning |
|---|---|---|---|
| `agent.service.heartbeat.enable` | `enable` | true | false: `start()` does nothing |
| `heartbeat.interval` (ms) | `interval` (s) | 30 s | from 50 ms to 30 min; a Sermant backend's minimum is 3 s |
| `heartbeat.timeout` (ms) | `timeout` (s) | none | timeout for heartfelt's monitor to use, sent as `timeoutMs` |
| `serviceName` | `service` | default | name of the service |
| `appName` | `app_name` | default | name of the application |
| `appType` | `app_type` | default | type of the application |
| `artifact` | `artifact` | none | name of the artifact |
| `dynamicInstall` | `dynamic_install` | false | whether the agent was loaded into a running program |
| `gateway.nettyIp` | `host` | 127.0.0.1 | the backend's host name or address |
| `gateway.nettyPort` | `port` | by transport | its port: 6888 (sermant), 8900 (http), 8901 (udp) |
| `gateway.nettyConnectTimeout` (ms) | `connect_timeout` (s) | 5 s | time limit of an attempt to connect |
| `gateway.initReconnectInternalTime` (s) | `first_reconnect` (s) | 5 s | wait after a failed attempt, then doubled |
| `gateway.maxReconnectInternalTime` (s) | `most_reconnect` (s) | 180 s | the longest wait, or a third of the timeout |
| `heartfelt.url` | `url` | none | transport, address and TLS in one: http, https, udp, sermant, sermants |
| `heartfelt.transport` | `transport` | sermant | `sermant` (Sermant's TCP protocol), `http` or `udp` |
| `heartfelt.backend` | `backend` | by transport | the kind of backend: `sermant`, or `heartfelt` (http, udp) |
| `heartfelt.path` | `path` | /api/v1/beats | path that beats are posted to by http |
| `heartfelt.write_timeout` (ms) | `write_timeout` (s) | 5 s | how long a connection may refuse to take a beat |
| `heartfelt.tls.enable` | `tls` | false | TLS, for sermant and http |
| `heartfelt.tls.ca` | `tls_ca` | the system's | file of trusted CA certificates |
| `heartfelt.tls.hostname` | `tls_hostname` | the host | name that the backend's certificate must be for |
| `heartfelt.token` | `token` | none | token, if the monitor requires one |
| `heartfelt.token_file` | `token_file` | none | file with the token instead, read at each start |
| `heartfelt.instance` | `instance` | new | `new` at each start, `stable` over restarts, or the id itself |
| `heartfelt.fork` | `fork` | restart | a forked child beats as another instance (`restart`) or not (`silent`) |
| `heartfelt.entry_points` | `entry_points` | true | whether installed packages may add plugins and extra information |
| `heartfelt.provider.timeout` (ms) | `provider_timeout` (s) | 1 s | time limit of a provider of extra information |
| `heartfelt.provider.limit` (bytes) | `provider_limit` | 65536 | largest size of what it returns, as JSON |

Precedence, highest first: keywords, start arguments, environment, file, defaults. In the environment, a key may be
written as it is, or with underscores or hyphens for dots, in upper or lower case, and with the words of a name such as
nettyIp joined or separated: GATEWAY_NETTY_IP.
"""

from __future__ import annotations

from heartfelt.agent.config.agent_config import AgentConfig

__all__ = ["AgentConfig"]
