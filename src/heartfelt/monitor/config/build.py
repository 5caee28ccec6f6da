# SPDX-License-Identifier: MIT
"""Makes the policies and settings of the monitor's parts from its configuration."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from heartfelt.errors import ConfigError, StoreError
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.settings import OF_A_SERVICE
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy, ServicePolicy
from heartfelt.monitor.model import Level
from heartfelt.monitor.store.documents import Documents
from heartfelt.monitor.store.redis.address import RedisAddress, RedisOptions, parse_address, read_password
from heartfelt.monitor.store.redis.documents import RedisDocuments
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, Keys
from heartfelt.monitor.store.redis.opening import make_link
from heartfelt.monitor.store.sqlite import Retention, SqliteStore
from heartfelt.monitor.webhooks import WebhookSettings, levels_from, make_proxies

FILE = "heartfelt.db"


def make_policy(config: MonitorConfig) -> Policy:
    return Policy(
        lease_timeout_ms=_ms(config.lease_timeout),
        lease_job_timeout_ms=_ms(config.lease_job_timeout),
        lease_every_ms=_maybe_ms(config.lease_every),
        lease_grace_ms=_maybe_ms(config.lease_grace),
        lease_cache_ms=_ms(config.lease_cache),
        lease_stuck_after_ms=_maybe_ms(config.lease_stuck_after),
        services={
            name: ServicePolicy(**dict(_of_a_service(what, value) for what, value in one.items()))
            for name, one in config.services.items()
        },
        hold=HoldPolicy(
            enable=config.hold_enable,
            window_ms=_ms(config.hold_window),
            share=config.hold_share,
            least=config.hold_least,
            share_of_all=config.hold_share_of_all,
            least_of_all=config.hold_least_of_all,
            reconnect_ms=_ms(config.hold_reconnect),
            leak=config.hold_leak,
            longest_ms=_ms(config.hold_longest),
            release_per_s=float(config.hold_release_per_s),
        ),
    )


def _of_a_service(what: str, value: Any) -> tuple[str, Any]:
    field = OF_A_SERVICE[what].policy
    return field, _ms(value) if field.endswith("_ms") else value


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _maybe_ms(seconds: float | None) -> int | None:
    return None if seconds is None else _ms(seconds)


def make_retention(config: MonitorConfig) -> Retention:
    return Retention(
        events_ms=_ms(config.retention_events),
        changes_ms=_ms(config.retention_changes),
        deliveries_ms=_ms(config.retention_deliveries),
        file_bytes=config.retention_bytes,
    )


def make_store(config: MonitorConfig, wall_ms: Callable[[], int]) -> SqliteStore:
    return SqliteStore(Path(config.data) / FILE, retention=make_retention(config), wall_ms=wall_ms)


def webhook_levels(config: MonitorConfig) -> tuple[Level, ...]:
    """Returns the levels of a webhook that names none: `webhooks.level` and those more urgent. Empty: all."""
    return () if config.webhooks_level is None else levels_from(Level(config.webhooks_level.upper()))


def make_webhook_settings(config: MonitorConfig) -> WebhookSettings:
    """Raises ConfigError for a proxy that cannot be used."""
    public = urlsplit(config.http_public_url).hostname if config.http_public_url else None
    own_names = [name for name in (public, config.address("http")[0]) if name]
    return WebhookSettings(
        allow_private=config.webhooks_allow_private,
        levels=webhook_levels(config),
        proxies=make_proxies(config.webhooks_proxy, own_names=own_names),
        public_url=config.http_public_url,
    )


class _Encrypted(Exception):
    pass


def no_password() -> str:
    """Refuses to give a password. Without this callback OpenSSL would ask on the terminal, and wait."""
    raise _Encrypted


def make_tls(config: MonitorConfig) -> ssl.SSLContext | None:
    """Returns the TLS context for the certificate, if one is configured. Blocks to read the files.

    Raises ConfigError if the certificate cannot be used.
    """
    if config.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name in ("tls_cert", "tls_key"):
        if (path := getattr(config, name)) is not None:
            try:
                Path(path).open("rb").close()
            except OSError as error:
                key = name.replace("_", ".")
                raise ConfigError(f"{key} {path} cannot be read: {error.strerror or error}") from None
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key, password=no_password)
    except _Encrypted:
        raise ConfigError(
            f"{'tls.key' if config.tls_key else 'tls.cert'} {config.tls_key or config.tls_cert}: the key is encrypted, "
            "and nobody can enter its password; use an unencrypted key that only the monitor's user can read"
        ) from None
    except ssl.SSLError as error:
        raise ConfigError(f"tls.cert {config.tls_cert} and its key cannot be used: {error.reason or error}") from None
    return context


def make_redis(config: MonitorConfig) -> tuple[RedisAddress, RedisOptions] | None:
    """Returns how to connect to the shared Redis; None if there is none. Blocks to read files.

    Raises ConfigError for a file that cannot be used.
    """
    if config.store is None:
        return None
    try:
        for name in ("redis_password_file", "redis_sentinel_password_file"):
            if (path := getattr(config, name)) is not None:
                read_password(path, name.replace("_", ".", 1))
    except StoreError as error:
        raise ConfigError(str(error)) from None
    _check_certificates(config)
    options = RedisOptions(
        timeout_s=config.redis_timeout,
        password=config.redis_password,
        password_file=config.redis_password_file,
        sentinel_password=config.redis_sentinel_password,
        sentinel_password_file=config.redis_sentinel_password_file,
        ca=config.redis_ca,
        cert=config.redis_cert,
        key=config.redis_key,
    )
    return parse_address(config.store), options


def open_documents(config: MonitorConfig, kind: str, *, make: bool) -> Documents | RedisDocuments:
    """Opens the documents of a monitor that may be running. Blocks. make: creates the database if it does not exist.

    Raises ConfigError, and StoreError with the remedy.
    """
    redis = make_redis(config)
    if redis is None:
        return Documents(Path(config.data) / FILE, kind, make=make)
    return RedisDocuments(make_link(*redis), Keys(config.redis_prefix, MOST_SHARDS), kind)


def data_file(config: MonitorConfig) -> Path:
    """Returns the path of the database. Raises ConfigError if there is none, since the data are in Redis."""
    if config.store is not None:
        raise ConfigError(
            f"store is {parse_address(config.store)}, so there is no database in {config.data}: Redis has the data. "
            "Look at it, copy it and restore it by its own means, such as redis-cli --rdb and redis-check-aof"
        )
    return Path(config.data) / FILE


def _check_certificates(config: MonitorConfig) -> None:
    for name in ("redis_ca", "redis_cert", "redis_key"):
        if (path := getattr(config, name)) is not None:
            try:
                Path(path).open("rb").close()
            except OSError as error:
                raise ConfigError(f"redis.{name[6:]} {path} cannot be read: {error.strerror or error}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if config.redis_ca is not None:
            context.load_verify_locations(config.redis_ca)
    except ssl.SSLError as error:
        raise ConfigError(f"redis.ca {config.redis_ca} cannot be used: {error.reason or error}") from None
    try:
        if config.redis_cert is not None:
            context.load_cert_chain(config.redis_cert, config.redis_key, password="")
    except ssl.SSLError as error:
        raise ConfigError(
            f"redis.cert {config.redis_cert} and its key cannot be used: {error.reason or error}; the key must belong "
            "to the certificate, and must not be encrypted"
        ) from None
