# SPDX-License-Identifier: MIT
"""From a configuration to a sender's plan: the token is read, the TLS context made."""

from __future__ import annotations

import ssl
from pathlib import Path

from heartfelt._config.settings import check
from heartfelt.agent.config import AgentConfig
from heartfelt.agent.config.settings import SETTINGS
from heartfelt.agent.line import Plan
from heartfelt.errors import ConfigError

LARGEST_TOKEN_FILE = 64 * 1024


def plan_of(config: AgentConfig) -> Plan:
    """Blocks to read files. Raises ConfigError for a token's or an authorities' file that is no such thing."""
    return Plan(
        transport=config.transport,
        host=config.host,
        port=config.port or 0,  # it has one: config completes it
        path=config.path,
        tls=_context(config.tls_ca) if config.tls else None,
        server_hostname=config.tls_hostname,
        token=config.token or (_token_of(config.token_file) if config.token_file else None),
        interval_s=config.interval,
        connect_timeout_s=config.connect_timeout,
        write_timeout_s=config.write_timeout,
        first_reconnect_s=config.first_reconnect,
        most_reconnect_s=config.most_reconnect,
    )


def _context(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or str(error)
        raise ConfigError(f"tls_ca: {ca} must be a file of certificates in PEM form that can be read: {why}") from None


def _token_of(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_TOKEN_FILE)
    except OSError as error:
        raise ConfigError(f"token_file: {path} cannot be read: {error.strerror or error}") from None
    return str(check(SETTINGS.by_field["token"], data.decode("ascii", "replace").strip(), f"token_file {path}"))
