# SPDX-License-Identifier: MIT
"""Every sentence that the monitor gives as a reason: from each function of the catalogue, and as they come about."""

from __future__ import annotations

import inspect

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import AgentEvent, Beat, Hold, State
from tests.monitor.fleet.world import World, saved

NOON_MS = 1_700_049_600_000
NAMES = ("shop", 'a "shop" of {n}; it beats', "商店/订单 (lease 5 s)")
"""Of services: they may have anything in them that can be printed."""


def instances():
    """As the sentences differ by them: with and without a sender, before and after a start of the monitor."""
    world = World()
    found = []
    for n, peer in enumerate(("10.0.0.7", "2001:db8::7", "")):
        one = world.registry.beat(
            Beat(service="shop", instance_id=f"i-{n}", via="sermant", peer=peer, interval_ms=3000, lag_ms=1700)
        )
        one.last_beat_ms = NOON_MS + n
        one.restored_ms = NOON_MS + 500 if n else None
        found.append(one)
    world.close()
    found[2].state = State.LEFT
    return found


ONES = instances()
LATER_MS = NOON_MS + 65_250
SHARE = reasons.share(12, 20, 5000, "shop", 0.5)

# By the names of public functions: what they are called with. "joined" and the like are called for each instance.
SAMPLES = {
    "joined": [(one,) for one in ONES],
    "second": [(gap_ms,) for gap_ms in (-5, 0, 12, 5200, 60_000)],
    "last_beat": [(one,) for one in ONES],
    "silent": [(one, LATER_MS) for one in ONES],
    "lost": [(one, LATER_MS) for one in ONES],
    "late": [(one, 4500) for one in ONES],
    "held": [(why, one, LATER_MS) for one in ONES for why in (SHARE, reasons.no_longer_held("released", SHARE))],
    "stuck": [(one, 1500) for one in ONES],
    "beats_again": [(80,), (3_600_000,)],
    "came_back": [(80,)],
    "answers": [(one,) for one in ONES],
    "left": [(reason, one) for one in ONES for reason in ("", "scaled down", "full disk; it beats; bye")],
    "has_left": [(one,) for one in ONES],
    "forgotten": [(one, 600_000, LATER_MS) for one in ONES],
    "paused": [(None,), (NOON_MS,)],
    "after": [(reasons.RESUMED, reasons.IT_BEATS), (reasons.PAUSE_ENDED, reasons.lost(ONES[0], LATER_MS))],
    "stalled": [(1234.5,), (60_000.0,)],
    "share": [(12, 20, 5000, scope, limit) for scope in ("", *NAMES) for limit in (0.5, 0.333, 1.0)],
    "two_services": [(first, second) for first in NAMES for second in NAMES],
    "silence": [(7000.0, 333.3)],
    "released": [("",), ("panel",), ("Ann; at night",)],
    "now_told": [(held_ms, per_s) for held_ms in (120_000, 5250.0) for per_s in (10.0, 0.5, 1e-5, 1e9)],
    "no_longer_held": [
        (how, why)
        for how in (reasons.released("Ann"), reasons.now_told(20_000, 10.0))
        for why in (SHARE, reasons.stalled(2000), reasons.silence(7000, 20), *map(reasons.two_services, NAMES, NAMES))
    ],
    "hold_began": [(Hold(reason=SHARE, until_ms=until_ms),) for until_ms in (None, NOON_MS)],
    "hold_ended": [()],
    "waiting": [(one,) for one in ONES],
}  # fmt: skip
PARTS = {"seconds", "at", "source"}
"""Functions that give no sentence, but a part of some."""


def functions():
    """The names of the public functions of `reasons`."""
    found = inspect.getmembers(reasons, inspect.isfunction)
    return {name for name, one in found if one.__module__ == reasons.__name__ and not name.startswith("_")}


def sentences():
    """What they all give, and the constants."""
    constants = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]
    made = [getattr(reasons, name)(*values) for name, calls in SAMPLES.items() for values in calls]
    return list(dict.fromkeys(constants + made))


class _Listener:
    """Notes each reason that a registry gives."""

    def __init__(self) -> None:
        self.reasons = []

    def follow(self, world):
        registry = world.registry
        registry.on_change.append(lambda change: self.reasons.append(change.reason))
        registry.on_row.append(lambda row: self.reasons.append(row.reason))
        registry.on_hold.append(lambda hold: self.reasons.append(hold.reason))
        registry.on_event.append(self._event)
        return world

    def _event(self, event: AgentEvent) -> None:
        self.reasons.append(event.info["description"])


def lived():
    """The reasons that a registry gives to instances whose lives have everything in them."""
    listener = _Listener()
    world = listener.follow(World())
    ids = [f"web/{n}" for n in range(6)]
    world.join(*ids, interval_ms=3000)
    by_name = {name: world.of(name).id for name in ids}
    world.beat("web/0", lag_ms=100_000)
    world.beat("web/0", lag_ms=1)
    world.beat("web/1", goodbye=True)
    world.beat("web/1")
    world.registry.goodbye("web", "2", "scaled down")
    for name, until_ms in (("web/2", None), ("web/3", None), ("web/4", world.wall_ms() + 20_000)):
        world.registry.pause(by_name[name], until_ms)
    for name in ("web/2", "web/3"):
        world.registry.resume(by_name[name])
    world.registry.pause(by_name["web/5"])
    world.advance(200)
    world.registry.resume(by_name["web/5"])
    world.beat("web/3")
    rows = [world.registry.row(one) for one in world.registry.instances()]
    world.advance(10_000)
    world.registry.stalled(2500.0)
    world.close()

    again = listener.follow(World(wall_ms=world.wall_ms()))
    again.registry.restore(saved(rows, next_id=100))
    again.advance(100)
    again.close()

    for settings in ({}, {"max_ms": 20_000}):
        held = listener.follow(World(policy=Policy(hold=HoldPolicy(release_per_s=10.0, **settings))))
        racks = [[f"{service}/{n}" for n in range(12)] for service in NAMES]
        for rack in racks:
            held.join(*rack, interval_ms=3000)
        held.run(10, beating=[name for rack in racks for name in rack])
        held.run(45, beating=racks[1] + racks[2])
        held.run(62, beating=racks[2])
        held.registry.release_hold("Ann")
        held.run(30, beating=racks[2])
        held.close()
    return list(dict.fromkeys(filter(None, listener.reasons)))
