# SPDX-License-Identifier: MIT
"""Makes connections to Redis. Imports redis."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from redis import connection as connections
from redis import exceptions as wrong

from heartfelt.errors import StoreError
from heartfelt.monitor.store.redis.address import RedisAddress, RedisOptions, read_password

_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


class Dialer:
    """Any thread. Files are read again for each connection, so a new password or certificate needs no restart."""

    def __init__(self, address: RedisAddress, options: RedisOptions) -> None:
        self._address = address
        self._options = options
        self._has_worked = False

    def server(self, host: str, port: int) -> Any:
        """Connects to a server with data. Raises one of node.FAILURES."""
        address, options = self._address, self._options
        password = address.password or options.password
        if password is None and options.password_file is not None:
            password = read_password(options.password_file, "redis.password_file")
        return self._connect(host, port, address.user, password, address.db)

    def sentinel(self, host: str, port: int) -> Any:
        """Connects to a Sentinel. Raises one of node.FAILURES."""
        password = self._options.sentinel_password
        if password is None and self._options.sentinel_password_file is not None:
            password = read_password(self._options.sentinel_password_file, "redis.sentinel_password_file")
        return self._connect(host, port, None, password, 0)

    def _connect(self, host: str, port: int, user: str | None, password: str | None, db: int) -> Any:
        options: dict[str, Any] = {
            "socket_timeout": self._options.timeout_s,
            "socket_connect_timeout": self._options.timeout_s,
            "username": user,
            "password": password,
            "db": db,
            "protocol": 2,
        }
        kind: Any
        if self._address.path is not None:
            kind = connections.UnixDomainSocketConnection
            options |= {"path": self._address.path}
        else:
            kind = connections.Connection
            options |= {"host": host, "port": port, "socket_keepalive": True}
            options["socket_keepalive_options"] = {
                getattr(socket, name): value for name, value in _KEEPALIVE if hasattr(socket, name)
            }
        if self._address.tls:
            kind = connections.SSLConnection
            options |= {
                "ssl_ca_certs": self._options.ca,
                "ssl_certfile": self._options.cert,
                "ssl_keyfile": self._options.key,
                "ssl_cert_reqs": "required",
                "ssl_check_hostname": True,
                "ssl_min_version": ssl.TLSVersion.TLSv1_2,
                "ssl_password": "",  # otherwise OpenSSL asks for that of an encrypted key on the terminal, and waits
            }
        made = kind(**options)
        try:
            made.connect()
        except BaseException as error:
            made.disconnect()
            hint = None if self._has_worked else _hint(error, self._address, self._options.cert)
            if hint is not None:
                raise StoreError(hint) from None
            raise
        self._has_worked = True
        return made


def _hint(error: BaseException, address: RedisAddress, cert: str | None) -> str | None:
    """Says what is probably wrong if the two sides disagree about TLS: neither tells the other. A server that demands a
    certificate says so, and closes; which of both is noticed first is chance."""
    if address.tls and isinstance(error, wrong.TimeoutError):
        return "it does not answer in time (redis.timeout); if it does not speak TLS at this port, write redis://"
    closed = any(text in str(error) for text in ("closed by server", "reset by peer", "Broken pipe"))
    if not closed or not isinstance(error, wrong.ConnectionError):
        return None
    if address.tls and cert is None:
        return "it closes the connection at once; if it demands a certificate, set redis.cert and redis.key"
    if not address.tls:
        return "it closes the connection at once; if it demands TLS at this port, write rediss:// instead of redis://"
    return None
