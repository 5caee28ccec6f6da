# SPDX-License-Identifier: MIT
"""Makes the reasons for what the fleet decides, from the instance and the figures at hand.

Each function gives a `Reason`: a code with arguments. The table of codes and their sentences are in `monitor/reasons/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.periods import crowding_ms
from heartfelt.monitor.fleet.run_text import line_of
from heartfelt.monitor.fleet.terms import TermsSource
from heartfelt.monitor.model import Ack, AgentEvent, Hold, Run, State
from heartfelt.monitor.reasons import Reason, make

Led: TypeAlias = Callable[[Reason], Reason]
"""Makes a reason that says what led to the present state, from the reason for that state."""
ALIVE = make("alive")
HOLD_ENDED = make("hold_ended")
REDIS_UNREACHABLE = make("redis_unreachable")
KEPT_LAST = "kept_last"
_LED = frozenset(("resumed", "pause_ended", "ack_ended", KEPT_LAST))
_PAUSED = frozenset(("paused", "paused_until"))


def joined(instance: Instance) -> Reason:
    return _joined(instance.peer or None, instance.via)


@lru_cache(maxsize=1024)  # many instances join from one address
def _joined(peer: str | None, via: str) -> Reason:
    return make("first_heartbeat", peer=peer, via=via)


def second(gap_ms: int) -> Reason:
    return make("second_heartbeat", gap_ms=max(gap_ms, 0))


def lost(instance: Instance, now_ms: int, *, again: bool = False) -> Reason:
    """Says how long there was no heartbeat by the wall clock, but at least the timeout: that much is certain.

    again: it was LOST before, so that a start of the monitor since then is not when its silence began.
    """
    since_start = bool(instance.restored_ms) and not again
    code, silent_ms = _silence("lost", instance, now_ms, instance.lease_ms, since_start=since_start)
    figures: dict[str, Any] = {"silent_ms": silent_ms, "timeout_ms": instance.lease_ms, "terms": _terms(instance)}
    if since_start:
        figures["reconnect_ms"] = instance.reconnect_ms or None
    return make(code, **figures, **_last(instance))


def _terms(instance: Instance) -> Reason | None:
    """Says what a timeout consists of, or that a timeout that somebody set is about as long as its period."""
    terms = instance.terms
    if terms.is_explicit and (period_ms := crowding_ms(instance)) is not None:
        return make("terms_too_short", period_ms=period_ms)
    if terms.grace_ms is None:
        return None
    if terms.period_ms is None:
        return make("terms_unknown", default_ms=terms.timeout_ms - terms.grace_ms, grace_ms=terms.grace_ms)
    code = "terms_learned" if terms.source is TermsSource.LEARNED else "terms_set"
    return make(code, period_ms=terms.period_ms, grace_ms=terms.grace_ms)


def late(instance: Instance, now_ms: int) -> Reason:
    """Says how long there was no heartbeat by the wall clock, but at least as long as it takes to be late."""
    since_start = bool(instance.restored_ms)
    code, silent_ms = _silence("late", instance, now_ms, instance.late_ms or 0, since_start=since_start)
    terms = {"interval_ms": instance.terms.interval_ms or 0, "timeout_ms": instance.lease_ms}
    return make(code, silent_ms=silent_ms, **terms, **_last(instance))


def held(why: Reason, instance: Instance, now_ms: int) -> Reason:
    return make("held", loss=lost(instance, now_ms), why=why)


def waiting(instance: Instance, now_ms: int) -> Reason:
    """Explains LATE after a pause: no beat within the interval, or none since the monitor started, or took it over."""
    if instance.restored_ms is None:
        return late(instance, now_ms)
    return make("waiting" if instance.restored_ms else "taken_over", **_last(instance))


def checking(instance: Instance) -> Reason:
    return make("checking", **_last(instance))


def stuck(instance: Instance, limit_ms: int) -> Reason:
    return make("stuck", lag_ms=instance.lag_ms or 0, limit_ms=limit_ms)


def beats_again(outage_ms: int) -> Reason:
    return make("heartbeats_again", outage_ms=outage_ms)


def came_back(outage_ms: int) -> Reason:
    return make("came_back", outage_ms=outage_ms)


def answers(instance: Instance) -> Reason:
    return make("responds_again", lag_ms=instance.lag_ms or 0)


def resumed(by: str, why: str) -> Led:
    """`by`, `why`: the person who ended the pause, and what was said about it."""
    return lambda now: make("resumed", by=by or None, why=why or None, now=now)


def pause_ended(now: Reason) -> Reason:
    return make("pause_ended", now=now)


def both(first: Led, second: Led) -> Led:
    return lambda now: first(second(now))


def ack_ended(ack: Ack) -> Led:
    return lambda now: make("ack_ended", by=ack.by or None, why=ack.why or None, now=now)


def kept_last(instance: Instance) -> Reason:
    return make(KEPT_LAST, service=instance.service, now=bare(instance.reason))


def bare(reason: Reason) -> Reason:
    """Returns the reason for a state without what led to it, so that reasons do not grow."""
    while reason.code in _LED:
        inner = reason.values[-1]
        assert isinstance(inner, Reason)
        reason = inner
    return reason


def acked(ack: Ack) -> Reason:
    return make("acked", by=ack.by or None, why=ack.why or None, until_ms=ack.until_ms)


def ack_withdrawn(by: str, why: str) -> Reason:
    return make("ack_withdrawn", by=by or None, why=why or None)


def left(text: str, instance: Instance, event: AgentEvent | None = None) -> Reason:
    """`text`: what the instance, or a person, said about it. `event`: the agent's event that says so."""
    if event is not None:
        return make("goodbye_event", event=str(event.name), **_last(instance))
    return make("goodbye", text=text or None, **_last(instance))


