# SPDX-License-Identifier: MIT
"""Asks the other monitors what they count, for what is decided here by the numbers of the fleet (fleet/others.py).

A service whose numbers are wanted is asked for at once, and a few times more in `settle`: an instance is decided on
that long after its deadline, and others may go silent meanwhile. Questions and answers are notices: nothing waits for
them, and one that is lost is followed by another. While nothing is wanted, nothing is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import msgspec

from heartfelt.monitor.fleet.others import CensusAnswer, Others
from heartfelt.monitor.metric import Figures, Reading, counter, read

ASK = "count"
ANSWER = "counted"
FIRST_S = 0.01
"""Time in which wishes are gathered, to be asked for together."""
EVERY_S, MOST_EVERY_S = 0.05, 0.5
SLOW_S = 1.0
"""An answer that took longer is dropped: it does not say what is counted now."""
MOST_WANTED = 500
"""Services that are asked for at once. What is beyond that has its turn later."""
MOST_NAMES = 100_000
"""Characters of their names."""
FIGURES: Figures = {
    "asked": counter("heartfelt_census_asked", "Questions to other monitors about what they count"),
    "answered": counter("heartfelt_census_answered", "Such questions of other monitors that were answered"),
    "taken": counter("heartfelt_census_taken", "Answers of other monitors that were taken"),
    "slow": counter("heartfelt_census_slow", "Answers of other monitors that came too late to be of use"),
    "not_sent": counter("heartfelt_census_not_sent", "Questions and answers that could not be sent"),
    "left_out": counter("heartfelt_census_left_out", "Services that were not asked for, since too many were at once"),
}


class Question(msgspec.Struct, array_like=True):
    number: int
    services: list[str]


class CensusReply(msgspec.Struct, array_like=True):
    number: int
    """The number of the question."""
    answer: CensusAnswer


class Counting(Protocol):
    """This monitor's numbers: `registry.owned`."""

    @property
    def others(self) -> Others: ...
    def answer(self, services: Iterable[str]) -> CensusAnswer: ...
    def took(self, monitor: str, answer: CensusAnswer) -> None: ...
    def prune_others(self) -> None: ...


class Census:
    """Belongs to the loop. own: this monitor's id. notify: sends a notice to a monitor; False: not now."""

    def __init__(
        self,
        own: str,
        counting: Counting,
        notify: Callable[[str, str, Any], bool],
        settle_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own
        self._every_s = min(max(settle_s / 4, EVERY_S), MOST_EVERY_S)
        self._look_s = settle_s + self._every_s
        self._counting = counting
        self._notify = notify
        self._now_s = now_s
        self._wanted: dict[str, float] = {}
        """Service -> until when it is asked for; the one that was asked for the longest time ago first."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle = False
        self._number = 0
        self._sent: dict[int, float] = {}
        """Number of a question -> when it was sent; of the last SLOW_S."""
        self.counts = dict.fromkeys(FIGURES, 0)
        counting.others.on_want = self.want

    def set_living(self, living: Iterable[str]) -> None:
        self._counting.others.set_living(self._own, living)

    def want(self, service: str) -> None:
        """Asks for the numbers of a service for a while. O(1)."""
        if service not in self._wanted and len(self._wanted) >= 4 * MOST_WANTED:
            self.counts["left_out"] += 1
            service = ""  # at least those of all
        if not _is_text(service):
            service = ""
        self._wanted[service] = self._now_s() + self._look_s
        if self._timer is None or self._is_idle:
            self._arm(FIRST_S)

    def stop(self) -> None:
        self._counting.others.on_want = lambda service: None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, in_s: float, *, is_idle: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_idle = is_idle
        self._timer = asyncio.get_running_loop().call_later(in_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now_s = self._now_s()
        for number in [one for one, at_s in self._sent.items() if at_s < now_s - SLOW_S]:
            del self._sent[number]
        if self._wanted:
            self._ask(now_s)
            self._arm(self._every_s)
            return
        self._counting.prune_others()
        if not self._counting.others.is_empty:
            self._arm(SLOW_S, is_idle=True)

    def _ask(self, now_s: float) -> None:
        some: list[str] = []
        left = MOST_NAMES
        for service in islice(self._wanted, MOST_WANTED):
            left -= len(service)
            if some and left < 0:
                break
            some.append(service)
        for service in some:
            if (until_s := self._wanted.pop(service)) > now_s:
                self._wanted[service] = until_s
        self._number += 1
        self._sent[self._number] = now_s
        question = Question(self._number, [service for service in some if service])
        for monitor in self._counting.others.ids:
            self.counts["asked"] += 1
            self._tell(monitor, ASK, question)

    def _tell(self, monitor: str, kind: str, what: Any) -> None:
        try:
            is_sent = self._notify(monitor, kind, what)
        except UnicodeEncodeError:  # the reason of a hold names a service that is no text
            is_sent = False
        self.counts["not_sent"] += not is_sent

    # -- notices of other monitors

    def asked(self, monitor: str, question: Question) -> None:
        self.counts["answered"] += 1
        answer = self._counting.answer(question.services[:MOST_WANTED])
        self._tell(monitor, ANSWER, CensusReply(question.number, answer))

    def answered(self, monitor: str, reply: CensusReply) -> None:
        sent_s = self._sent.get(reply.number)
        if sent_s is None or self._now_s() - sent_s > SLOW_S:
            self.counts["slow"] += 1
            return
        self.counts["taken"] += 1
        self._counting.took(monitor, reply.answer)

    def stats(self) -> dict[str, int]:
        return dict(self.counts)

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())


def _is_text(service: str) -> bool:
    """Returns whether a name can be sent: some that were pinged are no UTF-8."""
    try:
        return service.isascii() or bool(service.encode())
    except UnicodeEncodeError:
        return False
