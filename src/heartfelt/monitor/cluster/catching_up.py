# SPDX-License-Identifier: MIT
"""Has the other monitors send on what they have heard, before losses are asked for.

`settle` is the time that a beat may take to its instance's owner if another monitor hears it. On a machine that is too
busy, a loop or a writer's thread may be later than that, and an instance that beats would be told as lost. So the owner
asks the others once `settle` is over. Each of them finds out what was moved away from it and whose the names are that
it has heard, forwards all of it, and answers after that on the same connection: what it heard before the question is
known here before its answer is. Then Redis is asked for the losses that are still due.

One question is asked for all losses that are due; those that come meanwhile wait for the next one. A monitor that is
gone, or that says nothing for ANSWER_S, is not waited for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator

from heartfelt.errors import StoreError
from heartfelt.monitor.cluster.channel.service import Channel
from heartfelt.monitor.fleet.owners import Loss
from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.tasks import within

__all__ = ["ANSWER_S", "CatchingUp"]

ASK, ANSWER = "catch up", "caught up"
GATHER_S = 0.02
"""How long losses are gathered for one question."""
ANSWER_S = 2.0
CATCH_UP_S = 1.5
"""How long a monitor that was asked tries to find everything out. It answers after that, whatever it knows."""
LOOK_S = 0.1
"""How often it is looked whether the others still live."""
FIGURES: Figures = {
    "catching_up_asked": counter(
        "heartfelt_catching_up_asked", "Questions to other monitors to send on what they have heard"
    ),
    "catching_up_answered": counter(
        "heartfelt_catching_up_answered", "Such questions of other monitors that were answered"
    ),
    "catching_up_incomplete": counter(
        "heartfelt_catching_up_incomplete", "Such questions of others that were answered before all was found out"
    ),
    "catching_up_unanswered": counter(
        "heartfelt_catching_up_unanswered", "Such questions that were not answered before losses were asked for"
    ),
}
_logger = logging.getLogger("heartfelt.monitor.cluster")


class CatchingUp:
    """Belongs to the loop's thread. ready: called with losses that Redis may be asked for now. catch_up: finds
    out whose is what was heard here, and forwards it; also if it is cancelled: what is known by then."""

    def __init__(
        self,
        channel: Channel,
        ready: Callable[[list[Loss]], None],
        catch_up: Callable[[], Awaitable[None]],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._peers, self._ready, self._catch_up = channel.peers, ready, catch_up
        channel.on_notice(ASK, self.asked, int)
        channel.on_notice(ANSWER, self.answered, int)
        self._now_s = now_s
        self._next: list[Loss] = []
        """Losses that wait for the next question."""
        self._asked_for: list[Loss] = []
        """Those that wait for answers."""
        self._missing: set[str] = set()
        """Monitors that have not answered the last question."""
        self._number = 0
        self._ends_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._askers: dict[str, int] = {}
        """Monitor -> the number of its last question, which is not answered yet."""
        self._answering: asyncio.Task[None] | None = None
        self._ended = False
        self.counts = dict.fromkeys(FIGURES, 0)

    def end(self) -> None:
        """Asks and answers nothing any more. Losses that wait are dropped: another monitor finds them."""
        self._ended = True
        self._stop_timer()
        if self._answering is not None:
            self._answering.cancel()

    # -- this monitor asks

    def wait(self, loss: Loss) -> None:
        """Hands a loss to `ready` once the other monitors have caught up; at once if there are none."""
        if self._ended:
            return
        if not self._next and not self._asked_for and not self._reachable():
            self._ready([loss])
            return
        self._next.append(loss)
        if not self._asked_for:
            self._arm(GATHER_S, self._ask)

    def _reachable(self) -> list[str]:
        return [one for one in self._peers.connected if self._peers.unheard_s(one) <= ANSWER_S]

    def _ask(self) -> None:
        self._timer = None
        self._number += 1
        self._asked_for, self._next = self._next, []
        self._missing = {one for one in self._reachable() if self._peers.notify(one, ASK, self._number)}
        self.counts["catching_up_asked"] += len(self._missing)
        self._ends_s = self._now_s() + ANSWER_S
        self._look()

    def _look(self) -> None:
        """Ends the question if nobody is missing of whom an answer can be expected."""
        self._timer = None
        expected = self._missing.intersection(self._reachable()) if self._now_s() < self._ends_s else ()
        if expected:
            self._arm(LOOK_S, self._look)
            return
        self.counts["catching_up_unanswered"] += len(self._missing)
        self._missing.clear()
        losses, self._asked_for = self._asked_for, []
        if self._next:
            self._arm(GATHER_S, self._ask)
        self._ready(losses)

    def answered(self, peer: str, number: int) -> None:
        """Takes the answer of another monitor."""
        if number == self._number and peer in self._missing and not self._ended:
            self._missing.discard(peer)
            if not self._missing:
                self._stop_timer()
                self._look()

    def _arm(self, in_s: float, what: Callable[[], None]) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(in_s, what)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- others ask

    def asked(self, peer: str, number: int) -> None:
        """Answers another monitor once everything that was heard here is on its way."""
        if self._ended:
            return
        self._askers[peer] = number
        if self._answering is None:
            self._answering = asyncio.get_running_loop().create_task(self._answer(), name="catching up")

    async def _answer(self) -> None:
        try:
            while self._askers:
                askers, self._askers = self._askers, {}
                try:
                    await within(CATCH_UP_S, self._catch_up_for(askers))
                except (StoreError, asyncio.TimeoutError):
                    self.counts["catching_up_incomplete"] += 1
                except Exception:
                    self.counts["catching_up_incomplete"] += 1
                    _logger.exception("what was heard here could not be sent on; it continues")
                for peer, number in askers.items():
                    self.counts["catching_up_answered"] += self._peers.notify(peer, ANSWER, number)
        finally:
            self._answering = None

    async def _catch_up_for(self, askers: dict[str, int]) -> None:
        """Looks again and again whether all was sent: `_answer` limits it to CATCH_UP_S."""
        await self._catch_up()
        while any(map(self._peers.has_unsent, askers)):
            await asyncio.sleep(GATHER_S)

    # -- figures

    def stats(self) -> dict[str, int]:
        return dict(self.counts)

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.counts)
