# SPDX-License-Identifier: MIT
"""Hands texts and keys from all ingests to the registry, by the shortest correct way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from heartfelt._ingest import WHOLE_EVERY, WHOLE_FIRST, Scan, renew_names
from heartfelt.monitor.credentials import NO_TOKENS, KnownTokens
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.numbered import HasName
from heartfelt.monitor.fleet.owners import Elsewhere, Raw, RawKind
from heartfelt.monitor.fleet.registry import InputRefused, Registry
from heartfelt.monitor.fleet.shadows import Shadow
from heartfelt.monitor.ingest.counters import Counters
from heartfelt.monitor.ingest.decode import (
    BadInput,
    agent_event,
    check_name,
    decode_beat,
    decode_events,
    most_of_beat,
    too_large,
)
from heartfelt.monitor.ingest.figures import FIGURES
from heartfelt.monitor.ingest.foreign import Foreign
from heartfelt.monitor.ingest.known import Known, cut
from heartfelt.monitor.ingest.limits import ClientRates
from heartfelt.monitor.ingest.log_rate import RateLog
from heartfelt.monitor.ingest.raws import beat_raw, text_raw
from heartfelt.monitor.ingest.service_names import ServiceNames
from heartfelt.monitor.metric import Reading, read
from heartfelt.monitor.model import AgentEvent, Beat, Limits, State

__all__ = ["FIGURES", "REFUSALS", "Auth", "Intake"]

Auth = Callable[[str | None, str], bool]
"""(token, scope) -> whether the token allows the scope. None: the client sent no token."""
INGEST = "ingest"
SERMANT = "sermant"  # the transport of Sermant's port
REFUSALS = (BadInput, InputRefused)
TOLD_EVERY = 128  # each such beat of another monitor's instance is forwarded whole
GOODBYE_EVENT = "SERMANT_STOP"
"""The last event of a Sermant agent, at the end of its process or when it is uninstalled. It has no other goodbye. (The
event SERMANT_SERVICE_STOP just before it says that parts of the agent have stopped.)"""


class Intake:
    """One for all ingests of a monitor. Belongs to the loop's thread.

    An unchanged heartbeat of a known instance renews the instance and records its clock and its lag. The registry gets
    the whole heartbeat, and decides on it, for the first 8 of an instance and every 16th after that, and at once when
    the lag is 1 s or more, or long enough for STUCK.
    """

    def __init__(
        self,
        registry: Registry,
        limits: Limits,
        *,
        auth: Auth | None = None,
        tokens: KnownTokens = NO_TOKENS,
        counters: Counters | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry
        self.limits = limits
        self._most_of_beat = most_of_beat(limits.meta_bytes)
        self.auth: Auth = (lambda token, scope: True) if auth is None else auth
        self.tokens = tokens
        self.counters = Counters() if counters is None else counters
        self.log = RateLog(clock=clock)
        self.rates = ClientRates(limits.beats_of_client_per_s, clock=clock)
        self.known = Known()
        self.services = ServiceNames(limits.instances)
        self.goodbyes_outdated = 0
        self.beats_outdated = 0
        self.wall_ms = wall_ms
        self.pings: Callable[[Raw], None] | None = None
        """Takes a ping that was kept or forwarded. Set by `Pings`."""
        self.foreign: Foreign | None = None
        """The part for instances of other monitors; None: there are none."""
        if registry.owned is not None and registry.owners is not None:
            self.foreign = Foreign(
                registry.owned,
                registry.owners,
                self.known,
                take_raw=self.take_raw,
                lag_to_tell_ms=registry.lag_to_tell_ms,
                wall_ms=wall_ms,
                now_ms=registry.now_ms,
            )
        registry.on_removed.append(self.known.forget)

    def restore(self, removed: Iterable[tuple[str, str]]) -> None:
        """Learns the services of instances that were known before the start. `removed`: instance id and service."""
        self.services.learn_all(removed)
        self.services.learn_all(
            (one.instance_id, one.service) for one in self.registry.instances() if one.via == SERMANT
        )

    # -- beats

    def take(self, text: bytes, via: str, peer: str) -> HasName:
        """Accepts one heartbeat's JSON. Raises one of REFUSALS, which the caller has to count."""
        if len(text) > self._most_of_beat:  # before it costs anything
            raise too_large(len(text), self.limits.meta_bytes)
        scan = Scan(text, self.known.texts, False, 1)
        if not scan.n:
            return self.take_text(text, via, peer)
        self.renew_scanned(scan, 1, via, peer)
        return scan.first()  # type: ignore[no-any-return]

    def take_text(self, text: bytes, via: str, peer: str) -> HasName:
        """Accepts a heartbeat that `Scan` does not recognise: of an unknown instance, or of an agent that writes the
        changing fields in the middle, as Sermant's agents do."""
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
                    instance.note_times(parts.time_ms, parts.last_time_ms, parts.lag_ms, instance.last_beat_ms)
                return instance  # type: ignore[no-any-return]
        beat = decode_beat(text, via, peer, meta_bytes=self.limits.meta_bytes)
        known = self.registry.find(beat.service, beat.instance_id)
        if known is not None and not beat.goodbye and self._is_outdated(known, beat.agent_time_ms):
            return known
        try:
            instance = self.registry.beat(beat)
        except Elsewhere as found:
            other = self.elsewhere(found, text_raw(text, beat))
            if isinstance(other, Shadow):
                self.known.learn_text(text, beat, other)
            return other
        if beat.goodbye:
            self.counters.goodbyes[via] += 1
        else:
            self.counters.beats[via] += 1
            self.known.learn_text(text, beat, instance)
        return instance

    def renew_scanned(self, scan: Scan, most: int, via: str, peer: str) -> None:
        """Renews the next `most` instances that `scan` recognised."""
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
        if self._is_outdated(instance, time_ms):
            return
        is_same = instance.peer == peer and instance.via == via and (lag_ms or 0) < instance.lag_to_tell_ms
        if is_same and isinstance(instance, Shadow) and instance.beats % TOLD_EVERY:
            self.registry.renew(instance)
            return
        beat = Beat(
            service=instance.service,
            instance_id=instance.instance_id,
            via=via,
            peer=peer,
            agent_time_ms=time_ms,
            agent_last_time_ms=last_ms,
            lag_ms=lag_ms,
            number=number,
        )
        try:
            self.registry.beat(beat)
        except Elsewhere as found:
            self.elsewhere(found, beat_raw(beat), is_counted=True)

    def _is_outdated(self, instance: Instance, time_ms: int | None) -> bool:
        """Tells whether a beat was overtaken by its instance's goodbye, and counts it. The agent's own clock decides,
        but not for longer than the timeout: it may have been set back."""
        left_ms = instance.goodbye_ms
        if left_ms is None or time_ms is None or State.LEFT not in (instance.state, instance.before_pause):
            return False
        outdated = left_ms - instance.lease_ms < time_ms <= left_ms
        self.beats_outdated += outdated
        return outdated

    def take_names(self, data: bytes, via: str, peer: str) -> int:
        """Accepts plain beats of keys, one on each line. Counts and logs refusals. Returns the number of lines."""
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

    def take_name(self, name: bytes, via: str, peer: str) -> HasName:
        """Accepts a plain beat of a key. Raises one of REFUSALS."""
        instance = self.known.names.get(name)
        if instance is not None and instance.via == via and instance.peer == peer:
            self.registry.renew(instance)  # type: ignore[arg-type] # a shadow is always plain
            self.counters.fast[via] += 1
            self.counters.beats[via] += 1
            return instance
        return self.take_key(self.key_of(name), via, peer)

    @staticmethod
    def beat_of_key(key: str, via: str, peer: str, **terms: int | None) -> Beat:
        """Makes a beat of a key. `terms`: fields of Beat that it asks for, such as timeout_ms."""
        service = service_of(key)
        return Beat(service=service, instance_id=key, via=via, peer=peer, by_key=True, **terms)  # type: ignore[arg-type]

    def take_key(self, key: str, via: str, peer: str, **terms: int | None) -> HasName:
        """Accepts a plain beat of a key. `terms`: as in `beat_of_key`. Raises InputRefused."""
        beat = self.beat_of_key(key, via, peer, **terms)
        try:
            instance = self.registry.beat(beat)
        except Elsewhere as found:
            other = self.elsewhere(found, beat_raw(beat))
            if isinstance(other, Shadow):
                self.known.learn_name(key.encode(), other)
            return other
        self.known.learn_name(key.encode(), instance)
        self.counters.beats[via] += 1
        return instance

    def key_of(self, name: bytes) -> str:
        """Decodes and checks a key. Raises BadInput."""
        if len(name) > self.limits.key_bytes:
            raise BadInput(
                "key_size",
                f"the key has {len(name)} bytes; the limit is {self.limits.key_bytes} (limits.key_bytes)",
            )
        try:
            key = name.decode()
        except UnicodeDecodeError as error:
            raise BadInput("key", f"the key is not valid UTF-8: {error}") from None
        return check_name("a key", key, "key")

    # -- instances of other monitors

    def elsewhere(self, found: Elsewhere, raw: Raw, *, is_counted: bool = False) -> HasName:
        """Keeps or forwards an input. Raises InputRefused. What is kept is counted as accepted when it is replayed."""
        foreign = self.foreign
        assert foreign is not None  # nothing else raises Elsewhere
        other = foreign.took(found, raw)
        if isinstance(other, Shadow) and not is_counted:
            self.counters.beats[raw.via] += raw.repeats
        return other

    def take_raw(self, raw: Raw) -> None:
        """Takes an input that was kept or forwarded. Counts and logs a refusal."""
        via, peer = raw.via, raw.peer
        try:
            if raw.kind is RawKind.TEXT:
                self.take(raw.data, via, peer)
            elif raw.kind is RawKind.BEAT:
                self._take_beat(msgspec.msgpack.decode(raw.data, type=Beat))
            elif raw.kind is RawKind.STOP:
                self._stopped(
                    raw.service, raw.instance_id, msgspec.msgpack.decode(raw.data, type=AgentEvent), via, peer
                )
            elif self.pings is not None:
                self.pings(raw)
        except (*REFUSALS, msgspec.DecodeError) as error:  # the latter from another version of heartfelt
            self.refuse(via, error, peer)

    def _take_beat(self, beat: Beat) -> None:
        known = self.registry.find(beat.service, beat.instance_id)
        if known is not None and not beat.goodbye and self._is_outdated(known, beat.agent_time_ms):
            return
        try:
            self.registry.beat(beat)
        except Elsewhere as found:
            self.elsewhere(found, beat_raw(beat))
        else:
            (self.counters.goodbyes if beat.goodbye else self.counters.beats)[beat.via] += 1

    def goodbye(self, service: str, instance_id: str, via: str, peer: str) -> None:
        """Accepts a goodbye that says nothing else."""
        try:
            self.registry.goodbye(service, instance_id, "")
        except Elsewhere as found:
            beat = Beat(service=service, instance_id=instance_id, via=via, peer=peer, goodbye=True)
            self.elsewhere(found, beat_raw(beat))
        self.counters.goodbyes[via] += 1

    # -- events

    def events(self, text: bytes, via: str, peer: str, service_of_instance: Callable[[str], str | None]) -> None:
        """Accepts the events of a Sermant EVENT_DATA message, in the order of their times. A refused event is counted
        and does not affect the others. Raises BadInput if the message cannot be read at all."""
        instance_id, texts = decode_events(text)
        service = service_of_instance(instance_id) or self.services.of(instance_id) or ""
        instance = self.registry.find(service, instance_id)
        ip = peer if instance is None else instance.ip()  # the same address as in its changes of state
        now_ms = self.wall_ms()
        events = []
        for one in texts:
            try:
                events.append(agent_event(one, service, instance_id, ip, now_ms, self.limits.event_bytes))
            except BadInput as error:
                self.refuse(via, error, peer)
        events.sort(key=lambda event: event.time_ms)
        for event in events:
            self.event(event, via)
        goodbyes = [event for event in events if event.info.get("name") == GOODBYE_EVENT]
        if goodbyes:
            self._stopped(service, instance_id, goodbyes[-1], via, peer)

    def _stopped(self, service: str, instance_id: str, event: AgentEvent, via: str, peer: str) -> None:
        instance = self.registry.find(service, instance_id)
        if instance is not None:
            self._goodbye(instance, event, via)
        elif self.foreign is not None and service:
            self.foreign.stop((service, instance_id), event, via, peer)

    def _goodbye(self, instance: Instance, event: AgentEvent, via: str) -> None:
        """Takes an event as the goodbye of its instance, unless a beat was sent after it, by the agent's own clock."""
        beaten_ms = instance.agent_time_ms
        if beaten_ms is not None and event.time_ms < beaten_ms and event.time_ms != event.received_ms:
            self.goodbyes_outdated += 1
            return
        self.registry.goodbye(instance.service, instance.instance_id, event=event)
        self.counters.goodbyes[via] += 1

    def event(self, event: AgentEvent, via: str) -> None:
        self.counters.events[via] += 1
        self.registry.event(event)

    # -- refusals

    def refuse(self, via: str, error: Exception, peer: str) -> None:
        """Counts and logs a refusal."""
        reason: str = getattr(error, "reason", "error")
        self.counters.refuse(via, reason)
        self.log.warn(f"{via} {reason}", f"{via} from {peer}: {error}")

    def stats(self) -> dict[str, int | float]:
        """Returns the figures of all ingests together; each has its own besides."""
        out: dict[str, Any] = self.counters.stats()
        out["known"] = len(self.known)
        out["known_bytes"] = self.known.n_bytes
        out["known_forgotten"] = self.known.forgotten
        out["service_names"] = len(self.services)
        out["service_names_forgotten"] = self.services.forgotten
        out["goodbyes_outdated"] = self.goodbyes_outdated
        out["beats_outdated"] = self.beats_outdated
        out["clients"] = len(self.rates)
        out["clients_limited"] = self.rates.limited
        out["clients_forgotten"] = self.rates.forgotten
        out["log_lines_left_out"] = self.log.left_out
        if self.foreign is not None:
            out |= self.foreign.stats()
        return out

    def readings(self) -> Iterator[Reading]:
        yield from self.counters.readings()
        yield from read(FIGURES, self.stats())
        if self.foreign is not None:
            yield from self.foreign.readings()


def service_of(key: str) -> str:
    """Returns the part of the key before its last "/", or the whole key."""
    return key.rpartition("/")[0] or key
