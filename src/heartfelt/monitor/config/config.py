# SPDX-License-Identifier: MIT
"""The monitor's configuration: from a file, the environment and flags; each value knows where it was set."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from heartfelt.errors import ConfigError
from heartfelt.monitor.config.names import ANY_HOST
from heartfelt.monitor.config.settings import OF_A_SERVICE, SETTINGS, of_a_service
from heartfelt.monitor.config.shared import EVERYWHERE
from heartfelt.monitor.config.sources import MonitorSource, checked, from_environ, from_file, from_flags
from heartfelt.monitor.model import Limits
from heartfelt.monitor.store.redis.address import RedisAddress, parse_address

DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """A monitor's configuration; `settings.py` says what each value means. Durations are in seconds.

    The constructor takes values by keyword and reads neither files nor the environment; `load` does. Raises ConfigError
    for an invalid value. `warnings` lists what is valid but probably not intended.
    """

    data: str = "heartfelt-data"
    store: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    http_host: str | None = None
    http_port: int = 8900
    http_allowed_hosts: tuple[str, ...] = ()
    http_public_url: str | None = None
    http_base_path: str = ""
    http_trusted_proxies: tuple[str, ...] = ()
    http_request_timeout: float = 20.0
    http_keep_alive: float = 65.0
    http_header_bytes: int = 64 << 10
    http_viewers: int = 500
    http_viewer_bytes: int = 4 << 20
    http_viewers_bytes: int = 64 << 20
    tcp_enable: bool = True
    tcp_host: str | None = None
    tcp_port: int = 6888
    udp_enable: bool = True
    udp_host: str | None = None
    udp_port: int = 8901
    tls_cert: str | None = None
    tls_key: str | None = None
    http_tls: bool = True
    tcp_tls: bool = True
    auth_require: str = "auto"
    auth_tcp: bool = True
    lease_timeout: float = 60.0
    lease_every: float | None = None
    lease_grace: float | None = None
    lease_job_timeout: float = 25 * 3600.0
    lease_cache: float = 600.0
    lease_stuck_after: float | None = None
    hold_enable: bool = True
    hold_share: float = 0.5
    hold_least: int = 5
    hold_share_of_all: float = 0.3
    hold_least_of_all: int = 10
    hold_window: float = 5.0
    hold_reconnect: float = 180.0
    hold_leak: float = 0.02
    hold_longest: float = 900.0
    hold_release_per_s: int = 20
    limits_frame_bytes: int = Limits().frame_bytes
    limits_gunzip_bytes: int = Limits().gunzip_bytes
    limits_body_bytes: int = Limits().body_bytes
    limits_beats_in_body: int = Limits().beats_in_body
    limits_key_bytes: int = Limits().key_bytes
    limits_meta_bytes: int = Limits().meta_bytes
    limits_event_bytes: int = Limits().event_bytes
    limits_instances: int = Limits().instances
    limits_instances_of_client: int = Limits().instances_of_client
    limits_beats_of_client_per_s: int = Limits().beats_of_client_per_s
    limits_connections: int = Limits().connections
    limits_connection_idle: float = Limits().connection_idle
    retention_events: float = 7 * 86400.0
    retention_changes: float = 90 * 86400.0
    retention_deliveries: float = 7 * 86400.0
    retention_bytes: int = 1 << 30
    webhooks_level: str | None = None
    webhooks_allow_private: bool = False
    webhooks_proxy: str | None = field(default=None, repr=False)
    redis_prefix: str = "hf"
    redis_password: str | None = field(default=None, repr=False)
    redis_password_file: str | None = None
    redis_sentinel_password: str | None = field(default=None, repr=False)
    redis_sentinel_password_file: str | None = None
    redis_ca: str | None = None
    redis_cert: str | None = None
    redis_key: str | None = None
    redis_timeout: float = 2.0
    redis_shards: int = 16
    cluster_lease: float = 5.0
    cluster_settle: float = 0.2
    cluster_comeback: float = 5.0
    cluster_host: str = "127.0.0.1"
    cluster_port: int = 0
    cluster_advertise: str | None = None
    cluster_secret_file: str | None = None
    cluster_cert: str | None = None
    cluster_key: str | None = None
    cluster_ca: str | None = None
    cluster_server_name: str | None = None
    session_expire: float = 60.0
    log_level: str = "info"
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The settings of services that have their own, by the names in OF_A_SERVICE."""
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        for setting in SETTINGS:
            if setting.field not in self.places:  # values with a place were checked when they were read
                object.__setattr__(self, setting.field, checked(setting, getattr(self, setting.field)))
        for name, of_service in self.services.items():
            for what, value in of_service.items():
                if what not in OF_A_SERVICE:
                    raise ConfigError(
                        f"services: {name}: unknown setting {what} of a service; known are {', '.join(OF_A_SERVICE)}"
                    )
                checked(of_a_service(name, what), value)
        self._check_together()

    @classmethod
    def load(
        cls,
        file: str | Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> MonitorConfig:
        """Loads the configuration from all sources. `flags` (by settings' names) override the environment (`environ`
        replaces os.environ), which overrides the file: TOML, or .properties with Sermant's names.

        Blocks to read files. Raises ConfigError that names file and line, variable or flag.
        """
        environ = os.environ if environ is None else environ
        sources = [from_file(Path(file), environ, flags or {})] if file is not None else []
        sources.append(from_environ(environ))
        sources.append(from_flags(flags or {}))
        total = MonitorSource()
        for source in sources:
            total.override(source)
        values: dict[str, Any] = {**total.values}
        return cls(**values, services=total.services, places=total.places, warnings=tuple(total.warnings))

    def address(self, which: str) -> tuple[str, int]:
        """Returns the host and port that "http", "tcp" or "udp" listens on."""
        host: str | None = getattr(self, f"{which}_host")
        port: int = getattr(self, f"{which}_port")
        return host or self.host, port

    def is_local(self, which: str) -> bool:
        """Whether it can be reached from this machine only."""
        return is_loopback(self.address(which)[0])

    @property
    def listeners(self) -> tuple[str, ...]:
        """The enabled listeners, of "http", "tcp" and "udp"."""
        return ("http", *(name for name in ("tcp", "udp") if getattr(self, f"{name}_enable")))

    @property
    def auth_needed(self) -> bool:
        """Whether tokens are required: always, or because a port can be reached from other machines."""
        return self.auth_require == "always" or not all(map(self.is_local, self.listeners))

    @property
    def base_path(self) -> str:
        """The path below which people reach the monitor: "", or one such as /heartfelt."""
        return self.http_base_path or urlsplit(self.http_public_url or "").path

    @property
    def why_auth(self) -> str:
        """Says why tokens are required, or that they are not. Continues a sentence."""
        if self.auth_require == "always":
            return f"{self.at('auth_require')} is always"
        far = [f"{name} on {self.address(name)[0]}" for name in self.listeners if not self.is_local(name)]
        return f"other machines can reach this monitor ({', '.join(far)})" if far else "no other machine can reach it"

    @property
    def http_url(self) -> str:
        """The URL of the monitor, as far as its configuration tells: `http.public_url`, or its own address."""
        if self.http_public_url:
            return self.http_public_url.rstrip("/")
        host, port = self.address("http")
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        scheme = "https" if self.tls_cert and self.http_tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{self.base_path}"

    @property
    def limits(self) -> Limits:
        return Limits(**{name: getattr(self, f"limits_{name}") for name in Limits.__struct_fields__})

    def sources(self) -> list[dict[str, object]]:
        """Lists all settings for people: name, value, source, default, meaning, unit."""
        defaults = {one.name: one.default for one in fields(self)}
        rows: list[dict[str, object]] = [
            {
                "name": one.name,
                "value": _plain(getattr(self, one.field), secret=one.secret),
                "source": self.places.get(one.field, DEFAULT),
                "default": _plain(defaults[one.field]),
                "meaning": one.meaning,
                "unit": one.unit,
            }
            for one in SETTINGS
        ]
        rows += [
            self._of_a_service(service, what, value)
            for service, of_service in self.services.items()
            for what, value in of_service.items()
        ]
        return rows

    def _of_a_service(self, service: str, what: str, value: object) -> dict[str, object]:
        spec, of_all = of_a_service(service, what), OF_A_SERVICE[what].of_all
        return {
            "name": spec.name,
            "value": value,
            "source": self.places.get(spec.name, "keyword"),
            "default": None if of_all is None else getattr(self, of_all.field),
            "meaning": f"for the service {service}: {spec.meaning}",
            "unit": spec.unit,
        }

    def at(self, field_name: str) -> str:
        """Names a setting, and the place where it was set."""
        name = SETTINGS.by_field[field_name].name
        return f"{self.places[field_name]}: {name}" if field_name in self.places else name

    def _check_together(self) -> None:
        pairs = [("", self.lease_timeout, self.lease_cache)]
        for name, one in self.services.items():
            timeout, cache = one.get("timeout", self.lease_timeout), one.get("cache", self.lease_cache)
            pairs.append((f"service.{name}: ", timeout, cache))
        for label, timeout, cache in pairs:
            if cache < timeout:
                where = label or f"{self.at('lease_cache')} "
                raise ConfigError(
                    f"{where}{cache:g} s, after which an instance is removed, is shorter than the timeout of "
                    f"{timeout:g} s, after which it is lost; set a longer cache or a shorter timeout"
                )
        for name, one in self.services.items():
            least, most = one.get("min_duration"), one.get("max_duration")
            if least is not None and most is not None and least > most:
                raise ConfigError(
                    f"service.{name}: min_duration {least:g} s is longer than max_duration {most:g} s; swap them"
                )
        self._check_period()
        self._check_names()
        self._check_redis()
        if self.tls_key and not self.tls_cert:
            raise ConfigError(f"{self.at('tls_key')} is set but tls.cert is not; set the certificate's file, too")
        if self.tls_cert is None and not all(map(self.is_local, self.listeners)):
            self._warn("ports can be reached from other machines without TLS; set tls.cert and tls.key")

    def _check_names(self) -> None:
        public = urlsplit(self.http_public_url or "").path
        if self.http_public_url and self.http_base_path and self.http_base_path != public:
            raise ConfigError(
                f"{self.at('http_base_path')} {self.http_base_path} is not the path of http.public_url, "
                f"{public or '/'}; set one of them, and leave out the other"
            )
        if ANY_HOST in self.http_allowed_hosts and not self.auth_needed:
            self._warn(
                f"{self.at('http_allowed_hosts')} has *, and no token is required: any page that a browser on this "
                "machine shows can use the monitor (DNS rebinding); list the names, or set auth.require = always"
            )

    def _check_period(self) -> None:
        for name, one in self.services.items():
            if "timeout" in one and (others := [what for what in ("every", "grace") if what in one]):
                self._warn(
                    f"service.{name}.timeout is the whole time until a loss, and service.{name}.{others[0]} does not "
                    f"change it; leave out one of them"
                )
        if self.lease_every is None:
            return
        grace = self.lease_every / 2 if self.lease_grace is None else self.lease_grace
        if self.lease_every + grace <= self.lease_timeout:
            self._warn(
                f"{self.at('lease_every')} {self.lease_every:g} s and its grace of {grace:g} s are within the "
                f"lease.timeout of {self.lease_timeout:g} s, which applies; set a shorter one to find losses sooner"
            )

    def _check_redis(self) -> None:
        for name in ("redis_password", "redis_sentinel_password"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ConfigError(f"{self.at(name)} and {self.at(f'{name}_file')} are both set; leave out one of them")
        if self.redis_key and not self.redis_cert:
            raise ConfigError(f"{self.at('redis_key')} is set but redis.cert is not; set the certificate's file, too")
        for name in ("cluster_key", "cluster_ca", "cluster_server_name"):
            if getattr(self, name) and not self.cluster_cert:
                raise ConfigError(f"{self.at(name)} is set but cluster.cert is not; set the certificate's file, too")
        if self.store is None:
            return
        address = parse_address(self.store)
        if address.password is not None:
            for name in ("redis_password", "redis_password_file"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"{self.at(name)} is set, but the URL in store has a password; leave out one")
            if self.places.get("store", "").startswith("flag "):
                self._warn(
                    "the password in --store can be seen by every user of this machine; write it into a file, and name "
                    "that in redis.password_file"
                )
        if self.redis_timeout >= self.cluster_lease:
            raise ConfigError(
                f"{self.at('redis_timeout')} {self.redis_timeout:g} s is not shorter than cluster.lease, "
                f"{self.cluster_lease:g} s: one lost reply would cost this monitor all it owns; set a shorter one"
            )
        self._check_channel(address)
        if address.tls:
            return
        if not all(is_loopback(host) for host, _ in address.hosts):
            self._warn("the monitor's data, and its password, go to Redis without TLS; use rediss:// if you can")
        if unused := [name for name in ("ca", "cert", "key") if getattr(self, f"redis_{name}")]:
            self._warn(f"redis.{unused[0]} is set, but store has no TLS; write rediss:// instead of redis://")

    def _check_channel(self, address: RedisAddress) -> None:
        if self.cluster_advertise is not None:
            return
        if self.cluster_host in EVERYWHERE:
            raise ConfigError(
                f"{self.at('cluster_host')} {self.cluster_host} is no address that the other monitors can connect to; "
                f"set cluster.advertise to the address under which they reach this machine"
            )
        if is_loopback(self.cluster_host) and not all(is_loopback(host) for host, _ in address.hosts):
            self._warn(
                f"cluster.host is {self.cluster_host}, so monitors on other machines cannot reach this one; set it, or "
                f"cluster.advertise, to an address that they reach"
            )

    def _warn(self, text: str) -> None:
        object.__setattr__(self, "warnings", (*self.warnings, text))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _plain(value: object, *, secret: bool = False) -> object:
    if secret and isinstance(value, str) and value != "environment":
        return re.sub(r"//[^/]*@", "//***@", value) if "://" in value else "***"  # user and password in a URL
    return list(value) if isinstance(value, tuple) else value
