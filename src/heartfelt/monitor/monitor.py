# SPDX-License-Identifier: MIT
"""The monitor: makes its parts, starts them in order, stops them in reverse order, and reports their state."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.build import make_policy, make_store, make_webhook_settings
from heartfelt.monitor.descriptors import available, shares
from heartfelt.monitor.fanout import Fanout
from heartfelt.monitor.fleet.polling import Polling
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.history import Lateness, RateHistory
from heartfelt.monitor.ingest import HttpIngest, Intake, SermantServer, UdpServer
from heartfelt.monitor.metric import Reading, counter
from heartfelt.monitor.model import State
from heartfelt.monitor.stopping import Stopping
from heartfelt.monitor.store import Store
from heartfelt.monitor.store.metrics import readings as store_readings
from heartfelt.monitor.tasks import LEFT_RUNNING, run_in_thread
from heartfelt.monitor.tls import ServerTls, load_tls
from heartfelt.monitor.upkeep import FAULTS, Upkeep
from heartfelt.monitor.web.api.parts import ApiParts, Ready
from heartfelt.monitor.web.api.routes import ENDPOINTS
from heartfelt.monitor.web.api.sessions import Sessions
from heartfelt.monitor.web.auth import Auth
from heartfelt.monitor.web.forwarded import Proxies
from heartfelt.monitor.web.metrics import Metrics
from heartfelt.monitor.web.shield import Shield
from heartfelt.monitor.web.stream import Stream
from heartfelt.monitor.webhooks import Webhooks
from heartfelt.monitor.webhooks.history import Positions
from heartfelt.testing import ManualClock

if TYPE_CHECKING:
    from heartfelt.monitor.cluster.member import ClusterMember

HUBS_S = 2.0
"""How long the hubs may take to close."""
CLIENTS_GONE = counter("heartfelt_api_disconnected", "Clients that closed the connection before they were answered")
SILENT_S = 10.0
"""If no verdict was read for this long, the monitor does not do its work; there is at least a tick each second."""
SESSIONS_EVICTED = counter(
    "heartfelt_api_sessions_evicted", "Paged queries of Sermant's API that ended early since there were too many"
)
LARGE_BODIES = counter("heartfelt_api_large_bodies", "Requests to the API that were refused because of a large body")
HOLD_UP_S = 0.5
"""By how much the end of a part may be late beyond its bound, on a busy machine, before it is given up."""


class StartError(HeartfeltError):
    """The monitor cannot start; the message names the remedy."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def make_cluster(config: MonitorConfig, wall_ms: Callable[[], int]) -> ClusterMember | None:
    """Returns what makes a monitor a member of a fleet; None without a Redis. Raises ConfigError."""
    if config.store is None:
        return None
    from heartfelt.monitor.cluster.member import ClusterMember  # only then is it needed, and the extra for Redis

    return ClusterMember(config, wall_ms)


