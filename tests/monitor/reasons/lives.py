# SPDX-License-Identifier: MIT
"""The reasons that a registry gives to instances whose lives have everything in them."""

from __future__ import annotations

from heartfelt.monitor.fleet import reasons
from heartfelt.monitor.fleet.owners import TakenOver
from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import AgentEvent
from heartfelt.monitor.reasons import NO_REASON, Reason, read, text_reason
from heartfelt.monitor.webhooks.notices import refusal_event
from tests.monitor.cluster.counting import Counting
from tests.monitor.cluster.truth import Fleet
from tests.monitor.fleet.world import World, saved
from tests.monitor.ingest.world import heartbeat
from tests.monitor.store.values import event

NAMES = ("shop", 'a "shop" of {n}; it beats', "商店/订单 [lost]")
"""Names of services, which may contain any printable characters."""


def parts(reasons):
    """These reasons, and those in their arguments."""
    for reason in reasons:
        yield reason
        yield from parts(value for value in reason.values if isinstance(value, Reason))


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
        self.reasons.append(read(event.info["reason_code"], event.info["reason_args"]))


def lived():
    """Returns at least one reason of each kind, made as the monitor makes it, each once."""
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
    world.registry.goodbye("web", "1", event=event(1, info={"name": "SERMANT_STOP"}))
    world.beat("web/1")
    for name, until_ms in (("web/2", None), ("web/3", None), ("web/4", world.wall_ms() + 20_000)):
        world.registry.pause(by_name[name], until_ms)
    for name in ("web/2", "web/3"):
        world.registry.resume(by_name[name])
    world.registry.pause(by_name["web/5"])
    world.advance(200)
    world.registry.resume(by_name["web/5"])
    world.beat("web/3")
    world.join("web/gone", "web/asked away")
    world.registry.remove(world.of("web/gone").id)
    world.registry.remove(world.of("web/asked away").id, "its host was given back", by="Ann")
    world.join("web/quiet", interval_ms=3000)
    world.registry.pause(world.of("web/quiet").id)
    rows = [world.registry.row(one) for one in world.registry.instances()]
    rows[0].reason = text_reason("as an older version wrote it")
    world.advance(10_000)
    world.registry.stalled(2500.0)
    world.close()

    again = listener.follow(World(wall_ms=world.wall_ms()))
    again.registry.restore(saved(rows, next_id=100))
    again.registry.resume(again.of("web/quiet").id)
    listener.reasons.append(again.of("web/0").reason)
    again.advance(100)
    again.close()

    jobs = listener.follow(World())
    jobs.fail("shop/job", status=3, text="no space left")
    jobs.ok("shop/job")
    jobs.ok("shop/job", duration_ms=10, min_duration_ms=500, max_duration_ms=60_000)
    jobs.ok("shop/job", rid="r", duration_ms=90_000)
    jobs.registry.pause(jobs.of("shop/job").id)
    jobs.registry.resume(jobs.of("shop/job").id)
    jobs.advance(100_000)
    jobs.progress("shop/job", rid="late")
    jobs.starts("shop/job", rid="hangs")
    jobs.advance(20)
    jobs.progress("shop/job", rid="silent", timeout_ms=2000)
    jobs.ok("shop/job")
    jobs.advance(5)
    jobs.ok("shop/job")
    jobs.starts("shop/job", timeout_ms=1000)
    jobs.advance(2)
    jobs.close()
    cared = listener.follow(World())
    cared.join("web/1", "web/2")
    cared.advance(60)
    for name, until_ms in (("web/1", cared.wall_ms() + 1_000), ("web/2", None)):
        cared.registry.ack(cared.of(name).id, by="Ann", why="its disk is full", until_ms=until_ms)
    cared.registry.withdraw_ack(cared.of("web/2").id, by="Ann")
    cared.registry.pause(cared.of("web/2").id, by="Ann", why="until it has a disk")
    cared.advance(700)
    cared.registry.resume(cared.of("web/2").id, by="Ann")
    cared.advance(700)
    cared.beat("web/3")
    cared.close()

    settings = (
        {"release_per_s": 10.0},
        {"release_per_s": 10.0, "longest_ms": 20_000},
        {"release_per_s": 10.0, "share": 1.0, "share_of_all": 0.3},
    )
    for one in settings:
        held = listener.follow(World(policy=Policy(hold=HoldPolicy(**one))))
        racks = [[f"{service}/{n}" for n in range(12)] for service in NAMES]
        for rack in racks:
            held.join(*rack, interval_ms=3000)
        held.run(10, beating=[name for rack in racks for name in rack])
        held.run(45, beating=racks[1] + racks[2])
        held.run(62, beating=racks[2])
        held.registry.release_hold("Ann")
        held.run(30, beating=racks[2])
        held.close()

    silent = listener.follow(World(policy=Policy()))
    fleet = [f"s{n}/1" for n in range(9)]
    silent.join(*fleet, interval_ms=3000, timeout_ms=9000)
    silent.run(30, beating=fleet)
    silent.run(10)
    rows = [silent.registry.row(one) for one in silent.registry.instances()]
    silent.close()
    back = listener.follow(World(policy=Policy()))
    back.registry.restore(saved(rows, next_id=100))
    back.run(20, beating=[])
    for _ in range(40):  # each in turn misses two of three beats
        for n in range(3):
            back.run(3, beating=fleet[n::3], step=0.5)
    back.run(10, beating=fleet[1:])
    back.close()
    timed = listener.follow(World())
    timed.beat("cron/once", via="ping")
    timed.join("web/every", every_ms=20_000)
    for _ in range(3):
        timed.beat("cron/minute", via="ping")
        timed.beat("web/tight", timeout_ms=60_000)
        timed.advance(60.05)
    peers = [f"10.0.0.{n}" for n in range(12)]
    for name, some in (("cron/two", peers[:2] * 2), ("cron/many", peers + peers[-2:])):
        for peer in some:
            timed.beat(name, via="udp", peer=peer)
    for _ in range(20):
        timed.beat("cron/two", via="udp", peer=peers[0])
        timed.advance(10)
    timed.close()
    _live_at_many_monitors(listener)
    listener.reasons.append(reasons.clock_jumped(60_000.0))
    webhook = refusal_event("id", "ops", "404 in 3 ms - status 404", "check the webhook's address", 0)
    listener.reasons.append(read(webhook.info["reason_code"], webhook.info["reason_args"]))
    return [one for one in dict.fromkeys(listener.reasons) if one is not NO_REASON and one != NO_REASON]


