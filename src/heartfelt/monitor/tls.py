# SPDX-License-Identifier: MIT
"""The certificate of the monitor's ports: replaced while the ports are open, and watched for its expiry.

Connections are accepted with one context for ever. At each handshake it hands over to the newest one, so a certificate
is replaced as a whole or not at all; connections that exist keep theirs.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.build import make_tls
from heartfelt.monitor.metric import Reading, gauge

__all__ = ["Certificate", "ServerTls", "load_tls"]

DAY_S = 86_400.0
WARN_S = 21 * DAY_S
"""How long before its expiry people are warned of it, once a day."""
LOOK_S = 3600.0
"""How often the expiry is looked at."""
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""
_TURNS = 10
"""More turns than a handshake takes."""
EXPIRY = gauge(
    "heartfelt_tls_certificate_expiry_timestamp_seconds", "When the certificate of the ports expires", unit="seconds"
)
_logger = logging.getLogger("heartfelt.monitor")


class Certificate(NamedTuple):
    """The validity of a certificate. Times are seconds since the epoch."""

    not_before_s: float
    not_after_s: float
    unfit_name: str | None = None
    """The host in http.public_url, if the certificate is not valid for it."""

    def warning(self, now_s: float) -> str | None:
        """Returns what is wrong with it, or soon will be, with the remedy."""
        if now_s >= self.not_after_s:
            return f"expired at {_date(self.not_after_s)}, and clients refuse it; {_REMEDY}"
        if now_s < self.not_before_s:
            return f"is not valid before {_date(self.not_before_s)}; set the clock, or {_REMEDY}"
        if self.unfit_name is not None:
            return f"is not valid for {self.unfit_name}, the host in http.public_url; {_REMEDY}"
        if now_s >= self.not_after_s - WARN_S:
            days = int((self.not_after_s - now_s) // DAY_S)
            left = f"{days} days" if days > 1 else f"{int((self.not_after_s - now_s) // 3600)} hours"
            return f"expires in {left}, at {_date(self.not_after_s)}; {_REMEDY}"
        return None


_REMEDY = "replace the files and send SIGHUP"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


class LoadedTls(NamedTuple):
    """A context that was read and checked, and its certificate. None: the certificate cannot be understood."""

    context: ssl.SSLContext
    certificate: Certificate | None
    path: str


def load_tls(config: MonitorConfig) -> LoadedTls | None:
    """Reads certificate and key; None if none is configured. Blocks. Raises ConfigError if they cannot be used."""
    context = make_tls(config)
    if context is None or config.tls_cert is None:
        return None
    return LoadedTls(context, _read(context, config), config.tls_cert)


def _read(context: ssl.SSLContext, config: MonitorConfig) -> Certificate | None:
    """Reads the certificate by a handshake in memory, in which a client trusts exactly this one, expired or not."""
    assert config.tls_cert is not None
    host = urlsplit(config.http_public_url).hostname if config.http_public_url and config.http_tls else None
    try:
        fields = _shake_hands(context, config.tls_cert, None)
        not_before, not_after = (str(fields[name]) for name in ("notBefore", "notAfter"))
        unfit = None if host is None or _fits(context, config.tls_cert, host) else host
        return Certificate(ssl.cert_time_to_seconds(not_before), ssl.cert_time_to_seconds(not_after), unfit)
    except (OSError, KeyError, ValueError) as error:  # ssl.SSLError is an OSError
        _logger.warning("tls.cert %s: a client could not read its validity: %s", config.tls_cert, error)
        return None


def _fits(context: ssl.SSLContext, path: str, host: str) -> bool:
    try:
        _shake_hands(context, path, host)
    except ssl.SSLCertVerificationError:
        return False
    return True


def _shake_hands(context: ssl.SSLContext, path: str, host: str | None) -> dict[str, object]:
    """Returns the certificate's fields. host: its name is checked, too."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = host is not None
    trusting.verify_flags = ssl.VerifyFlags(
        int(trusting.verify_flags) | int(ssl.VERIFY_X509_PARTIAL_CHAIN) | NO_CHECK_TIME
    )
    if ssl.HAS_NEVER_CHECK_COMMON_NAME:
        trusting.hostname_checks_common_name = False  # as browsers and most other clients
    trusting.load_verify_locations(path)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=host)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(_TURNS):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
        if client in done:
            break
    return dict(client.getpeercert() or {})


class ServerTls:
    """`context` is what the ports accept with. Belongs to the loop's thread."""

    def __init__(self, loaded: LoadedTls, wall_s: Callable[[], float] = time.time) -> None:
        self._loaded = loaded
        self._wall_s = wall_s
        self._warned_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.context = loaded.context
        self.context.sni_callback = self._hand_over

    def _hand_over(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Called by each handshake, also if the client names no host."""
        if self._loaded.context is not self.context:
            connection.context = self._loaded.context

    def use(self, loaded: LoadedTls) -> None:
        """Uses another certificate for connections from now on, and warns if there is something wrong with it."""
        self._loaded = loaded
        self._warn()

    def start(self) -> None:
        """Warns of an expiry, now and once a day."""
        self._warn()
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def stop(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self.look()
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def look(self) -> None:
        """Warns, unless that was done within the last day."""
        if not 0 <= self._wall_s() - self._warned_s < DAY_S:
            self._warn()

    def _warn(self) -> None:
        if (warning := self.warning()) is not None:
            self._warned_s = self._wall_s()
            _logger.warning("the certificate tls.cert %s %s", self._loaded.path, warning)

    def warning(self) -> str | None:
        """Returns what is wrong with the certificate now, or soon will be."""
        certificate = self._loaded.certificate
        return None if certificate is None else certificate.warning(self._wall_s())

    def readings(self) -> Iterator[Reading]:
        if self._loaded.certificate is not None:
            yield EXPIRY.reading(self._loaded.certificate.not_after_s)
