# SPDX-License-Identifier: MIT
"""Makes a line's plan from the configuration: reads the token, makes the TLS context."""

from __future__ import annotations

import ssl

from heartfelt._net.tls import client_context
from heartfelt._net.token import read_token
from heartfelt.agent.config import AgentConfig
from heartfelt.agent.config.agent_config import SERMANT_TIMEOUT_S
from heartfelt.agent.line import Plan
from heartfelt.errors import ConfigError


def plan_of(config: AgentConfig) -> Plan:
    """Blocks to read files. Raises ConfigError for a token file or a CA file that cannot be used.

    No wait before it reconnects is longer than a third of its timeout: an agent that waits longer counts as lost after
    its monitor has returned.
    """
    longest_s = (config.timeout or SERMANT_TIMEOUT_S) / 3
    return Plan(
        transport=config.transport,
        host=config.host,
        port=config.port or 0,  # it has one: config completes it
        path=config.path,
        tls=_tls(config.tls_ca) if config.tls else None,
        server_hostname=config.tls_hostname,
        token=config.token or (read_token(config.token_file, "token_file") if config.token_file else None),
        interval_s=config.interval,
        connect_timeout_s=config.connect_timeout,
        write_timeout_s=config.write_timeout,
        first_reconnect_s=min(config.first_reconnect, longest_s),
        most_reconnect_s=min(config.most_reconnect, longest_s),
    )


def _tls(ca: str | None) -> ssl.SSLContext:
    try:
        return client_context(ca)
    except ConfigError as error:
        raise ConfigError(f"tls_ca: {error}") from None