class Monitor:
    """Everything except the HTTP server, which calls `app.App`. Belongs to one event loop's thread."""

    def __init__(
        self,
        config: MonitorConfig,
        *,
        clock: str | ManualClock = "monotonic",
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        self.config = config
        self.wall_ms = wall_ms
        self.started_ms = wall_ms()
        self._started_s = time.monotonic()
        self.cluster = cluster = make_cluster(config, wall_ms)
        """This monitor as a member of a fleet; None: it is on its own."""
        self.store: Store = make_store(config, wall_ms) if cluster is None else cluster.store
        self.stream = Stream(
            most_viewers=config.http_viewers,
            viewer_bytes=config.http_viewer_bytes,
            viewers_bytes=config.http_viewers_bytes,
        )
        self.auth = Auth(self.store, needed=config.auth_needed, tcp_needed=config.auth_tcp, wall_ms=wall_ms)
        self.auth.on_revoked.append(self.stream.ask_again)
        self.proxies = Proxies(config.http_trusted_proxies)
        self.shield = Shield(config.http_allowed_hosts, knows=self.auth.knows, public_url=config.http_public_url)
        self.registry = Registry(
            make_policy(config),
            clock=clock,
            wall_ms=wall_ms,
            limits=config.limits,
            owners=None if cluster is None else cluster.ownership,
        )
        self.polling = Polling(self.registry)
        self.intake = Intake(self.registry, config.limits, auth=self.auth.allows, tokens=self.auth, wall_ms=wall_ms)
        self.metrics = Metrics(self.readings, refresh=self.refresh_metrics)
        self.lateness = Lateness()
        if cluster is None:
            self.webhooks = self._make_webhooks(self.store)
        else:
            cluster.attach(self.registry, self.intake, self.stream, self._make_webhooks, self._use_webhooks)
            self.webhooks = cluster.leading.webhooks
        self.fanout = Fanout(
            registry=self.registry,
            store=self.store,
            stream=self.stream if cluster is None else cluster.relay,
            webhooks=self.webhooks if cluster is None else cluster.leading,
            observe_late_ms=self._observe_late_ms,
            accepts=cluster is not None,
        )
        rates = RateHistory()
        self.upkeep = Upkeep(
            registry=self.registry,
            store=self.store,
            stream=self.stream if cluster is None else cluster.relay,
            rates=rates,
            events_taken=lambda: sum(self.intake.counters.events.values()),
            reload_tokens=self.auth.reload,
            observe_lag_s=self.metrics.loop_lag.observe,
            wall_ms=wall_ms,
            put_beats=None if cluster is None else cluster.ownership.put_beats,
        )
        if cluster is not None:
            cluster.ownership.on_accepted.append(self.fanout.accepted)
            cluster.ownership.collect_beats = self.upkeep.checkpoint
        self.http_ingest = HttpIngest(self.intake, body_s=config.http_request_timeout, store=self.store.health)
        self.api = ApiParts(
            config=config,
            registry=self.registry,
            store=self.store,
            stream=self.stream,
            webhooks=self.webhooks,
            auth=self.auth,
            sessions=Sessions(config.session_expire, wall_ms),
            metrics=self.metrics,
            rates=rates,
            lateness=self.lateness,
            started_ms=self.started_ms,
            wall_ms=wall_ms,
            uptime_s=self.uptime_s,
            store_uptime=self.upkeep.store_uptime,
            stats=self.stats,
            readiness=self.readiness,
        )
        if cluster is not None:
            cluster.serve(self.api, ENDPOINTS)
        self.tls: ServerTls | None = None
        """The certificate of the ports, if one is configured; after the start."""
        self.tcp: SermantServer | None = None
        self.udp: UdpServer | None = None
        self.clients_gone = 0
        self.more_stats: dict[str, Callable[[], dict[str, Any]]] = {}
        self.more_readings: list[Callable[[], Iterable[Reading]]] = []
        self.stopping = Stopping()
        self.stopping.add("the hubs", self.registry.close, seconds=HUBS_S, blocks=True)

    async def start(self) -> None:
        """Returns when agents can beat. If it raises StartError, ConfigError or StoreError, it has stopped again."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        stopping = self.stopping
        loaded = load_tls(self.config)
        if loaded is not None:
            self.tls = ServerTls(loaded)
        if self.cluster is not None:
            await self.cluster.check()
        stopping.add("the store", self.store.close, seconds=self.store.stop_s + HOLD_UP_S, blocks=True)
        with _no_collections():
            saved = await run_in_thread("heartfelt-store-open", self.store.open)
            await self.auth.reload()
            self._check_tokens()
            self.fanout.connect()
            stopping.add("the counts' timer", self.fanout.close, seconds=0.0)
            self.registry.restore(saved)
            self.intake.restore(saved.removed)
            del saved
        stopping.add("the polling", self.polling.stop, seconds=0.0)
        self.polling.start()
        if self.cluster is None:
            stopping.add("the webhooks", self.webhooks.stop, seconds=self.webhooks.stop_s + HOLD_UP_S)
            await self.webhooks.start()
        else:
            await self._join_fleet(self.cluster)
        self.upkeep.start()
        stopping.add("the upkeep", self.upkeep.stop, seconds=self.upkeep.end_s + HOLD_UP_S)
        await self._listen()
        if self.tls is not None:
            stopping.add("the certificate's watch", self.tls.stop, seconds=0.0)
            self.tls.start()

    async def _join_fleet(self, cluster: ClusterMember) -> None:
        try:
            await cluster.listen()
        except OSError as error:
            raise StartError(cannot_listen("cluster", *self.config.address("cluster"), error)) from error
        await cluster.start(self.stopping)

    def _make_webhooks(
        self, store: Store, positions: Positions | None = None, heard_ms: Callable[[], int] | None = None
    ) -> Webhooks:
        settings = make_webhook_settings(self.config)
        wall_ms = self.wall_ms if self.cluster is None else self.cluster.wall_ms  # which all agree on, for claims
        webhooks = Webhooks(store, settings, wall_ms=wall_ms, positions=positions, heard_ms=heard_ms)
        webhooks.on_event.append(lambda event: self.fanout.record(event))
        return webhooks

    def _use_webhooks(self, webhooks: Webhooks) -> None:
        self.webhooks = self.api.webhooks = webhooks

    async def _listen(self) -> None:
        config = self.config
        if config.tcp_enable:
            context = self.tls.context if self.tls is not None and config.tcp_tls else None
            host, port = config.address("tcp")
            most = shares(config.limits_connections, available(), tcp=True).tcp
            tcp = SermantServer(self.intake, host=host, port=port, auth=self.auth.allows_tcp, tls=context, most=most)
            self.stopping.add("the TCP port", tcp.stop, seconds=tcp.stop_s + HOLD_UP_S)
            await _bound("tcp", config, tcp.start)
            self.auth.on_revoked.append(tcp.ask_again)
            self.tcp = tcp
        if config.udp_enable:
            host, port = config.address("udp")
            udp = UdpServer(self.intake, host=host, port=port)
            self.stopping.add("the UDP port", udp.stop, seconds=udp.stop_s + HOLD_UP_S)
            await _bound("udp", config, udp.start)
            self.udp = udp

    def _check_tokens(self) -> None:
        if not self.auth.needed or self.auth.tokens():
            return
        config = self.config
        remedy = "set auth.require to auto" if config.auth_require == "always" else "set host to 127.0.0.1"
        if config.auth_require == "always" and not all(map(config.is_local, config.listeners)):
            remedy += " and host to 127.0.0.1"
        where = f"--data {config.data}" if config.store is None else "--set store=URL"
        made = f"create one with `heartfelt token create NAME --scope admin {where}`, or {remedy}"
        raise StartError(f"{config.why_auth}, so a token is needed, and there is none: {made}")

    def begin_stop(self) -> None:
        """Ends requests that would delay the end of an HTTP server: streams, and tests of webhooks. Idempotent."""
        self.stopping.has_begun = True
        self.stream.close()
        self.webhooks.trials.end()

    async def stop(self) -> None:
        """Stops taking beats, ends the streams and flushes the store. Idempotent. Errors are logged only.

        Each part has a bound of its own. A part that does not stop within it is logged by its name with its stack, and
        left running. The bounds, in the order of the stop:

            UDP port 1 s, TCP port 2 s, upkeep 1 s, webhooks 6 s, store 5 s, hubs 2 s: together 17 s

        A part that does not keep its bound is left at most a second later (HOLD_UP_S, `stopping.LEAVE_S`), so
        the longest stop takes `stopping.seconds`, 21.5 s, in a fleet 45.5 s. Usually it takes a few tens of ms.
        `heartfelt serve` ends its HTTP server first, within `server.HTTP_STOP_S`.
        """
        self.begin_stop()
        await self.stopping.run()

    # -- its state

    def _observe_late_ms(self, late_ms: int) -> None:
        self.metrics.lateness.observe(late_ms / 1000)
        self.lateness.observe(late_ms)

    def uptime_s(self) -> float:
        return time.monotonic() - self._started_s

    def ports(self) -> dict[str, tuple[str, int]]:
        """Returns the addresses of the open ports, by "tcp" and "udp"."""
        open_ = {"tcp": self.tcp, "udp": self.udp}
        return {name: part.address for name, part in open_.items() if part is not None}

    def fault(self) -> str | None:
        """Returns why losses are not found, which a restart can mend, or None. A full disk is no such fault."""
        silent_s = self.polling.silent_s()
        return None if silent_s < SILENT_S else f"no verdict of the hubs was read for {silent_s:.0f} s"

    def status(self) -> str:
        """Describes the fleet in a few words."""
        counts = self.registry.totals()
        lost = f", {n} lost" if (n := counts.of(State.LOST)) else ""
        return f"watching {counts.total} instances{lost}"

    def readiness(self) -> Ready:
        health = self.store.health()
        listeners = {name: name == "http" or name in self.ports() for name in self.config.listeners}
        refusing = len(self.webhooks.refusing())
        webhooks = "ok" if not refusing else f"{refusing} refused the last message; GET /api/v1/webhooks has the remedy"
        return Ready(
            ready=not self.stopping.has_begun and (health.ok or self.cluster is not None) and all(listeners.values()),
            degraded=not health.ok,
            store="ok" if health.ok else f"{health.error or 'not written yet'}",
            listeners=listeners,
            webhooks=webhooks,
            certificate="none" if self.tls is None else self.tls.warning() or "ok",
            fleet="none" if self.cluster is None else self.cluster.status.text(),
            redis="none" if self.cluster is None else self.cluster.redis.trouble() or "ok",
        )

    async def refresh_metrics(self) -> None:
        """Asks the store for what `readings` reports and nobody counts in memory."""
        if self.cluster is not None:
            await self.cluster.refresh_metrics()
        await self.webhooks.backlog.refresh()

    def readings(self) -> Iterator[Reading]:
        """The metrics of all parts. O(services)."""
        for part in (self.registry, self.intake, self.http_ingest, self.stream, self.webhooks, self.auth, self.shield):
            yield from part.readings()
        yield from self.proxies.readings()
        if self.cluster is not None:
            yield from self.cluster.readings()
        yield from store_readings(self.store.health())
        for port in (self.tcp, self.udp, self.tls):
            if port is not None:
                yield from port.readings()
        yield FAULTS.reading(self.upkeep.faults)
        yield CLIENTS_GONE.reading(self.clients_gone)
        yield SESSIONS_EVICTED.reading(self.api.sessions.evicted)
        yield LARGE_BODIES.reading(self.api.counts["large_bodies"])
        left = {
            "upkeep": self.upkeep.left_running,
            "stop": self.stopping.left_running,
            "store": self.store.left_running,
        }
        yield LEFT_RUNNING, {(part,): n for part, n in left.items()}
        for more in self.more_readings:
            yield from more()

    def stats(self) -> dict[str, dict[str, Any]]:
        """Returns the counters of each part."""
        health = self.store.health()
        parts: dict[str, dict[str, Any]] = {
            "registry": self.registry.stats(),
            "store": {name: getattr(health, name) for name in health.__struct_fields__},
            "intake": self.intake.stats(),
            "http": self.http_ingest.stats(),
            "stream": self.stream.stats(),
            "webhooks": self.webhooks.stats(),
            "auth": self.auth.stats(),
            "shield": self.shield.stats(),
            "proxies": self.proxies.stats(),
            "upkeep": {
                "faults": self.upkeep.faults,
                "clients_gone": self.clients_gone,
                "left_running": self.upkeep.left_running + self.stopping.left_running + self.store.left_running,
            },
        }
        for name, part in (("tcp", self.tcp), ("udp", self.udp)):
            if part is not None:
                parts[name] = part.stats()
        if self.cluster is not None:
            parts |= self.cluster.stats()
        return parts | {name: made() for name, made in self.more_stats.items()}


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Suspends garbage collection while many long-lived objects are made: the collector would scan them repeatedly, and
    take longer than making them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def _bound(which: str, config: MonitorConfig, start: Callable[[], Any]) -> None:
    try:
        await start()
    except OSError as error:
        raise StartError(cannot_listen(which, *config.address(which), error)) from error


def cannot_listen(which: str, host: str, port: int, error: OSError) -> str:
    return (
        f"{which}: cannot listen on {host}, port {port}: {error.strerror or error}; stop the program that listens "
        f"there, or set {which}.host and {which}.port to another address (port 0: any free port)"
    )
