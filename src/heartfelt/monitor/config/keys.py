# SPDX-License-Identifier: MIT
"""The keys of the monitor's configuration: name, field, kind of the value, meaning; and Sermant's names of them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from heartfelt._checks import shown
from heartfelt._config.units import share, size, words
from heartfelt._config.values import Bad, Kind, duration, flag, host, maybe, one_of, text, whole
from heartfelt.errors import ConfigError

DAY_S = 86400.0
LEVELS = ("emergency", "important", "normal")
_PORT = whole(0, 65535)
_FILE = maybe(text(4096))


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    """In TOML and, as HEARTFELT_ and in capitals with underscores, in the environment."""
    field: str
    kind: Kind
    meaning: str
    sermant: str | None = None
    """Its name in Sermant's application.properties."""
    sermant_kind: Kind | None = None
    """How it is written there, if otherwise."""

    @property
    def variable(self) -> str:
        return "HEARTFELT_" + re.sub(r"[.\-]", "_", self.name).upper()


KEYS = (
    Key("data", "data", text(4096), "folder of the monitor's data: one SQLite file, and its lock"),
    Key("host", "host", host, "address that all three ports are bound to"),
    Key("http.host", "http_host", maybe(host), "the HTTP port's address, if another", "server.address"),
    Key("http.port", "http_port", _PORT, "HTTP: REST, pings, metrics; 0: any free one", "server.port"),
    Key("http.allowed_hosts", "allowed_hosts", words, "names in the Host header that are served, beside addresses"),
    Key("http.request_timeout", "request_timeout_s", duration(0.1, 3600), "in which a request must have come whole"),
    Key("http.keep_alive", "keep_alive_s", duration(0.1, 3600), "how long a connection may be idle between requests"),
    Key("http.header_bytes", "header_bytes", size(1024, 1 << 20), "the most that a request's head may have"),
    Key("http.viewers", "viewers", whole(1, 10_000), "how many streams of events may be open at once"),
    Key("http.viewer_bytes", "viewer_bytes", size(4096, 1 << 28), "what may wait for one viewer; more: it reads anew"),
    Key("tcp.enable", "tcp_enable", flag, "whether agents are served over TCP, by Sermant's protocol"),
    Key("tcp.host", "tcp_host", maybe(host), "the agents' port's address, if another"),
    Key("tcp.port", "tcp_port", _PORT, "agents; 0: any free one", "netty.port"),
    Key("udp.enable", "udp_enable", flag, "whether datagrams are taken"),
    Key("udp.host", "udp_host", maybe(host), "the datagrams' port's address, if another"),
    Key("udp.port", "udp_port", _PORT, "datagrams; 0: any free one"),
    Key("tls.cert", "tls_cert", _FILE, "PEM file of the certificate and its chain"),
    Key("tls.key", "tls_key", _FILE, "PEM file of its key; none: it stands in tls.cert"),
    Key("http.tls", "http_tls", flag, "with a certificate: whether HTTP has TLS"),
    Key("tcp.tls", "tcp_tls", flag, "with a certificate: whether agents' connections have TLS"),
    Key("auth.require", "auth_require", one_of("auto", "always"), "auto: tokens are needed beyond loopback addresses"),
    Key("auth.tcp", "auth_tcp", flag, "tokens, where needed, for TCP, too; Sermant's agents cannot send one"),
    Key("lease.timeout", "lease_timeout_s", duration(0.05, 30 * DAY_S), "no beat for so long: lost",
        "max.effective.time", duration(0.05, 30 * DAY_S, "ms")),
    Key("lease.cache", "lease_cache_s", duration(0.05, 366 * DAY_S), "no beat for so long: removed",
        "max.cache.time", duration(0.05, 366 * DAY_S, "ms")),
    Key("lease.stuck_after", "stuck_after_s", maybe(duration(0.05, DAY_S)), "interpreter silent for so long: stuck"),
    Key("hold.enable", "hold_enable", flag, "whether losses are held when too many come at once"),
    Key("hold.share", "hold_share", share, "of a service's instances: more within the window are held"),
    Key("hold.least", "hold_least", whole(2, 1_000_000), "of a service: never held below so many instances"),
    Key("hold.share_of_all", "hold_share_of_all", share, "of all instances: more within the window are held"),
    Key("hold.least_of_all", "hold_least_of_all", whole(2, 1_000_000), "never held below so many instances in all"),
    Key("hold.window", "hold_window_s", duration(0.05, 3600), "the window in which losses are counted"),
    Key("hold.longest", "hold_longest_s", duration(0.1, DAY_S), "the latest end of a hold"),
    Key("hold.release_per_s", "hold_release_per_s", whole(1, 1_000_000), "how many held losses a second are told then"),
    Key("limits.frame_bytes", "frame_bytes", size(1024, 1 << 28), "of an agent's frame"),
    Key("limits.gunzip_bytes", "gunzip_bytes", size(1024, 1 << 28), "of what gzip holds"),
    Key("limits.body_bytes", "body_bytes", size(1024, 1 << 28), "of a request's body"),
    Key("limits.beats_in_body", "beats_in_body", whole(1, 1_000_000), "heartbeats in one request"),
    Key("limits.key_bytes", "key_bytes", whole(16, 65536), "of a service's name, and of an instance's id"),
    Key("limits.meta_bytes", "meta_bytes", size(256, 1 << 24), "of what is kept of a heartbeat"),
    Key("limits.event_bytes", "event_bytes", size(256, 1 << 24), "of an event"),
    Key("limits.instances", "instances", whole(1, 10_000_000), "instances in all"),
    Key("limits.instances_of_client", "instances_of_client", whole(1, 10_000_000), "instances that one address brings"),
    Key("limits.beats_of_client_per_s", "beats_of_client_per_s", whole(1, 10_000_000), "beats a second of one address"),
    Key("limits.connections", "connections", whole(1, 1_000_000), "open connections, on each port"),
    Key("limits.connection_idle", "connection_idle_s", duration(0.1, DAY_S),
        "an agent's connection silent for this long is closed",
        "netty.wait.time", duration(0.1, DAY_S)),
    Key("retention.events", "keep_events_s", duration(60, 3660 * DAY_S), "how long events are kept",
        "database.event.expire", duration(60, 3660 * DAY_S, "d")),
    Key("retention.changes", "keep_changes_s", duration(60, 3660 * DAY_S), "how long changes of state are kept"),
    Key("retention.deliveries", "keep_deliveries_s", duration(60, 3660 * DAY_S),
        "how long webhooks' deliveries are kept"),
    Key("retention.bytes", "keep_bytes", size(1 << 20, 1 << 46), "size of the file beyond which old events go"),
    Key("webhooks.level", "webhook_level", one_of(*LEVELS), "lowest level that new webhooks tell, if they name none",
        "webhook.eventpush.level"),
    Key("webhooks.allow_private", "webhook_private", flag, "whether webhooks may call private networks"),
    Key("session.expire", "session_expire_s", duration(1, DAY_S), "how long a paged query of Sermant's stays valid",
        "session.expire"),
    Key("log.level", "log_level", one_of("debug", "info", "warning", "error"), "the least that is logged"),
)  # fmt: skip
BY_NAME = {key.name: key for key in KEYS}
BY_FIELD = {key.field: key for key in KEYS}
BY_SERMANT = {key.sermant: key for key in KEYS if key.sermant}
BY_VARIABLE = {key.variable: key for key in KEYS}

SERVICE = re.compile(r"service\.(.+)\.(timeout|cache)")
SERVICE_KINDS = {"timeout": duration(0.05, 30 * DAY_S), "cache": duration(0.05, 366 * DAY_S)}

# Keys of Sermant's backend, and of the frameworks under it, that the monitor has no use for.
SERMANTS_OTHERS = re.compile(
    r"database\.(address|user|password|version|max\.|timeout|connect|salt|key|pool|cluster)|spring\.|server\.|logging\.|"
    r"netty\.|datasource\.|user\.|salt|dynamic\.config\.|visibility\.|management\.|mybatis|security\."
)


def like(name: str, known: dict[str, Key]) -> str:
    """'; did you mean ...?' where a key looks like it, else nothing."""
    near = difflib.get_close_matches(name, known, 1, 0.7)
    return f"; did you mean {near[0]}?" if near else ""


def checked(kind: Kind, value: object, name: str, place: str | None) -> object:
    """What is meant by a value; `place` it was written at, None by keyword. Raises ConfigError with both."""
    try:
        return kind(value, place is None)
    except Bad as bad:
        label = name if place is None else f"{place}: {name}"
        raise ConfigError(f"{label} {bad}; got {shown(value)}") from None
