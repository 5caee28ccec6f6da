# SPDX-License-Identifier: MIT
"""The webhooks of a monitor: its targets, their dampers, and the outbox. One per monitor; belongs to the loop."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from heartfelt.monitor.metric import Reading
from heartfelt.monitor.model import AgentEvent, Change, State
from heartfelt.monitor.store import Store
from heartfelt.monitor.tasks import TimedEvent, end_tasks, within
from heartfelt.monitor.webhooks import metrics
from heartfelt.monitor.webhooks.backlog import Waiting
from heartfelt.monitor.webhooks.caller import Caller
from heartfelt.monitor.webhooks.damping import Damper, told_until
from heartfelt.monitor.webhooks.guard import Lookup, lookup
from heartfelt.monitor.webhooks.history import Position, Positions, Saver, StoredPositions, first_position, replay
from heartfelt.monitor.webhooks.notices import Notice, NoticeEntry, event_entry, of_change, of_entry, refusal_event
from heartfelt.monitor.webhooks.outbox import Outbox, Pause, pause
from heartfelt.monitor.webhooks.settings import WebhookSettings
from heartfelt.monitor.webhooks.table import KIND, TargetTable
from heartfelt.monitor.webhooks.target_state import Refusal
from heartfelt.monitor.webhooks.targets import STATE_TYPE, Target, is_recovery
from heartfelt.monitor.webhooks.told import Told

__all__ = ["Webhooks"]

_log = logging.getLogger("heartfelt.monitor.webhooks")

_MAX_WAITING = 200_000
_OVER = frozenset({State.UP, State.REMOVED})
_IDLE_S = 60.0
_COUNTED = ("offered_changes", "offered_events", "lost", "replayed", "bad_documents", "store_errors", "held_back",
            "merged", "untold", "left_running")  # fmt: skip


class Webhooks(TargetTable):
    """Call `start()` before the first change, `offer` for each change, `stop()` before the store is closed.

    positions: keeps up to which change everything is in the outbox; by default a document of the store. heard_ms: until
    when all changes have been offered, by their `time_ms`; by default `wall_ms`. Dampers are never ahead of it.
    """

    def __init__(
        self,
        store: Store,
        settings: WebhookSettings | None = None,
        *,
        wall_ms: Callable[[], int],
        look_up: Lookup = lookup,
        tls: ssl.SSLContext | None = None,
        pause: Pause = pause,
        rng: random.Random | None = None,
        positions: Positions | None = None,
        heard_ms: Callable[[], int] | None = None,
    ) -> None:
        settings = settings or WebhookSettings()
        caller = Caller(
            settings.limits, wall_ms=wall_ms, allow_private=settings.allow_private, public_url=settings.public_url,
            proxies=settings.proxies, look_up=look_up, tls=tls,
        )  # fmt: skip
        make_damper = functools.partial(Damper, settings.damping, is_wall=heard_ms is None)
        super().__init__(store, settings, caller, wall_ms=wall_ms, make_damper=make_damper)
        self._heard_ms = heard_ms or wall_ms
        self._pause = pause
        self._outbox = Outbox(
            store, self._targets, caller.call, settings.retry, wall_ms=wall_ms, pause=pause, rng=rng,
            stop_limits=settings.stop, on_given_up=self._given_up,
        )  # fmt: skip
        self.told = Told(store)
        self.on_event: list[Callable[[AgentEvent], None]] = []
        """Called with the events that the webhooks report about themselves. They are not sent to targets."""
        self._waiting: deque[Change | AgentEvent] = deque()
        self._ready = False
        self._sent_seq = -1
        """Changes up to this one were handled before the start; they only show the dampers which instances flap."""
        self._last_seq = -1
        self._settled: tuple[int, ...] = ()
        """`Position.settled`."""
        self._positions = positions or StoredPositions(store)
        self._saver = Saver(self._positions, wall_ms, self.supersede)
        self.superseded = False
        """Another monitor leads: this one sends nothing any more, and is to be stopped."""
        self._wake = TimedEvent()
        self._ticker: asyncio.Task[None] | None = None
        self.backlog = Waiting(store)
        self._counts = dict.fromkeys(_COUNTED, 0)

    # -- what happens in the monitor

    def offer(self, change: Change) -> None:
        """Takes a change of state. Never waits, and never raises because of its content."""
        self._counts["offered_changes"] += 1
        if self._ready:
            self._take_change(change, late=change.seq <= self._last_seq)
            self._wake.set()
        else:
            self._wait(change)

    def offer_event(self, event: AgentEvent) -> None:
        """Takes an event. Events of the type STATE are ignored, since the changes themselves are offered."""
        self._counts["offered_events"] += 1
        if event.type == STATE_TYPE:
            return
        if self._ready:
            self._take_event(event)
            self._wake.set()
        else:
            self._wait(event)

    def _wait(self, what: Change | AgentEvent) -> None:
        if self.superseded:
            return
        if len(self._waiting) >= _MAX_WAITING:
            self._waiting.popleft()
            self._counts["lost"] += 1
        self._waiting.append(what)

    def _take_change(self, change: Change, *, since_ms: bool = False, late: bool = False) -> None:
        """Offers a change to the dampers. `since_ms`: skips targets that were created or changed after it. `late`:
        newer ones came before it, so it is told alone, as each monitor would."""
        self._last_seq = max(self._last_seq, change.seq)
        self._saver.unsaved = True
        is_new = late or change.seq > self._sent_seq
        entries: dict[bool, NoticeEntry] = {}
        for target in self._targets.values():
            if since_ms and change.time_ms < target.changed_ms:
                continue
            recovery = is_recovery(change) or (is_new and self.told.ends(target.id, change))
            if target.enabled and target.wants_change(change, recovery):
                entry = entries.get(recovery) or entries.setdefault(recovery, of_change(change, recovery))
                if is_new:
                    self.told.offered(target.id, change)
                notices = [of_entry(entry)] if late else self._dampers[target.id].offer(entry)
                self._put(target, notices, late=late)
            elif is_new and change.new in _OVER:
                self.told.over(target.id, change)

    def _take_event(self, event: AgentEvent) -> None:
        entry: NoticeEntry | None = None
        for target in self._targets.values():
            if target.enabled and target.wants_event(event):
                entry = entry or event_entry(event)
                self._put(target, self._dampers[target.id].offer(entry, min(entry.time_ms, self._heard_ms())))

    def _put(self, target: Target, notices: list[Notice], *, late: bool = False) -> None:
        for notice in notices:
            self._saver.unsaved = True
            if not late and notice.last_seq is not None and notice.last_seq <= self._sent_seq:
                continue
            told = self.told.check(target.id, notice)
            self._counts["untold"] += notice.count - (0 if told is None else told.count)
            if told is not None:
                self._outbox.put(target, told)
                self.told.note(target.id, told)

    def look(self) -> None:
        """Looks for deliveries that can be sent, at once."""
        self._outbox.wake()

    def _given_up(self, target: Target, notice: Notice, refusal: Refusal | None) -> None:
        now = self._targets.get(target.id)
        if now is not None and now.generation == target.generation:
            self.told.given_up(target.id, notice)
        if refusal is not None and self._outbox.line(target).is_news(refusal):
            event = refusal_event(target.id, target.name, refusal.answer, refusal.remedy, refusal.time_ms)
            for listener in self.on_event:
                listener(event)

    # -- start and stop

    async def start(self) -> None:
        """Reads the targets and the last changes. Raises what the store raises."""
        for id, document in (await self._store.documents(KIND)).items():
            try:
                self._set(msgspec.convert(document, Target))
            except msgspec.ValidationError as error:
                self._counts["bad_documents"] += 1
                _log.error("webhook %s in the store cannot be read and is ignored: %s", id, error)
        position = await self._positions.load()  # before what an earlier leader may still put: `told`
        await self.told.load()
        if position is None:  # a first start: begins here, even if the process is killed before it records more
            position = await first_position(self._store, self._positions)
        if self._targets:
            await self._replay(position)
        else:
            self._last_seq = position.seq
        while self._waiting:
            what = self._waiting.popleft()
            if isinstance(what, AgentEvent):
                self._take_event(what)
            elif what.seq > self._last_seq:
                self._take_change(what)
        self._ready = not self.superseded
        if self._ready:
            self._outbox.start()
        self._ticker = asyncio.create_task(self._tick(), name="webhooks ticker")

    async def _replay(self, position: Position) -> None:
        self._sent_seq = self._last_seq = position.seq
        take = functools.partial(self._take_change, since_ms=True)
        memory_ms = self._settings.damping.memory_ms
        new, self._settled = await replay(self._store, position, memory_ms, take, self._settle)
        self._counts["replayed"] += new

    def _settle(self) -> None:
        for id, damper in self._dampers.items():
            self._put(self._targets[id], damper.settle())

    @property
    def stop_s(self) -> float:
        """The most that `stop` takes: the ticker's end, the position twice, the outbox's end, the sessions."""
        limits = self._settings.stop
        return limits.tasks_s + 2 * limits.store_s + (limits.tasks_s + limits.store_s) + limits.sessions_s

    async def stop(self) -> None:
        """Puts what is muted or gathered into the outbox, where it waits for the next start, and cancels calls in
        progress. Takes at most `stop_s`, whatever the store and the targets do. Idempotent."""
        limits = self._settings.stop
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            self._ready = False
            self._wake.set()
            self.trials.end()
            tasks = [ticker, *self.trials.tasks]
            self._counts["left_running"] += len(await end_tasks(tasks, seconds=limits.tasks_s, logger=_log))
            self._settled = (*self._settled, self._last_seq)
            if is_known := await self._save_last():  # the next one makes the same messages of what is gathered now
                self._settle()
            await self._outbox.stop()
            if is_known:
                await self._save_last(flushed=True)
        try:
            await within(limits.sessions_s, self._caller.close())
        except asyncio.TimeoutError:
            self._counts["left_running"] += 1
            _log.error("the webhooks' connections did not close within %g s, and are left", limits.sessions_s)

    async def _save_last(self, *, flushed: bool = False) -> bool:
        if self.superseded:
            return False
        is_saved = await self._saver.save_within(self._settings.stop.store_s, self._position(flushed))
        self._counts["store_errors"] += not is_saved
        return is_saved and not self.superseded

    def supersede(self) -> None:
        """Ends all that only the monitor does that leads: another one leads now, and tells what is gathered here."""
        self.superseded, self._ready = True, False
        self._outbox.halt()
        self._wake.set()

    async def _tick(self) -> None:
        while self._ready:
            self._wake.clear()
            now_ms = self._wall_ms()
            for id, damper in self._dampers.items():
                try:
                    self._put(self._targets[id], damper.advance(min(now_ms, self._heard_ms())))
                except Exception as error:  # a bug of ours must not stop the other targets
                    self._outbox.fault(error)
            if self._saver.is_due(now_ms):
                self._counts["store_errors"] += not await self._saver.save(self._position())
            due = [damper.next_ms for damper in self._dampers.values() if damper.next_ms is not None]
            if self._saver.unsaved:
                due.append(self._saver.due_ms(now_ms))
            wait_s = max(0.02, min([_IDLE_S, *((due_ms - self._wall_ms()) / 1000 for due_ms in due)]))
            await self._pause(self._wake, wait_s)

    def _position(self, flushed: bool = False) -> Position:
        return Position(seq=told_until(self._dampers.values(), self._last_seq), flushed=flushed, settled=self._settled)

    # -- figures

    def stats(self) -> dict[str, int | float]:
        """Returns counters since the start, and the current number of `targets` and of `open` breakers."""
        now_ms = self._wall_ms()
        states = [self._outbox.line(target).breaker.state(now_ms) for target in self._targets.values()]
        return {
            **metrics.added(self._counts, self._outbox.counts, self._dampers.values()),
            "targets": len(self._targets),
            "open": sum(state != "closed" for state in states),
            "refusing": len(self.refusing()),
            "backlog_errors": self.backlog.errors,
        }

    def readings(self) -> Iterator[Reading]:
        return metrics.readings(self.stats(), self.backlog.by_target, self._targets, self._wall_ms())
