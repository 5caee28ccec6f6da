# SPDX-License-Identifier: MIT
"""The table of the monitor's settings: name, kind of value, meaning, and Sermant's name where Sermant has one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from heartfelt._config.settings import SettingSpec, SettingsTable
from heartfelt._config.units import Size, share
from heartfelt._config.values import Bad, Duration, Kind, flag, host, maybe, one_of, text, whole
from heartfelt.errors import ConfigError
from heartfelt.monitor.config.names import allowed_hosts, base_path, public_url, trusted_proxies
from heartfelt.monitor.config.shared import advertise, prefix, store_url

DAY_S = 86400.0
LEVELS = ("emergency", "important", "normal")
_PORT = whole(0, 65535)
_FILE = maybe(text(4096))
_PASSWORD = maybe(text(4096))


def _setting(
    name: str,
    kind: Kind,
    meaning: str,
    sermant: str | None = None,
    sermant_kind: Kind | None = None,
    *,
    secret: bool = False,
) -> SettingSpec:
    return SettingSpec(
        name, name.replace(".", "_"), kind, meaning, secret=secret, sermant=sermant, sermant_kind=sermant_kind
    )


def _proxy(value: object, typed: bool) -> str | None:
    """The URL of a proxy, or `environment`. Error messages do not show it."""
    found = maybe(text(2048))(value, typed)
    if found is None:
        return None
    assert isinstance(found, str)
    if found.lower() == "environment":
        return "environment"
    from heartfelt.monitor.webhooks import make_proxies  # takes a while, and is seldom needed

    try:
        make_proxies(found)
    except ConfigError as error:
        raise Bad(f"{str(error).removeprefix('webhooks.proxy ')}, or `environment`") from None
    return found


SETTINGS = SettingsTable((
    _setting("data", text(4096), "folder for the monitor's data: an SQLite file and its lock"),
    _setting("store", store_url,
        "URL of the Redis that several monitors share: redis://, rediss://, redis+sentinel://, redis+cluster:// or "
        "unix://; not set: SQLite in the data folder", secret=True),
    _setting("host", host, "address to listen on, for all three ports"),
    _setting("http.host", maybe(host), "address to listen on for HTTP, if different", "server.address"),
    _setting("http.port", _PORT, "port for HTTP: panel, REST, pings, metrics; 0: any free port", "server.port"),
    _setting("http.allowed_hosts", allowed_hosts,
        "host names accepted in the Host header, besides IP addresses, localhost and that of http.public_url: monitor, "
        "*.svc, or * for any"),
    _setting("http.public_url", maybe(public_url),
        "URL at which people reach the monitor, if a proxy is in front of it: https://monitor.example/heartfelt"),
    _setting("http.base_path", base_path,
        "path below which a proxy serves the monitor, such as /heartfelt; not set: the path of http.public_url"),
    _setting("http.trusted_proxies", trusted_proxies,
        "addresses and networks of proxies whose X-Forwarded-For or Forwarded header names the client"),
    _setting("http.request_timeout", Duration(0.1, 3600), "time limit for receiving a complete request"),
    _setting("http.keep_alive", Duration(0.1, 3600), "time that a connection may be idle between requests"),
    _setting("http.header_bytes", Size(1024, 1 << 20), "maximum size of a request's headers"),
    _setting("http.viewers", whole(1, 10_000), "maximum number of open event streams (viewers)"),
    _setting("http.viewer_bytes", Size(4096, 1 << 28),
        "maximum size of a viewer's backlog; beyond it, the viewer reloads"),
    _setting("http.viewers_bytes", Size(1 << 20, 1 << 40),
        "maximum size of all viewers' backlogs together; beyond it, the slowest viewers reload"),
    _setting("tcp.enable", flag, "accept agents over TCP (Sermant's protocol)"),
    _setting("tcp.host", maybe(host), "address to listen on for agents' TCP, if different"),
    _setting("tcp.port", _PORT, "port for agents' TCP; 0: any free port", "netty.port"),
    _setting("udp.enable", flag, "accept beats over UDP"),
    _setting("udp.host", maybe(host), "address to listen on for UDP, if different"),
    _setting("udp.port", _PORT, "port for UDP; 0: any free port"),
    _setting("tls.cert", _FILE, "PEM file with the certificate and its chain"),
    _setting("tls.key", _FILE, "PEM file with the private key; not set: it is in tls.cert"),
    _setting("http.tls", flag, "use TLS for HTTP if there is a certificate"),
    _setting("tcp.tls", flag, "use TLS for agents' TCP if there is a certificate"),
    _setting("auth.require", one_of("auto",
        "always"), "when tokens are required: auto (if a port listens on an address that is not loopback) or always"),
    _setting("auth.tcp", flag, "require tokens for agents' TCP, too; Sermant's agents cannot send one"),
    _setting("lease.timeout", Duration(0.05, 30 * DAY_S), "an instance without a beat for this long is lost",
        "max.effective.time", Duration(0.05, 30 * DAY_S, "ms")),
    _setting("lease.every", maybe(Duration(0.05, 30 * DAY_S)),
        "period in which instances beat, until it is learned: one is lost after its period and grace, but not before "
        "lease.timeout"),
    _setting("lease.grace", maybe(Duration(0, 30 * DAY_S)),
        "an instance with a period is lost this long after it; not set: half of the period"),
    _setting("lease.job_timeout", Duration(0.05, 30 * DAY_S),
        "a job without a beat for this long is lost, until the period of its runs is learned"),
    _setting("lease.cache", Duration(0.05, 366 * DAY_S),
        "an instance without a beat for this long is removed, unless it is expected or the last of its service",
        "max.cache.time", Duration(0.05, 366 * DAY_S, "ms")),
    _setting("lease.stuck_after", maybe(Duration(0.05, DAY_S)),
        "an instance whose interpreter does not answer for this long is stuck"),
    _setting("hold.enable", flag, "hold losses when too many occur at once"),
    _setting("hold.share", share,
        "a service's losses are held if more than this share of it is lost within hold.window"),
    _setting("hold.least", whole(2, 1_000_000),
        "hold.share does not apply to a service with fewer instances, nor hold.leak if fewer miss beats"),
    _setting("hold.share_of_all", share,
        "all losses are held if more than this share of all instances is lost within hold.window"),
    _setting("hold.least_of_all", whole(2, 1_000_000), "with fewer instances in all, hold.share_of_all does not apply"),
    _setting("hold.window", Duration(0.05, 3600), "window in which losses are counted"),
    _setting("hold.reconnect", Duration(0, 3600),
        "how long an agent on TCP may wait before it reconnects; after a start it is given that much more time"),
    _setting("hold.leak", share, "losses are held if more than this share of the due beats gets lost on the way"),
    _setting("hold.longest", Duration(0.1, DAY_S), "maximum duration of a hold"),
    _setting("hold.release_per_s", whole(1, 1_000_000), "held losses reported per second when a hold ends"),
    _setting("limits.frame_bytes", Size(1024, 1 << 28), "maximum size of an agent's frame"),
    _setting("limits.gunzip_bytes", Size(1024, 1 << 28), "maximum size of gzip data when decompressed"),
    _setting("limits.body_bytes", Size(1024, 1 << 28), "maximum size of a request's body"),
    _setting("limits.beats_in_body", whole(1, 1_000_000), "maximum number of heartbeats in one request"),
    _setting("limits.key_bytes", whole(16, 65536), "maximum bytes in a service's name or an instance's id"),
    _setting("limits.meta_bytes", Size(256, 1 << 24), "maximum size of a heartbeat's metadata"),
    _setting("limits.event_bytes", Size(256, 1 << 24), "maximum size of an event"),
    _setting("limits.instances", whole(1, 10_000_000), "maximum number of instances"),
    _setting("limits.instances_of_client", whole(1, 10_000_000), "maximum number of instances from one address"),
    _setting("limits.beats_of_client_per_s", whole(1, 10_000_000),
        "maximum number of beats per second from one address"),
    _setting("limits.connections", whole(1, 1_000_000), "maximum number of open connections on each port"),
    _setting("limits.connection_idle", Duration(0.1, DAY_S),
        "an agent's connection that is silent for this long is closed",
        "netty.wait.time", Duration(0.1, DAY_S)),
    _setting("retention.events", Duration(60, 3660 * DAY_S), "time that events are kept",
        "database.event.expire", Duration(60, 3660 * DAY_S, "d")),
    _setting("retention.changes", Duration(60, 3660 * DAY_S), "time that changes of state are kept"),
    _setting("retention.deliveries", Duration(60, 3660 * DAY_S),
        "time that webhook deliveries are kept"),
    _setting("retention.bytes", Size(1 << 20, 1 << 46),
        "maximum size of the data file; beyond it, the oldest events are deleted"),
    _setting("webhooks.level", maybe(one_of(*LEVELS)),
        "lowest level that a webhook reports if it does not name its levels; not set: all (emergency for webhooks that "
        "Sermant's API makes)", "webhook.eventpush.level"),
    _setting("webhooks.allow_private", flag, "let webhooks call addresses in private networks"),
    _setting("webhooks.proxy", _proxy,
        "HTTP proxy that webhooks are called through: its URL, or `environment` for HTTPS_PROXY and the like",
        secret=True),
    _setting("redis.prefix", prefix, "first part of all keys in Redis; fleets with different ones can share a Redis"),
    _setting("redis.password", _PASSWORD, "password for Redis, if it is neither in the URL nor in a file", secret=True),
    _setting("redis.password_file", _FILE, "file with the password for Redis, read again for each connection"),
    _setting("redis.sentinel_password", _PASSWORD, "password for the Sentinels, if they demand one", secret=True),
    _setting("redis.sentinel_password_file", _FILE, "file with the password for the Sentinels"),
    _setting("redis.ca", _FILE, "PEM file with the CA that signed Redis' certificate; not set: the system's CAs"),
    _setting("redis.cert", _FILE, "PEM file with the monitor's own certificate, if Redis demands one"),
    _setting("redis.key", _FILE, "PEM file with its private key; not set: it is in redis.cert"),
    _setting("redis.timeout", Duration(0.05, 60),
        "time limit for connecting to Redis, and for a reply; shorter than cluster.lease"),
    _setting("redis.shards", whole(1, 64),
        "number of parts that a fleet is divided into; the same for all monitors, and for as long as Redis has data"),
    _setting("cluster.lease", Duration(0.5, 300),
        "a monitor that has not renewed its lease for this long is dead, and the others take over what it owns"),
    _setting("cluster.settle", Duration(0.01, 60),
        "time from the end of an instance's timeout to its loss, in which a beat that another monitor heard arrives"),
    _setting("cluster.comeback", Duration(1, 3600),
        "the longest time that instances of a dead monitor are given to beat to another one"),
    _setting("cluster.host", host, "address to listen on for the other monitors"),
    _setting("cluster.port", _PORT, "port for the other monitors; 0: any free port"),
    _setting("cluster.advertise", advertise,
        "address under which the other monitors reach this one, as HOST or HOST:PORT; not set: cluster.host"),
    _setting("cluster.secret_file", _FILE,
        "file with the secret that the monitors share; not set: they keep one in Redis"),
    _setting("cluster.cert", _FILE,
        "PEM file with the certificate for the other monitors, and its chain; not set: no TLS between monitors"),
    _setting("cluster.key", _FILE, "PEM file with its private key; not set: it is in cluster.cert"),
    _setting("cluster.ca", _FILE,
        "PEM file with the CA that has signed the other monitors' certificates; not set: the CAs of the system"),
    _setting("cluster.server_name", maybe(text(255)),
        "name in the other monitors' certificates; not set: the host of each one's address"),
    _setting("session.expire", Duration(1, DAY_S), "time that a paged query of Sermant's API stays valid",
        "session.expire"),
    _setting("log.level", one_of("debug", "info", "warning", "error"), "lowest level that is logged"),
))  # fmt: skip


def variable_of(setting: SettingSpec) -> str:
    """Returns the environment variable of a setting: HEARTFELT_ and the name in capitals, with underscores."""
    return "HEARTFELT_" + setting.field.upper()


BY_VARIABLE = {variable_of(one): one for one in SETTINGS}


@dataclass(frozen=True, slots=True)
class ServiceSetting:
    """A setting of one service."""

    spec: SettingSpec
    policy: str
    """The field of `ServicePolicy`. If it ends with _ms, the setting is a duration."""
    of_all: SettingSpec | None = None
    """The setting for all services, which applies without this one."""


def _like(name: str, policy: str) -> ServiceSetting:
    of_all = SETTINGS.by_name[name]
    return ServiceSetting(of_all, policy, of_all)


def _only(kind: Kind, meaning: str, policy: str) -> ServiceSetting:
    return ServiceSetting(SettingSpec("", "", kind, meaning), policy)


_RUN = Duration(0.001, 366 * DAY_S)
OF_A_SERVICE: Mapping[str, ServiceSetting] = MappingProxyType({
    "timeout": _like("lease.timeout", "lease_timeout_ms"),
    "every": _like("lease.every", "lease_every_ms"),
    "grace": _like("lease.grace", "lease_grace_ms"),
    "cache": _like("lease.cache", "lease_cache_ms"),
    "expected": _only(flag,
        "a lost instance stays until it beats or is removed by hand; default: only if it beats by its key", "expected"),
    "min_up": _only(whole(1, 1_000_000),
        "it is available while at least this many of its instances are up; default: 1", "min_up"),
    "max_duration": _only(_RUN, "a job's run that takes longer has failed", "max_duration_ms"),
    "min_duration": _only(_RUN, "a job's run that is shorter has failed", "min_duration_ms"),
})  # fmt: skip
"""Settings that can be set for one service, as service.NAME.timeout."""
SERVICE = re.compile(rf"service\.(.+)\.({'|'.join(OF_A_SERVICE)})")

# Keys of Sermant's backend and its frameworks that mean nothing to the monitor.
SERMANTS_OTHERS = re.compile(
    r"da(?:ta)?base\.(?!event\.)|spring\.|server\.|logging\.|netty\.|datasource\.|datatype\.|user\.|salt|"
    r"dynamic\.config\.|visibility\.|management\.|mybatis|security\.|kafka\.|fetch\.|heartbeat\.cache$"
)


def of_a_service(service: str, what: str) -> SettingSpec:
    """Returns the setting service.NAME.timeout or the like."""
    name = f"service.{service}.{what}"
    return replace(OF_A_SERVICE[what].spec, name=name, field=name)
