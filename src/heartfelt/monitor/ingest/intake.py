# SPDX-License-Identifier: MIT
"""What all ingests hand on to: texts and keys -> the registry, by the shortest way that is right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from heartfelt._ingest import WHOLE_EVERY, WHOLE_FIRST, Scan, renew_names
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.registry import Refused, Registry
from heartfelt.monitor.ingest.counters import Counters
from heartfelt.monitor.ingest.decode import BadInput, agent_event, check_name, decode_beat, decode_events
from heartfelt.monitor.ingest.known import Known, cut
from heartfelt.monitor.ingest.limits import ClientRates
from heartfelt.monitor.ingest.log_rate import RateLog
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.model import AgentEvent, Beat, Limits

__all__ = ["FIGURES", "REFUSALS", "Auth", "Intake"]

Auth = Callable[[str | None, str], bool]
"""(token, scope) -> may it? None: no token was given."""
INGEST = "ingest"
REFUSALS = (BadInput, Refused)
FIGURES: Figures = {
    "known": gauge("heartfelt_ingest_known", "Heartbeat texts and keys that are recognised without being parsed"),
    "known_bytes": gauge("heartfelt_ingest_known_bytes", "Memory taken by recognised texts and keys", unit="bytes"),
    "known_forgotten": counter(
        "heartfelt_ingest_known_forgotten", "Recognised texts and keys that were dropped to stay within their memory"
    ),
    "clients": gauge("heartfelt_ingest_clients", "Client addresses whose rate is measured"),
    "clients_limited": counter(
        "heartfelt_ingest_rate_limited", "Times that a client was made to wait because it beat too fast"
    ),
    "log_lines_left_out": counter(
        "heartfelt_ingest_log_lines_suppressed", "Log lines about clients that were suppressed to limit their rate"
    ),
}


class Intake:
    """One for all ingests of a monitor. Belongs to the loop's thread.

    A beat of a known instance of which nothing is new renews it, and its clock and its lag are noted. The registry gets
    all that it tells, and decides, with its first 8 beats and each 16th after that, and at once when the lag is 1 s or
    more, or so much that it is stuck.
    """

    def __init__(
        self,
        registry: Registry,
        limits: Limits,
        *,
        auth: Auth | None = None,
        counters: Counters | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry
        self.limits = limits
        self.auth: Auth = (lambda token, scope: True) if auth is None else auth
        self.counters = Counters() if counters is None else counters
        self.log = RateLog(clock=clock)
        self.rates = ClientRates(limits.beats_of_client_per_s, clock=clock)
        self.known = Known()
        self.wall_ms = wall_ms
        registry.on_change.append(self.known.forget)

    # -- beats

    def take(self, text: bytes, via: str, peer: str) -> Instance:
        """One heartbeat's JSON. Raises one of REFUSALS, which nobody has counted yet."""
        scan = Scan(text, self.known.texts, False, 1)
        if not scan.n:
            return self.take_text(text, via, peer)
        self.renew_scanned(scan, 1, via, peer)
        return scan.first()  # type: ignore[no-any-return]

    def take_text(self, text: bytes, via: str, peer: str) -> Instance:
        """The same, of an agent that writes what changes in the middle, as Sermant's do, or that is not known."""
        parts = cut(text)
        if parts is not None:
            instance = self.known.texts.get(parts.key)
            if instance is not None:
                self.counters.fast[via] += 1
                self.counters.beats[via] += 1
                if (
                    not instance.plain
                    or instance.beats % WHOLE_EVERY == 0
                    or instance.beats < WHOLE_FIRST
                    or instance.peer != peer
                    or instance.via != via
                    or (parts.lag_ms or 0) >= instance.lag_to_tell_ms
                ):
                    self._renew_whole(instance, *parts[1:], via, peer)
                else:
                    self.registry.renew(instance)
                    instance.note_times(parts.time_ms, parts.lag_ms, instance.last_beat_ms)
                return instance
        beat = decode_beat(text, via, peer, meta_bytes=self.limits.meta_bytes)
        instance = self.registry.beat(beat)
        if beat.goodbye:
            self.counters.goodbyes[via] += 1
        else:
            self.counters.beats[via] += 1
            self.known.learn_text(text, beat, instance)
        return instance

    def renew_scanned(self, scan: Scan, most: int, via: str, peer: str) -> None:
        """The next of what was known again."""
        registry = self.registry
        n = scan.at
        now_ms, dirty = registry.renewing()
        renewed, others = scan.renew(most, via, peer, now_ms, dirty)
        registry.beats += renewed
        self.counters.beats[via] += scan.at - n
        self.counters.fast[via] += scan.at - n
        for other in others:
            self._renew_whole(*other, via, peer)

    def _renew_whole(
        self,
        instance: Instance,
        time_ms: int,
        last_ms: int | None,
        lag_ms: int | None,
        number: int | None,
        via: str,
        peer: str,
    ) -> None:
        self.registry.beat(
            Beat(
                service=instance.service,
                instance_id=instance.instance_id,
                via=via,
                peer=peer,
                agent_time_ms=time_ms,
                agent_last_time_ms=last_ms,
                lag_ms=lag_ms,
                number=number,
            )
        )

    def take_names(self, data: bytes, via: str, peer: str) -> int:
        """Simple beats of keys, one a line. What is refused is counted and logged here; how many lines there were."""
        registry = self.registry
        now_ms, dirty = registry.renewing()
        renewed, others = renew_names(data, self.known.names, via, peer, now_ms, dirty)
        registry.beats += renewed
        self.counters.beats[via] += renewed
        self.counters.fast[via] += renewed
        for name in others:
            try:
                self.take_name(name, via, peer)
            except REFUSALS as error:
                self.refuse(via, error, peer)
        return renewed + len(others)

    def take_name(self, name: bytes, via: str, peer: str) -> Instance:
        """A simple beat of a key. Raises one of REFUSALS."""
        instance = self.known.names.get(name)
        if instance is not None and instance.via == via and instance.peer == peer:
            self.registry.renew(instance)
            self.counters.fast[via] += 1
            self.counters.beats[via] += 1
            return instance
        return self.take_key(self.key_of(name), via, peer)

    def take_key(self, key: str, via: str, peer: str, timeout_ms: int | None = None) -> Instance:
        """The same, by its text, with a lease of its own. Raises Refused."""
        service = service_of(key)
        instance = self.registry.beat(Beat(service=service, instance_id=key, via=via, peer=peer, timeout_ms=timeout_ms))
        self.known.learn_name(key.encode(), instance)
        self.counters.beats[via] += 1
        return instance

    def key_of(self, name: bytes) -> str:
        """Raises BadInput."""
        if len(name) > self.limits.key_bytes:
            raise BadInput(
                "key_size", f"a key of {len(name)} bytes; at most {self.limits.key_bytes} are taken (key_bytes)"
            )
        try:
            key = name.decode()
        except UnicodeDecodeError as error:
            raise BadInput("key", f"a key must be UTF-8: {error}") from None
        return check_name("a key", key, "key")

    # -- events

    def events(self, text: bytes, via: str, peer: str, service_of_instance: Callable[[str], str | None]) -> None:
        """Sermant's EVENT_DATA. One that cannot be taken is counted, those beside it are taken. Raises BadInput."""
        instance_id, events = decode_events(text)
        service = service_of_instance(instance_id) or ""
        instance = self.registry.find(service, instance_id)
        ip = peer if instance is None else instance.ip()  # as its changes of state have it
        now_ms = self.wall_ms()
        for event in events:
            try:
                told = agent_event(event, service, instance_id, ip, now_ms, self.limits.event_bytes)
            except BadInput as error:
                self.refuse(via, error, peer)
            else:
                self.event(told, via)

    def event(self, event: AgentEvent, via: str) -> None:
        self.counters.events[via] += 1
        self.registry.event(event)

    # -- what was not taken

    def refuse(self, via: str, error: Exception, peer: str) -> None:
        reason: str = getattr(error, "reason", "error")
        self.counters.refuse(via, reason)
        self.log.warn(f"{via} {reason}", f"{via} from {peer}: {error}")

    def stats(self) -> dict[str, int | float]:
        """Of all ingests together, beside their own."""
        out: dict[str, Any] = self.counters.stats()
        out["known"] = len(self.known)
        out["known_bytes"] = self.known.n_bytes
        out["known_forgotten"] = self.known.forgotten
        out["clients"] = len(self.rates)
        out["clients_limited"] = self.rates.limited
        out["log_lines_left_out"] = self.log.left_out
        return out

    def readings(self) -> Iterator[Reading]:
        yield from self.counters.readings()
        yield from read(FIGURES, self.stats())


def service_of(key: str) -> str:
    """Of a key: what stands before its last "/", or all of it."""
    return key.rpartition("/")[0] or key
