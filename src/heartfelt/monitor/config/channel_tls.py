# SPDX-License-Identifier: MIT
"""TLS between the monitors of a fleet, and their secret.

Who connects checks the certificate of the one that listens; that one knows who has connected by the fleet's secret,
which is never sent.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from heartfelt.errors import ConfigError
from heartfelt.monitor.config.config import MonitorConfig

__all__ = ["LEAST_SECRET", "ChannelTls", "make_channel_tls", "read_secret"]

LEAST_SECRET = 16
"""The least bytes of the secret."""


class ChannelTls(NamedTuple):
    server: ssl.SSLContext
    """For connections from other monitors."""
    client: ssl.SSLContext
    """For connections to them."""


def make_channel_tls(config: MonitorConfig) -> ChannelTls | None:
    """Reads cluster.cert, cluster.key and cluster.ca; None: no TLS. Blocks. Raises ConfigError for one that cannot be
    used."""
    if config.cluster_cert is None:
        return None
    for name in ("cert", "key", "ca"):
        if (path := getattr(config, f"cluster_{name}")) is not None:
            try:
                Path(path).open("rb").close()
            except OSError as error:
                raise ConfigError(f"cluster.{name} {path} cannot be read: {error.strerror or error}") from None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        server.load_cert_chain(config.cluster_cert, config.cluster_key, password="")
    except ssl.SSLError as error:
        raise ConfigError(
            f"cluster.cert {config.cluster_cert} and its key cannot be used: {error.reason or error}; the key must "
            "belong to the certificate, and must not be encrypted"
        ) from None
    try:
        client = ssl.create_default_context(cafile=config.cluster_ca)
    except ssl.SSLError as error:
        raise ConfigError(f"cluster.ca {config.cluster_ca} cannot be used: {error.reason or error}") from None
    return ChannelTls(server, client)


def read_secret(config: MonitorConfig) -> bytes | None:
    """Reads cluster.secret_file; None: it is not set. Blocks. Raises ConfigError for one that cannot be used."""
    if (path := config.cluster_secret_file) is None:
        return None
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cluster.secret_file {path} cannot be read: {error.strerror or error}") from None
    if len(secret) < LEAST_SECRET:
        raise ConfigError(
            f"cluster.secret_file {path} has {len(secret)} bytes; it must have at least {LEAST_SECRET} bytes"
        )
    return secret
