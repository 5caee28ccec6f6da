# SPDX-License-Identifier: MIT
"""This monitor as a member of a fleet that shares one Redis: makes the parts for that, starts and stops them in order.

The start: Redis is checked, the store opened (which takes over what dead monitors have left), the channel listens,
this monitor enters itself among the living, and begins to ask, to forward and to take over. Agents come last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

from heartfelt.monitor.cluster.availability import KIND as WATCHED
from heartfelt.monitor.cluster.availability import Availability
from heartfelt.monitor.cluster.census import ANSWER, ASK, Census, CensusReply, Question
from heartfelt.monitor.cluster.channel.asking import ChannelError
from heartfelt.monitor.cluster.channel.service import Channel
from heartfelt.monitor.cluster.entries import FleetMember
from heartfelt.monitor.cluster.federation import KIND as PART
from heartfelt.monitor.cluster.federation import PIECE_BYTES, PIECES, WHOLE, Federation
from heartfelt.monitor.cluster.leading import Leading
from heartfelt.monitor.cluster.membership import Membership, new_monitor_id
from heartfelt.monitor.cluster.ownership import Ownership
from heartfelt.monitor.cluster.redis_state import RedisState
from heartfelt.monitor.cluster.relay import KIND as WATCH
from heartfelt.monitor.cluster.relay import FleetCounts, Relay
from heartfelt.monitor.cluster.status import KIND as STATUS
from heartfelt.monitor.cluster.status import SAME, SCRAPE_S, FleetStatus, Status
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.build import make_policy, make_redis, make_retention
from heartfelt.monitor.config.channel_tls import make_channel_tls, read_secret
from heartfelt.monitor.config.shared import advertised
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest.intake import Intake
from heartfelt.monitor.metric import Reading
from heartfelt.monitor.model import InstanceRow
from heartfelt.monitor.stopping import Stopping
from heartfelt.monitor.store.redis.address import RedisAddress
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.leases import Leases
from heartfelt.monitor.store.redis.link import FLEET
from heartfelt.monitor.store.redis.opening import make_link
from heartfelt.monitor.store.redis.store import RedisStore
from heartfelt.monitor.tasks import run_in_thread
from heartfelt.monitor.web.api.endpoint import Endpoint
from heartfelt.monitor.web.api.instances import counted
from heartfelt.monitor.web.api.parts import ApiParts, FleetMonitor
from heartfelt.monitor.web.api.view import hold_view
from heartfelt.monitor.web.stream import Stream

LOOK_S = 0.5
"""How often it is looked whether there are viewers, for whom the others are watched."""
STOP_S = 1.0
HOLD_UP_S = 0.5
SECRET_BYTES = 32
TOKENS = "tokens"
TOKENS_S = 1.0
"""How long the other monitors may take to read the tokens again."""
WATCH_S = 86400.0
"""A watch begins again after this time."""
MOST_ANSWER = 256 << 20
"""Bytes of one monitor's part of an answer."""
_logger = logging.getLogger("heartfelt.monitor.cluster")


