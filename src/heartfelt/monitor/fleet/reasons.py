# SPDX-License-Identifier: MIT
"""The sentences that say why: all of them. With figures, for people; the monitor parses nothing out of them.

They are English wherever they are stored or sent. The panel finds them in panel/words/zh/reasons.js, clause by clause
("; " joins them), to show them in Chinese: a new one stands there, too, and among the samples of its test.
"""

from __future__ import annotations

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.model import Hold

RESUMED = "resumed"
PAUSE_ENDED = "its pause ended"
REMOVED_BY_HAND = "removed by hand"
IT_BEATS = "it beats"


def seconds(ms: float) -> str:
    """12 ms as "0.012 s", 5,200 ms as "5.2 s", 60,000 ms as "60 s"."""
    whole = round(ms)
    if whole % 1000 == 0:
        return f"{whole // 1000} s"
    text = f"{whole / 1000:.3f}" if abs(whole) < 1000 else f"{whole / 1000:.1f}"
    return f"{text.rstrip('0').rstrip('.')} s"


def at(time_ms: int) -> str:
    """A time of day, UTC."""
    minutes, second = divmod(time_ms // 1000 % 86_400, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}Z"


def source(instance: Instance) -> str:
    return f"from {instance.peer} " if instance.peer else ""


def last_beat(instance: Instance) -> str:
    before = ", before the monitor started" if instance.restored_ms is not None else ""
    return f"last beat {source(instance)}at {at(instance.last_beat_ms)}{before}"


def joined(instance: Instance) -> str:
    return f"first beat, {source(instance)}by {instance.via}"


def second(gap_ms: int) -> str:
    return f"second beat, {seconds(max(gap_ms, 0))} after the first"


def silent(instance: Instance, now_ms: int) -> str:
    """How long there was no beat, by the clock on the wall, but at least the lease: that much is sure."""
    if instance.restored_ms is not None:
        waited = max(now_ms - instance.restored_ms, instance.lease_ms)
        return f"no beat since the monitor started {seconds(waited)} ago"
    return f"no beat for {seconds(max(now_ms - instance.last_beat_ms, instance.lease_ms))}"


def lost(instance: Instance, now_ms: int) -> str:
    return f"{silent(instance, now_ms)} (lease {seconds(instance.lease_ms)}); {last_beat(instance)}"


def late(instance: Instance, late_ms: int) -> str:
    interval = seconds(instance.interval_ms or 0)
    lease = seconds(instance.lease_ms)
    return f"no beat for {seconds(late_ms)} (interval {interval}, lease {lease}); {last_beat(instance)}"


def held(why: str, instance: Instance, now_ms: int) -> str:
    return f"{lost(instance, now_ms)}; the loss is held: {why}"


def stuck(instance: Instance, limit_ms: int) -> str:
    lag = seconds(instance.lag_ms or 0)
    return f"it beats, but its interpreter has not answered for {lag} (limit {seconds(limit_ms)})"


def beats_again(outage_ms: int) -> str:
    return f"beats again, {seconds(outage_ms)} after its last beat"


def came_back(outage_ms: int) -> str:
    return f"came back after leaving, {seconds(outage_ms)} after its last beat"


def answers(instance: Instance) -> str:
    return f"its interpreter answers again (within {seconds(instance.lag_ms or 0)})"


def after(why: str, now: str) -> str:
    """What led to it, and what is."""
    return f"{why}; {now}"


def left(reason: str, instance: Instance) -> str:
    return f"said goodbye{': ' + reason if reason else ''}; {last_beat(instance)}"


def has_left(instance: Instance) -> str:
    return f"it {left('', instance)}"


def forgotten(instance: Instance, cache_ms: int, now_ms: int) -> str:
    gone = "it left" if instance.state.value == "LEFT" else "it was lost"
    silent_ms = max(now_ms - instance.last_beat_ms, 0)
    return f"{gone} and sent no beat for {seconds(silent_ms)} (kept for {seconds(cache_ms)}); {last_beat(instance)}"


def paused(until_ms: int | None) -> str:
    return "paused until it is resumed" if until_ms is None else f"paused until {at(until_ms)}"


def stalled(stall_ms: float) -> str:
    return f"the monitor itself was stalled for {seconds(stall_ms)}"


def share(n: int, total: int, window_ms: float, scope: str, limit: float) -> str:
    whose = f"of service {scope}" if scope else "of all services"
    return (
        f"{n} of {total} instances {whose} went silent within {seconds(window_ms)} "
        f"(more than {limit:.0%}, so their network or the monitor's may be at fault)"
    )


def two_services(first: str, second: str) -> str:
    return (
        f"many instances of service {first}, and then of others, {second} among them, went silent: "
        "losses of all services are held"
    )


def silence(silent_ms: float, per_s: float) -> str:
    return (
        f"no beat from anybody for {seconds(silent_ms)}, where before there were {per_s:.0f} a second: "
        "the monitor's network may be down"
    )


def released(by: str) -> str:
    return f"released by {by}" if by else "released"


def now_told(held_ms: float, per_s: float) -> str:
    return f"held for {seconds(held_ms)}, now told, {per_s:g} a second"


def no_longer_held(how: str, reason: str) -> str:
    return f"{how}; it was held because {reason}"


def hold_began(hold: Hold) -> str:
    """The name in the event tells that it is about a hold."""
    until = f", until {at(hold.until_ms)} at the latest" if hold.until_ms is not None else ""
    return f"losses are held back{until}, since {hold.reason}"


def hold_ended() -> str:
    return "no losses are held back any more"


def waiting(instance: Instance) -> str:
    """Not lost, but nothing was heard of it for an interval, or since the monitor started."""
    return f"nothing was heard of it yet; {last_beat(instance)}"