def expired(instance: Instance, lease_cache_ms: int, now_ms: int) -> Reason:
    code = "expired_left" if instance.state is State.LEFT else "expired_lost"
    silent_ms = max(now_ms - instance.last_beat_ms, 0)
    return make(code, silent_ms=silent_ms, kept_ms=lease_cache_ms, **_last(instance))


def made_way(instance: Instance, joined: str, now_ms: int) -> Reason:
    """Explains the removal of the last of its service when another one, `joined`, has come."""
    silent_ms = max(now_ms - instance.last_beat_ms, 0)
    return make("expired_kept", silent_ms=silent_ms, joined=joined, **_last(instance))


def removed(text: str, by: str) -> Reason:
    """`text`: what the person who removed it, `by`, said about it."""
    return make("removed_by_hand", by=by or None, text=text or None)


def paused(until_ms: int | None, by: str, why: str, before: Reason | None) -> Reason:
    """`before`: the reason for its state before, if that was told to people."""
    said: dict[str, Any] = {"by": by or None, "why": why or None, "before": before}
    return make("paused", **said) if until_ms is None else make("paused_until", until_ms=until_ms, **said)


def before_pause(reason: Reason) -> Reason | None:
    """Returns `before` of a pause's reason."""
    before = reason.values[-1] if reason.code in _PAUSED else None
    return before if isinstance(before, Reason) else None


def paused_after(reason: Reason, before: Reason | None) -> Reason:
    """Returns a pause's reason with another `before`, since something happened to the instance in the pause."""
    return Reason(reason.code, (*reason.values[:-1], before)) if reason.code in _PAUSED else reason


def stalled(stall_ms: float) -> Reason:
    return make("stalled", stall_ms=round(stall_ms))


def clock_jumped(jump_ms: float) -> Reason:
    return make("clock_jumped", jump_ms=round(jump_ms))


def share(n: int, total: int, window_ms: float, scope: str, limit: float) -> Reason:
    figures: dict[str, Any] = {"lost": n, "total": total, "window_ms": round(window_ms), "share": limit}
    return make("share_of_service", service=scope, **figures) if scope else make("share_of_all", **figures)


def share_here(n: int, total: int, window_ms: float, scope: str, limit: float) -> Reason:
    """Says it of what one monitor of several watches, whatever the scope is."""
    return make("share_of_monitor", lost=n, total=total, window_ms=round(window_ms), share=limit)


def many_services(first: str, second: str) -> Reason:
    return make("many_services", first=first, second=second)


def silence(silent_ms: float, due: int) -> Reason:
    return make("all_silent", silent_ms=round(silent_ms), due=due)


def none_back(known: int) -> Reason:
    return make("none_back", known=known)


def none_back_here(known: int) -> Reason:
    return make("none_back_here", known=known)


def leak(arrive: float) -> Reason:
    return make("beats_lost", arrive=arrive)


def addresses(some: Sequence[str], *, is_many: bool) -> Reason:
    """`is_many`: there are more than these."""
    return make("many_addresses" if is_many else "addresses", count=len(some), addresses=", ".join(some))


def address_stopped(address: str, silent_ms: float, others: Sequence[str]) -> Reason:
    return make("address_stopped", address=address, silent_ms=round(silent_ms), others=", ".join(others))


def released(by: str, why: Reason) -> Reason:
    return make("released", by=by or None, why=why)


def hold_expired(held_ms: float, per_s: float, why: Reason) -> Reason:
    return make("hold_expired", held_ms=round(held_ms), per_s=per_s, why=why)


def hold_began(hold: Hold) -> Reason:
    return make("hold_began", until_ms=hold.until_ms, why=hold.reason)


def run_failed(run: Run, text: str) -> Reason:
    """`text`: what was reported together with the failure."""
    return make("run_failed", status=run.status or None, duration_ms=run.duration_ms, text=line_of(text), **_rid(run))


def run_too_long(run: Run, most_ms: int) -> Reason:
    return make("run_too_long", duration_ms=run.duration_ms or 0, most_ms=most_ms, **_rid(run))


def run_too_short(run: Run, least_ms: int) -> Reason:
    return make("run_too_short", duration_ms=run.duration_ms or 0, least_ms=least_ms, **_rid(run))


def overdue(run: Run) -> Reason:
    if run.liveness_ms is not None:
        return make("run_silent", begin_ms=run.begin_ms, liveness_ms=run.liveness_ms, **_rid(run))
    return make("run_overdue", begin_ms=run.begin_ms, deadline_ms=run.deadline_ms or 0, **_rid(run))


def succeeded_again(outage_ms: int) -> Reason:
    return make("succeeded_again", outage_ms=outage_ms)


def still_failed(instance: Instance) -> Reason:
    """Explains that it is FAILED as before, as after a pause."""
    since_ms = instance.since_ms if instance.down_since_ms is None else instance.down_since_ms
    return make("still_failed", since_ms=since_ms)


def _rid(run: Run) -> dict[str, Any]:
    return {"rid": run.rid or None}


def _last(instance: Instance) -> dict[str, Any]:
    return {"peer": instance.peer or None, "last_beat_ms": instance.last_beat_ms}


def _silence(code: str, instance: Instance, now_ms: int, least_ms: int, *, since_start: bool) -> tuple[str, int]:
    if since_start:
        return f"{code}_since_start", max(now_ms - (instance.restored_ms or now_ms), least_ms)
    return code, max(now_ms - instance.last_beat_ms, least_ms)
