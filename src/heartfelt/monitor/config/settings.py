# SPDX-License-Identifier: MIT
"""The table of the monitor's settings: name, kind of value, meaning, and Sermant's name where Sermant has one."""

from __future__ import annotations

import re
from dataclasses import replace

from heartfelt._config.settings import Setting, Settings
from heartfelt._config.units import Size, share, words
from heartfelt._config.values import Duration, Kind, flag, host, maybe, one_of, text, whole

DAY_S = 86400.0
LEVELS = ("emergency", "important", "normal")
_PORT = whole(0, 65535)
_FILE = maybe(text(4096))


def _setting(
    name: str, kind: Kind, meaning: str, sermant: str | None = None, sermant_kind: Kind | None = None
) -> Setting:
    return Setting(name, name.replace(".", "_"), kind, meaning, sermant=sermant, sermant_kind=sermant_kind)


SETTINGS = Settings((
    _setting("data", text(4096), "folder of the monitor's data: one SQLite file, and its lock"),
    _setting("host", host, "address that all three ports are bound to"),
    _setting("http.host", maybe(host), "the HTTP port's address, if another", "server.address"),
    _setting("http.port", _PORT, "HTTP: REST, pings, metrics; 0: any free one", "server.port"),
    _setting("http.allowed_hosts", words, "names in the Host header that are served, beside addresses"),
    _setting("http.request_timeout", Duration(0.1, 3600), "in which a request must have come whole"),
    _setting("http.keep_alive", Duration(0.1, 3600), "how long a connection may be idle between requests"),
    _setting("http.header_bytes", Size(1024, 1 << 20), "the most that a request's head may have"),
    _setting("http.viewers", whole(1, 10_000), "how many streams of events may be open at once"),
    _setting("http.viewer_bytes", Size(4096, 1 << 28), "what may wait for one viewer; more: it reads anew"),
    _setting("tcp.enable", flag, "whether agents are served over TCP, by Sermant's protocol"),
    _setting("tcp.host", maybe(host), "the agents' port's address, if another"),
    _setting("tcp.port", _PORT, "agents; 0: any free one", "netty.port"),
    _setting("udp.enable", flag, "whether datagrams are taken"),
    _setting("udp.host", maybe(host), "the datagrams' port's address, if another"),
    _setting("udp.port", _PORT, "datagrams; 0: any free one"),
    _setting("tls.cert", _FILE, "PEM file of the certificate and its chain"),
    _setting("tls.key", _FILE, "PEM file of its key; none: it stands in tls.cert"),
    _setting("http.tls", flag, "with a certificate: whether HTTP has TLS"),
    _setting("tcp.tls", flag, "with a certificate: whether agents' connections have TLS"),
    _setting("auth.require", one_of("auto", "always"), "auto: tokens are needed beyond loopback addresses"),
    _setting("auth.tcp", flag, "tokens, where needed, for TCP, too; Sermant's agents cannot send one"),
    _setting("lease.timeout", Duration(0.05, 30 * DAY_S), "no beat for so long: lost",
        "max.effective.time", Duration(0.05, 30 * DAY_S, "ms")),
    _setting("lease.cache", Duration(0.05, 366 * DAY_S), "no beat for so long: removed",
        "max.cache.time", Duration(0.05, 366 * DAY_S, "ms")),
    _setting("lease.stuck_after", maybe(Duration(0.05, DAY_S)), "interpreter silent for so long: stuck"),
    _setting("hold.enable", flag, "whether losses are held when too many come at once"),
    _setting("hold.share", share, "of a service's instances: more within the window are held"),
    _setting("hold.least", whole(2, 1_000_000), "of a service: never held below so many instances"),
    _setting("hold.share_of_all", share, "of all instances: more within the window are held"),
    _setting("hold.least_of_all", whole(2, 1_000_000), "never held below so many instances in all"),
    _setting("hold.window", Duration(0.05, 3600), "the window in which losses are counted"),
    _setting("hold.longest", Duration(0.1, DAY_S), "the latest end of a hold"),
    _setting("hold.release_per_s", whole(1, 1_000_000), "how many held losses a second are told then"),
    _setting("limits.frame_bytes", Size(1024, 1 << 28), "of an agent's frame"),
    _setting("limits.gunzip_bytes", Size(1024, 1 << 28), "of what gzip holds"),
    _setting("limits.body_bytes", Size(1024, 1 << 28), "of a request's body"),
    _setting("limits.beats_in_body", whole(1, 1_000_000), "heartbeats in one request"),
    _setting("limits.key_bytes", whole(16, 65536), "of a service's name, and of an instance's id"),
    _setting("limits.meta_bytes", Size(256, 1 << 24), "of what is kept of a heartbeat"),
    _setting("limits.event_bytes", Size(256, 1 << 24), "of an event"),
    _setting("limits.instances", whole(1, 10_000_000), "instances in all"),
    _setting("limits.instances_of_client", whole(1, 10_000_000), "instances that one address brings"),
    _setting("limits.beats_of_client_per_s", whole(1, 10_000_000), "beats a second of one address"),
    _setting("limits.connections", whole(1, 1_000_000), "open connections, on each port"),
    _setting("limits.connection_idle", Duration(0.1, DAY_S),
        "an agent's connection silent for this long is closed",
        "netty.wait.time", Duration(0.1, DAY_S)),
    _setting("retention.events", Duration(60, 3660 * DAY_S), "how long events are kept",
        "database.event.expire", Duration(60, 3660 * DAY_S, "d")),
    _setting("retention.changes", Duration(60, 3660 * DAY_S), "how long changes of state are kept"),
    _setting("retention.deliveries", Duration(60, 3660 * DAY_S),
        "how long webhooks' deliveries are kept"),
    _setting("retention.bytes", Size(1 << 20, 1 << 46), "size of the file beyond which old events go"),
    _setting("webhooks.level", one_of(*LEVELS), "lowest level that new webhooks tell, if they name none",
        "webhook.eventpush.level"),
    _setting("webhooks.allow_private", flag, "whether webhooks may call private networks"),
    _setting("session.expire", Duration(1, DAY_S), "how long a paged query of Sermant's stays valid",
        "session.expire"),
    _setting("log.level", one_of("debug", "info", "warning", "error"), "the least that is logged"),
))  # fmt: skip


def variable_of(setting: Setting) -> str:
    """Returns the environment variable of a setting: HEARTFELT_ and the name in capitals, with underscores."""
    return "HEARTFELT_" + setting.field.upper()


BY_VARIABLE = {variable_of(one): one for one in SETTINGS}

SERVICE = re.compile(r"service\.(.+)\.(timeout|cache)")
OF_A_SERVICE = {"timeout": SETTINGS.by_name["lease.timeout"], "cache": SETTINGS.by_name["lease.cache"]}
"""Settings that a service may have of its own, as service.NAME.timeout, with the setting for all services."""

# Keys of Sermant's backend, and of the frameworks under it, that the monitor has no use for.
SERMANTS_OTHERS = re.compile(
    r"database\.(address|user|password|version|max\.|timeout|connect|salt|key|pool|cluster)|spring\.|server\.|logging\.|"
    r"netty\.|datasource\.|user\.|salt|dynamic\.config\.|visibility\.|management\.|mybatis|security\."
)


def of_a_service(service: str, what: str) -> Setting:
    """Returns the setting service.NAME.timeout or service.NAME.cache."""
    return replace(OF_A_SERVICE[what], name=f"service.{service}.{what}", field=f"service.{service}.{what}")