def _live_at_many_monitors(listener):
    fleet = Fleet(1, policy=Policy(hold=HoldPolicy(enable=False)))
    node = listener.follow(fleet.nodes[0])
    for name in ("1", "2", "3"):
        for _ in range(2):
            node.beat(heartbeat("web", name, timeoutMs=60_000))
            fleet.settle()
    rows = [TakenOver(one.row(), 0.0) for one in node.registry.instances()]
    node.registry.pause(rows[0].row.id)
    fleet.truth.reachable = False
    fleet.advance(8000.0, step=500.0)
    node.registry.resume(rows[0].row.id)
    fleet.advance(2.0, step=1.0)
    fleet.close()
    other = Fleet(1, policy=Policy())
    node = listener.follow(other.nodes[0])
    node.registry.owned.adopt(rows)
    node.registry.pause(rows[1].row.id)
    node.registry.resume(rows[1].row.id)
    for _ in range(10):
        other.truth.clock.advance(1000.0)
        node.poll()
    other.close()
    _live_cut_off(listener)


def _live_cut_off(listener):
    """One of four monitors hears its clients no more."""
    fleet = Fleet(4, policy=Policy(lease_timeout_ms=6000, hold=HoldPolicy(silence_ms=60_000)))
    listener.follow(fleet.nodes[0])
    counting = Counting(fleet)
    who = [(node, [f"{n}-{node.id}" for n in range(6)]) for node in fleet.nodes]
    counting.run(8, who, each=0.1)
    counting.run(8, who[1:], each=0.1)
    fleet.close()
