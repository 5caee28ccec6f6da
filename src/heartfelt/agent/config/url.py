# SPDX-License-Identifier: MIT
"""URLs of backends: http://, https://, udp://, sermant:// and sermants:// (Sermant's protocol over TLS)."""

from __future__ import annotations

from urllib.parse import urlsplit

from heartfelt.errors import ConfigError

PORTS = {"sermant": 6888, "http": 8900, "udp": 8901}
BEATS_PATH = "/api/v1/beats"
_SCHEMES = {
    "http": ("http", False),
    "https": ("http", True),
    "udp": ("udp", False),
    "sermant": ("sermant", False),
    "tcp": ("sermant", False),
    "sermants": ("sermant", True),
}
_FORM = "a URL such as http://127.0.0.1:8900, https://monitor, udp://monitor:8901 or sermant://monitor:6888"


def split_url(url: str, where: str) -> dict[str, object]:
    """Splits a URL into the keywords that it stands for: transport, host, port, tls, and for http path. Without a port,
    https means 443, and the others heartfelt's default port.

    Raises ConfigError, which does not show the URL: it may contain a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{where} must be {_FORM}; its host or port is invalid") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError(f"{where} must be {_FORM}")
    if "@" in parts.netloc:
        raise ConfigError(f"{where} must not contain a user name or a password: use a token instead (heartfelt.token)")
    if parts.query or parts.fragment:
        raise ConfigError(f"{where} must not contain ? or #: beats go to the path {BEATS_PATH} below it")
    if port == 0:
        raise ConfigError(f"{where} must have a port from 1 to 65535")
    transport, tls = _SCHEMES[parts.scheme]
    path = parts.path.rstrip("/")
    if path and transport != "http":
        raise ConfigError(f"{where} must not have a path: only http URLs have one")
    found: dict[str, object] = {
        "transport": transport,
        "host": parts.hostname,
        "port": port or (443 if parts.scheme == "https" else PORTS[transport]),
        "tls": tls,
    }
    if transport == "http":
        found["path"] = path + BEATS_PATH
    return found
