# SPDX-License-Identifier: MIT
"""Reloads configuration, tokens and certificate of a running monitor (SIGHUP).

The new configuration is read and checked as a whole first. If anything in it is invalid, nothing changes. `LIVE` lists
the settings that apply to a running monitor; a change of any other one is named in a warning, and needs a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.build import make_policy, make_retention
from heartfelt.monitor.config.channel_tls import ChannelTls, make_channel_tls
from heartfelt.monitor.config.settings import SETTINGS
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.monitor import Monitor
from heartfelt.monitor.tasks import run_in_thread
from heartfelt.monitor.tls import LoadedTls, load_tls

__all__ = ["LIVE", "LIVE_OF_A_SERVICE", "Reload"]

SLICE = 500
"""Instances whose timeouts are set again before others get their turn."""
LIVE: Mapping[str, str] = {
    "tls.cert": "connections that begin from now on",
    "tls.key": "connections that begin from now on",
    "cluster.cert": "connections between monitors that begin from now on",
    "cluster.key": "connections between monitors that begin from now on",
    "cluster.ca": "connections between monitors that begin from now on",
    "http.allowed_hosts": "requests from now on",
    "lease.timeout": "all instances",
    "lease.every": "all instances",
    "lease.grace": "all instances",
    "lease.job_timeout": "all instances",
    "lease.cache": "losses from now on",
    "lease.stuck_after": "all instances",
    "limits.instances": "instances that join from now on",
    "limits.instances_of_client": "instances that join from now on",
    "retention.events": "all rows",
    "retention.changes": "all rows",
    "retention.deliveries": "all rows",
    "retention.bytes": "the whole file",
    "log.level": "messages from now on",
}
"""Settings that a reload changes, and what they then apply to. The others need a restart."""
LIVE_OF_A_SERVICE = frozenset(("timeout", "every", "grace", "cache", "expected", "max_duration", "min_duration"))
"""Settings of one service, service.NAME.timeout and the like, that a reload changes."""
FIGURES: Figures = {
    "reloads": counter("heartfelt_reloads", "Reloads of configuration, tokens and certificate"),
    "failures": counter("heartfelt_reload_failures", "Reloads that were refused, since something was invalid"),
    "last_ms": gauge(
        "heartfelt_reload_last_timestamp_seconds", "When the last successful reload was", unit="seconds"
    ).from_ms(),
    "failed": gauge("heartfelt_reload_failed", "1 if the last reload was refused, otherwise 0"),
}
_logger = logging.getLogger("heartfelt.monitor")


class Reload:
    """`await run()` reloads once. Belongs to the loop's thread.

    load: reads the configuration again; None: there is no file, so only tokens and certificate are read again.
    """

    def __init__(self, monitor: Monitor, load: Callable[[], MonitorConfig] | None) -> None:
        self._monitor = monitor
        self._load = load
        self._lock = asyncio.Lock()
        self.reloads = self.failures = 0
        self.last_ms: int | None = None
        self.error: str | None = None
        self.need_restart: tuple[str, ...] = ()

    async def run(self) -> bool:
        """Reloads. Returns whether it was accepted; if it was not, the monitor goes on with what it had. Never raises
        an error of the configuration: it is logged, counted and kept in `error`."""
        async with self._lock:
            try:
                await self._run()
            except (HeartfeltError, OSError) as error:
                self._refused(str(error))
            except Exception as error:
                _logger.exception("the reload failed")
                self._refused(repr(error))
            return self.error is None

    def _refused(self, why: str) -> None:
        self.failures += 1
        self.error = why
        _logger.error("the reload was refused, and everything stays as it is: %s", why)

    async def _run(self) -> None:
        monitor = self._monitor
        old = monitor.config
        wanted, loaded, channel = await run_in_thread("heartfelt-reload", lambda: self._read(old))
        effective, restart = combine(old, wanted)
        await monitor.auth.reload()
        changed = _changed_names(old, effective)
        self._apply(effective, loaded, channel if old.cluster_cert else None)
        if any(name.startswith(("lease.", "service.")) for name in changed):
            await self._retime()
        self.reloads += 1
        self.last_ms = monitor.wall_ms()
        self.error = None
        self.need_restart = restart
        _logger.info("reloaded: %s", ", ".join(changed) if changed else "tokens and certificate; no setting changed")
        for warning in wanted.warnings:
            if warning not in old.warnings:
                _logger.warning("%s", warning)
        if restart:
            _logger.warning("these settings have changed, and need a restart of the monitor: %s", ", ".join(restart))

    def _read(self, old: MonitorConfig) -> tuple[MonitorConfig, LoadedTls | None, ChannelTls | None]:
        """Reads files, on a thread of its own. Raises ConfigError."""
        wanted = old if self._load is None else self._load()
        make_policy(wanted)
        return wanted, load_tls(wanted), make_channel_tls(wanted)

    def _apply(self, config: MonitorConfig, loaded: LoadedTls | None, channel: ChannelTls | None) -> None:
        monitor = self._monitor
        policy, retention = make_policy(config), make_retention(config)  # before anything changes: they may raise
        logging.getLogger().setLevel(config.log_level.upper())
        if monitor.tls is not None and loaded is not None:
            monitor.tls.use(loaded)
        if monitor.cluster is not None and channel is not None:
            monitor.cluster.channel.set_tls(channel.server, channel.client)
        monitor.shield.allow(config.http_allowed_hosts)
        monitor.store.retain(retention)
        monitor.registry.use(policy, config.limits)
        monitor.config = monitor.api.config = config

    async def _retime(self) -> None:
        registry = self._monitor.registry
        ids = registry.ids()
        for begin in range(0, len(ids), SLICE):
            registry.retime(ids[begin : begin + SLICE])
            await asyncio.sleep(0)

    def stats(self) -> dict[str, Any]:
        return {
            "reloads": self.reloads,
            "failures": self.failures,
            "failed": int(self.error is not None),
            "error": self.error,
            "last_ms": self.last_ms,
            "need_restart": list(self.need_restart),
        }

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())


def combine(old: MonitorConfig, wanted: MonitorConfig) -> tuple[MonitorConfig, tuple[str, ...]]:
    """Returns the configuration that a monitor with `old` has after a reload of `wanted`, and the names of the settings
    that have changed but need a restart. Raises ConfigError if the two do not go together."""
    changes: dict[str, Any] = {}
    restart: list[str] = []
    places = dict(old.places)
    for setting in SETTINGS:
        value = getattr(wanted, setting.field)
        if value == getattr(old, setting.field):
            continue
        part = setting.name.partition(".")[0]
        turns_tls = part in ("tls", "cluster") and not all(getattr(one, f"{part}_cert") for one in (old, wanted))
        if setting.name not in LIVE or turns_tls:
            restart.append(setting.name)
            continue
        changes[setting.field] = value
        places.pop(setting.field, None)
        if setting.field in wanted.places:
            places[setting.field] = wanted.places[setting.field]
    services: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys((*old.services, *wanted.services)):
        had, has = old.services.get(name, {}), wanted.services.get(name, {})
        kept = {what: value for what, value in had.items() if what not in LIVE_OF_A_SERVICE}
        restart += [
            f"service.{name}.{what}"
            for what in dict.fromkeys((*had, *has))
            if what not in LIVE_OF_A_SERVICE and had.get(what) != has.get(what)
        ]
        if one := kept | {what: value for what, value in has.items() if what in LIVE_OF_A_SERVICE}:
            services[name] = one
        for what in dict.fromkeys((*had, *has)):
            place = f"service.{name}.{what}"
            if what in LIVE_OF_A_SERVICE:
                places.pop(place, None)
                if place in wanted.places:
                    places[place] = wanted.places[place]
    made = replace(old, **changes, services=services, places=places, warnings=())
    others = tuple(text for text in wanted.warnings if text not in made.warnings)  # of the sources
    return replace(made, warnings=others), tuple(restart)


def _changed_names(old: MonitorConfig, new: MonitorConfig) -> list[str]:
    names = [one.name for one in SETTINGS if getattr(old, one.field) != getattr(new, one.field)]
    for name in dict.fromkeys((*old.services, *new.services)):
        had, has = old.services.get(name, {}), new.services.get(name, {})
        names += [f"service.{name}.{what}" for what in dict.fromkeys((*had, *has)) if had.get(what) != has.get(what)]
    return names
