# SPDX-License-Identifier: MIT
"""The state of one target since the start: whether it may be called, and what became of its messages."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from heartfelt.monitor.webhooks.breaker import Breaker, BreakerSettings, Pace
from heartfelt.monitor.webhooks.caller import Answer
from heartfelt.monitor.webhooks.guard import mask_url
from heartfelt.monitor.webhooks.targets import Kind, Target

__all__ = ["Refusal", "Retry", "TargetState"]

_log = logging.getLogger("heartfelt.monitor.webhooks")

_DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_HOLD_MS = 5_000
_WARNED = frozenset({1, 5, 10, 100})
"""Attempts whose failure is logged. Later ones are far apart."""
# A little less than what is documented: 20 a minute; 100 a minute and 5 a second; 1 a second.
_PACE = {
    Kind.DINGTALK: ((18, _MINUTE_MS),),
    Kind.FEISHU: ((90, _MINUTE_MS), (4, 1000)),
    Kind.SLACK: ((55, _MINUTE_MS),),
    Kind.GENERIC: ((6000, _MINUTE_MS),),
}


class Retry(msgspec.Struct, kw_only=True, frozen=True):
    first_ms: int = 2_000
    most_ms: int = 600_000
    give_up_ms: int = _DAY_MS
    refusals: int = 3
    """Attempts for a message that the target refuses."""
    refusals_of_all: int = 5
    """Attempts if it seems to refuse all messages, as while its address leads nowhere: it may be put right soon."""
    refused_ms: int = 20_000
    """The wait after the first refusal of a message; it doubles with each further one."""
    calls: int = 64
    """The most calls in progress, of all targets."""
    calls_of_target: int = 4
    breaker: BreakerSettings = BreakerSettings()


class Refusal(msgspec.Struct, kw_only=True, frozen=True):
    """The last message that a target refused."""

    time_ms: int
    title: str
    """The message's title, in English."""
    answer: str
    remedy: str
    given_up: bool
    """False: it will be tried again."""


class TargetState:
    def __init__(self, target: Target, settings: Retry) -> None:
        self._settings = settings
        self.breaker = Breaker(settings.breaker)
        self.pace = Pace(_PACE[target.kind])
        self._receiver = (target.kind, target.url)
        self.calls = 0
        """Calls in progress."""
        self.delivered = 0
        self.failed = 0
        self.given_up = 0
        """Messages that were given up, because they were refused or too old."""
        self.refused = 0
        """Those of them that were refused."""
        self.last_refusal: Refusal | None = None
        self.refusing = False
        """Its last answer was a refusal."""
        self._limited = 0
        """How often in a row it asked to be called less often."""
        self.last_answer = ""
        self.last_success_ms: int | None = None
        self._warned_ms: dict[bool, int] = {}
        self._not_warned = 0
        self._failure_warned_ms: int | None = None
        self._reported_ms: int | None = None

    def changed(self, target: Target) -> None:
        """Handles a change of the target by a user: what was wrong may be mended now."""
        self.breaker.succeeded()
        self.refusing = False
        receiver = (target.kind, target.url)
        if receiver != self._receiver:  # what the old one asked for, or was sent, does not count for this one
            self._receiver = receiver
            self.pace = Pace(_PACE[target.kind])
            self._limited = 0

    def room(self, now_ms: int) -> int:
        """Returns how many calls may begin now."""
        room = min(self._settings.calls_of_target - self.calls, self.pace.room(now_ms))
        allowed = self.breaker.room(now_ms)
        return max(0, room if allowed is None else min(room, allowed))

    def wait_ms(self, now_ms: int) -> int:
        """Returns for how long there is no room, unless a call that ends makes some."""
        return max(self.breaker.wait_ms(now_ms), self.pace.wait_ms(now_ms))

    def began(self, now_ms: int, number: int) -> None:
        self.calls += 1
        self.breaker.began(number)
        self.pace.called(now_ms)

    def ended(self, number: int, *, called: bool) -> None:
        self.calls -= 1
        self.breaker.ended(number)
        if not called:
            self.pace.not_called()

    def hold(self, now_ms: int, asked_ms: int) -> int:
        """Makes no calls for a while, because the target asked for that: for as long as it asked, and longer each time
        that it asks again. Returns for how long."""
        wait_ms = max(asked_ms, min(_HOLD_MS << min(self._limited, 10), _MINUTE_MS))
        self._limited += 1
        self.pace.hold(now_ms, wait_ms)
        return wait_ms

    def note_refusal(self, target: Target, refusal: Refusal) -> None:
        """Remembers a refusal, and logs it: at most one a minute that will be tried again, and as many that were
        given up."""
        self.last_refusal = refusal
        self.refusing = True
        warned_ms = self._warned_ms.get(refusal.given_up)
        if warned_ms is not None and 0 <= refusal.time_ms - warned_ms < _MINUTE_MS:
            self._not_warned += 1
            return
        more = f" ({self._not_warned} more since the last warning)" if self._not_warned else ""
        self._warned_ms[refusal.given_up], self._not_warned = refusal.time_ms, 0
        _log.warning(
            "webhook %s (%s, %s) refused a message%s: %s; %s. The message %r %s",
            target.id,
            target.name,
            mask_url(target.url),
            more,
            refusal.answer,
            refusal.remedy,
            refusal.title,
            "was given up" if refusal.given_up else "will be tried again soon, then given up",
        )

    def note_failure(self, target: Target, tried: int, answer: Answer, now_ms: int) -> None:
        """Logs that a call failed and will be repeated: a few attempts of each message, at most one line a
        minute. Successes of other messages change nothing: one that only its receiver cannot take would be silent."""
        warned_ms = self._failure_warned_ms
        if tried not in _WARNED or (warned_ms is not None and 0 <= now_ms - warned_ms < _MINUTE_MS):
            return
        self._failure_warned_ms = now_ms
        _log.warning("webhook %s (%s): attempt %d failed: %s", target.id, target.name, tried, answer.text())

    def note_answer(self, answer: Answer, now_ms: int) -> None:
        self.last_answer = answer.text()
        if answer.ok:
            self.breaker.succeeded()
            self._limited = 0
            self.delivered += 1
            self.last_success_ms = now_ms
            self.refusing = False
        else:
            self.failed += 1

    def is_news(self, refusal: Refusal) -> bool:
        """Tells whether to report this refusal: at most one a minute."""
        if self._reported_ms is not None and 0 <= refusal.time_ms - self._reported_ms < _MINUTE_MS:
            return False
        self._reported_ms = refusal.time_ms
        return True

    def view(self, now_ms: int) -> dict[str, Any]:
        return {
            "breaker": self.breaker.state(now_ms),
            "failures": self.breaker.failures,
            "delivered": self.delivered,
            "failed": self.failed,
            "given_up": self.given_up,
            "refused": self.refused,
            "refusing": self.refusing,
            "last_refusal": None if self.last_refusal is None else msgspec.to_builtins(self.last_refusal),
            "last_answer": self.last_answer,
            "last_success_ms": self.last_success_ms,
        }