class ClusterMember:
    """Belongs to the loop's thread. Raises ConfigError if the settings for Redis cannot be used."""

    def __init__(self, config: MonitorConfig, wall_ms: Callable[[], int]) -> None:
        found = make_redis(config)
        assert found is not None
        self.address: RedisAddress = found[0]
        self._config = config
        self._wall_ms = wall_ms
        self._has_clock = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._registry: Registry | None = None
        self.id = new_monitor_id()
        self.keys = Keys(config.redis_prefix, config.redis_shards)
        self.link = make_link(*found, self._jumped)
        self._secret = read_secret(config)
        self.membership = Membership(
            self.link, self.keys, self.id, "", secret=self._secret, lease_s=config.cluster_lease
        )
        policy = make_policy(config)

        def lease_ms(row: InstanceRow) -> int:
            return policy.terms(Instance(row)).timeout_ms

        self.ownership = Ownership(
            settle_s=config.cluster_settle,
            comeback_s=config.cluster_comeback,
            lease_s=config.cluster_lease,
            link=self.link,
            keys=self.keys,
            lease_ms_of=lease_ms,
            wall_ms=wall_ms,
        )
        self.store = RedisStore(
            self.link,
            self.keys,
            Leases(self.link, self.keys, self.id, lease_ms=int(config.cluster_lease * 1000)),
            monitor_id=self.id,
            name=str(self.address),
            listener=self.ownership,
            lease_ms=lease_ms,
            leads=self.membership.leads,
            retention=make_retention(config),
            watch_s=min(config.cluster_settle / 2, config.cluster_lease / 4),
            wall_ms=wall_ms,
            forget_ms=lambda: min(self.wall_ms(), wall_ms()),  # one wrong clock deletes nothing
        )
        self.redis = RedisState(self.link, self.store.leases, config.cluster_settle)
        tls = make_channel_tls(config)
        self.channel = Channel(
            self.id,
            self._secret or secrets.token_bytes(SECRET_BYTES),  # until Redis has told the fleet's
            config.cluster_host,
            config.cluster_port,
            server_tls=None if tls is None else tls.server,
            client_tls=None if tls is None else tls.client,
            server_name=config.cluster_server_name,
        )
        self.relay: Relay
        self.federation: Federation
        self.leading: Leading
        self._look: asyncio.TimerHandle | None = None
        self._told_living = ""
        self._lived: frozenset[str] = frozenset()
        self._names: dict[str, str] = {}
        """Names, for people, of monitors that live, or have died and own something."""
        self._unread: dict[str, int] = {}
        """Monitors that have died -> which reading of the owners had been begun by then: a later one says whether they
        own something."""

    # -- wiring, before the start

    def attach(
        self,
        registry: Registry,
        intake: Intake,
        stream: Stream,
        make_webhooks: Callable[..., Any],
        use_webhooks: Callable[[Any], None],
    ) -> None:
        """Makes what needs the registry."""
        assert intake.foreign is not None
        self._registry = registry
        self.ownership.attach(registry, intake.foreign, self.store, self.channel)
        self.relay = Relay(
            stream,
            self,
            lambda: _counts(registry),
            lambda: registry.applications(),
            lambda: hold_view(registry.hold()),
        )
        self.leading = Leading(
            self.store, self.link, self.keys, self.membership, self.channel, make_webhooks, use_webhooks
        )
        self.ownership.emptied.told = self.leading.told_lately
        self.availability = Availability(self.id, registry.uptime, self.channel.peers.notify)
        self.channel.on_notice(WATCHED, self.availability.took, dict[str, tuple[int, int]])
        assert registry.owned is not None
        self.census = Census(self.id, registry.owned, self.channel.peers.notify, self._config.cluster_settle)
        self.channel.on_notice(ASK, self.census.asked, Question)
        self.channel.on_notice(ANSWER, self.census.answered, CensusReply)
        self.channel.on(WATCH, lambda peer, message: self.relay.serve(peer))
        self.membership.on_change = self._changed
        self.membership.on_secret = self.channel.set_secret

    def serve(self, parts: ApiParts, endpoints: tuple[Endpoint, ...]) -> None:
        """Makes this monitor answer for the whole fleet."""
        self.federation = parts.federation = Federation(self, parts, endpoints, self._gone)
        self.status = FleetStatus(self, lambda: _status(parts), (self.membership.skew, self.redis.slow))
        self.channel.on(STATUS, self.status.serve, bytes)
        parts.monitors, parts.warnings = self.monitors, self.status.warnings
        made = self.federation
        self.channel.on(PART, lambda peer, message: _in_pieces(made.serve, peer, message), bytes)
        self.channel.on(WHOLE, lambda peer, message: _in_pieces(made.serve_whole, peer, message), bytes)
        self.channel.on(PIECES, made.serve_pieces, bytes)
        self.channel.on(TOKENS, lambda peer, message: parts.auth.reload())
        parts.auth.tell_others = self._tell_of_tokens

    # -- start and stop

    async def check(self) -> None:
        """Checks the servers and the layout of the data. Raises StoreError."""
        from heartfelt.monitor.store.redis.configuration import check

        self._loop = asyncio.get_running_loop()
        await run_in_thread("heartfelt-redis-check", lambda: check(self.link, self.keys, self.address))
        await run_in_thread("heartfelt-redis-clock", lambda: self.link.now_ms(FLEET))
        self._has_clock = True

    def wall_ms(self) -> int:
        """Returns the time of the fleet, on which all monitors agree; before the start, that of this machine."""
        return self.link.now_ms(FLEET) if self._has_clock else self._wall_ms()

    def _jumped(self, jump_ms: float) -> None:
        """Lets losses be held for a while. Called by a thread of the link."""
        loop, registry = self._loop, self._registry
        if loop is None or registry is None or registry.owned is None:
            return
        try:
            loop.call_soon_threadsafe(registry.owned.jumped, jump_ms)
        except RuntimeError:  # the loop was closed meanwhile: there is nothing left to be held
            return

    async def listen(self) -> None:
        """Opens the internal port. Raises OSError."""
        await self.channel.start()

    async def start(self, stopping: Stopping) -> None:
        """Enters this monitor among the living, once the store is open and the channel listens."""
        config = self._config
        self.membership.set_address(advertised(config.cluster_host, config.cluster_advertise, self.channel.port))
        stopping.add("the channel", self.channel.stop, seconds=self.channel.stop_s + HOLD_UP_S)
        stopping.add("the stream of the fleet", self._stop_relay, seconds=STOP_S + HOLD_UP_S)
        stopping.add("the membership", self.membership.stop, seconds=3 * STOP_S + HOLD_UP_S)
        await self.membership.start()
        self.channel.set_secret(self.membership.secret)
        self._changed(self.membership.living)
        stopping.add("the status of the fleet", self.status.stop, seconds=STOP_S + HOLD_UP_S)
        self.status.start()
        self._look_again()
        stopping.add("the webhooks of the fleet", self.leading.stop, seconds=self.leading.stop_s + HOLD_UP_S)
        self.leading.start()
        stopping.add("the ownership", self.ownership.stop, seconds=self.ownership.stop_s + HOLD_UP_S)
        self.ownership.number = await run_in_thread("heartfelt-number", self._number)
        self.ownership.start(min(self._config.cluster_lease / 4, 1.0))

    def _number(self) -> int:
        """Returns how many monitors have started before this one."""
        number = int(self.link.call(FLEET, "INCR", self.keys.fleet("numbers")))
        self.store.fleet_copy.numbered(number)
        return number - 1

    async def _stop_relay(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self.availability.stop()
        self.census.stop()
        await self.relay.stop()

    def _look_again(self) -> None:
        self.relay.look()
        self._look = asyncio.get_running_loop().call_later(LOOK_S, self._look_again)

    def _changed(self, living: Mapping[str, FleetMember]) -> None:
        self.channel.peers.set_peers({id: one.address for id, one in living.items()})
        self.availability.set_living(living)
        self.census.set_living(living)
        self.status.look_soon()
        self.ownership.set_living(living)
        begun, _ = self.store.leases.reads
        self._unread = {id: n for id, n in self._unread.items() if id not in living}
        if died := self._lived - living.keys() - {self.id}:
            self._unread.update(dict.fromkeys(died, begun))
            self.store.leases.read_owners()
            self.ownership.look_for_orphans()
        owners = self.store.leases.owners | self._unread.keys()
        self._lived = frozenset(living)
        known = {id: name for id, name in self._names.items() if id in owners}
        self._names = known | {id: _name(one) for id, one in living.items()}
        names = ", ".join(sorted(one.address for one in living.values()))
        if names != self._told_living:
            self._told_living = names
            _logger.info("the fleet has %d monitor%s: %s", len(living), "" if len(living) == 1 else "s", names)

    async def _tell_of_tokens(self) -> None:
        """Has the other monitors read the tokens. One that does not answer reads them by itself, within seconds."""
        asked = (self.channel.peers.ask(one, TOKENS, None, seconds=TOKENS_S) for one in self.living())
        await asyncio.gather(*asked, return_exceptions=True)

    # -- the other monitors, for the federation and the relay

    def living(self) -> dict[str, str]:
        return {id: _name(one) for id, one in self.membership.living.items() if id != self.id}

    def _gone(self) -> list[str]:
        """Returns the names of monitors that have died, and of whose instances it is not known yet that all of them
        are taken over."""
        _, read = self.store.leases.reads  # before `owners`, which may be newer then
        self._unread = {id: n for id, n in self._unread.items() if n >= read}
        owners = self.store.leases.owners | self._unread.keys()
        gone = owners - self.membership.living.keys() - {self.id, ""}
        return sorted(self._names.get(id, id) for id in gone)

    def leader(self) -> str | None:
        return "" if self.leading.leads else self._other_leader()

    def _other_leader(self) -> str | None:
        leader = self.membership.leader
        return leader if leader in self.channel.peers else None

    async def ask(self, peer: str, kind: str, message: bytes, *, within_s: float) -> bytes:
        answer = bytearray()
        async with contextlib.aclosing(self.pieces(peer, kind, message, within_s=within_s)) as pieces:
            async for some in pieces:
                answer += some
                if len(answer) > MOST_ANSWER:
                    raise ChannelError("large", f"an answer has more than {MOST_ANSWER} bytes")
        return bytes(answer)

    def pieces(self, peer: str, kind: str, message: bytes, *, within_s: float) -> AsyncGenerator[bytes, None]:
        return self.channel.peers.stream(peer, kind, message, seconds=within_s, kind=bytes)

    def watch(self, peer: str, kind: str) -> Any:
        return self.channel.peers.stream(peer, kind, None, seconds=WATCH_S, kind=bytes)

    # -- figures

    def stats(self) -> dict[str, dict[str, Any]]:
        return {
            "ownership": self.ownership.stats(),
            "channel": self.channel.stats(),
            "membership": self.membership.stats(),
            "availability": self.availability.stats(),
            "census": self.census.stats(),
            "relay": self.relay.stats(),
            "leading": self.leading.stats(),
            "federation": self.federation.stats(),
            "fleet": self.status.stats(),
            "redis": self.redis.stats(),
        }

    def monitors(self) -> list[FleetMonitor]:
        """Returns the living monitors, for people."""
        leader = self.membership.leader
        return [
            FleetMonitor(
                id=id, host=one.host, address=one.address, version=one.version, started_ms=one.start_ms,
                leads=id == leader, asked=id == self.id,
            )
            for id, one in sorted(self.membership.living.items(), key=lambda item: (item[1].host, item[1].address))
        ]  # fmt: skip

    async def refresh_metrics(self) -> None:
        await self.status.look(SCRAPE_S)

    def readings(self) -> Iterator[Reading]:
        for part in (
            self.ownership, self.channel, self.membership, self.availability, self.census, self.relay,
            self.leading, self.federation, self.status, self.redis,
        ):  # fmt: skip
            yield from part.readings()


async def _in_pieces(make: Callable[[str, bytes], Awaitable[bytes]], peer: str, message: bytes) -> AsyncIterator[bytes]:
    """An answer may be larger than a frame."""
    made = await make(peer, message)
    for begin in range(0, len(made), PIECE_BYTES):
        yield made[begin : begin + PIECE_BYTES]


def _counts(registry: Registry) -> FleetCounts:
    services: dict[str, dict[str, Any] | None] = {name: _plain(one) for name, one in registry.services().items()}
    return FleetCounts(
        all=_plain(registry.totals()), applications=len(registry.applications()), services=services, app_names=None
    )


def _name(one: FleetMember) -> str:
    return f"{one.host} ({one.address})" if one.host else one.address


def _status(parts: ApiParts) -> Status:
    states = {state.value: n for state, n in counted(parts.registry.totals()).states.items()}
    rows = {str(row["name"]): row["value"] for row in parts.config.sources()}
    return Status(states, {name: value for name, value in rows.items() if name.startswith(SAME)})


def _plain(counts: Any) -> dict[str, Any]:
    one = counted(counts)
    return {"total": one.total, "up": one.up, "held": one.held, "states": one.states}
