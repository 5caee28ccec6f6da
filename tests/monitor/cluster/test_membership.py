# SPDX-License-Identifier: MIT
"""Tells who lives and who leads, on a real server; time is a manual clock where it matters."""

from __future__ import annotations

import asyncio
import time

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster.membership import FIGURES, FleetMember
from tests.monitor.cluster.channels import until
from tests.monitor.cluster.fleets import LEASE_S, living


def test_each_finds_the_others(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(a)
        assert living(a) == "a" and a.told == [a._fence]
        await fleet.renew(b, a)
        assert living(a) == living(b) == "ab"
        assert a.told[1:] == b.told == ["ab"]
        found = a.living["b" * 32]
        assert found.address == "10.0.0.98:9" and found.version and found.host and found.start_ms
        await fleet.renew(a, b)
        assert len(a.told) == 2, "nothing has changed"
        assert a.stats().keys() <= FIGURES.keys() and a.stats()["living"] == 2
        assert {metric.name for metric, _ in a.readings()} >= {"heartfelt_membership_monitors"}

    fleet.run(main())


def test_one_that_does_not_renew_any_more_is_gone_after_a_lease(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(a, b, a)
        for _ in range(3):
            fleet.clock.advance(LEASE_S / 4)
            await fleet.renew(a)
        assert living(a) == "ab"
        fleet.clock.advance(LEASE_S / 4)
        await fleet.renew(a)
        assert living(a) == "a"
        await fleet.renew(b, a)
        assert living(a) == "ab"

    fleet.run(main())


def test_those_whose_entries_redis_has_lost_live_on_for_a_lease(fleet):
    """They renew theirs within a quarter of one. Until then they would be missing in answers, and their beats asked
    for elsewhere."""

    async def main():
        a, b, c = fleet.make("a"), fleet.make("b"), fleet.make("c")
        await fleet.renew(a, b, c, a, b)
        assert living(a) == living(b) == "abc"
        told = len(a.told)
        fleet.empty()
        fleet.clock.advance(LEASE_S / 4)
        await fleet.renew(a, b, a, b)
        assert living(a) == living(b) == "abc"
        await fleet.renew(c, a, b)
        assert living(a) == living(b) == living(c) == "abc"
        assert not [one for one in a.told[told:] if isinstance(one, str)], "nothing has changed for a"
        fleet.empty()
        for _ in range(3):
            fleet.clock.advance(LEASE_S / 4)
            await fleet.renew(a, b)
            assert living(a) == living(b) == "abc"
        fleet.clock.advance(LEASE_S / 4)
        await fleet.renew(a, b)
        assert living(a) == living(b) == "ab"

    fleet.run(main())


def test_one_with_a_longer_lease_lives_between_its_renewals(fleet):
    """Settings that differ are told; the fleet must not flap because of them."""

    async def main():
        a, b = fleet.make("a"), fleet.make("b", lease_s=4 * LEASE_S)
        await fleet.renew(a, b, a)
        for _ in range(8):
            fleet.clock.advance(LEASE_S / 4)
            await fleet.renew(a)
            assert living(a) == "ab"
        for _ in range(8):
            fleet.clock.advance(LEASE_S / 4)
            await fleet.renew(a)
        assert living(a) == "a"

    fleet.run(main())


def test_one_that_stops_is_gone_at_once_and_another_leads(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await a.start()
        await b.start()
        await fleet.renew(b)
        fence = a._fence
        assert a.leads() and not b.leads() and b.leader == a.own
        await a.stop()
        await a.stop()
        assert not a.leads()
        await fleet.renew(b)
        assert living(b) == "b" and b.leads() and b._fence > fence
        assert a.told[-1] is None and b.told[-2:] == [b._fence, "b"]

    fleet.run(main())


def test_nobody_dies_because_redis_was_away(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(a, b, a)
        a._link.down = True
        with pytest.raises(Exception, match="it is down"):
            await fleet.renew(a)
        fleet.clock.advance(100 * LEASE_S)
        a._link.down = False
        await fleet.renew(a)
        assert living(a) == "ab"
        fleet.clock.advance(LEASE_S / 4)
        await fleet.renew(a, b, a)
        assert living(a) == "ab" and a.told.count("ab") == 1
        assert a.counts["failures"] == 1

    fleet.run(main())


def test_an_entry_of_a_monitor_that_died_before_is_not_alive(fleet):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(b)
        died_ms = int((time.time() - LEASE_S - 1) * 1000)
        a._link.client.hset(fleet.key("stamps"), b.own, died_ms)
        await fleet.renew(a)
        assert living(a) == "a", "its stamp is older than the lease"
        await fleet.renew(b, a)
        assert living(a) == "ab"

    fleet.run(main())


def test_entries_that_are_long_gone_are_deleted_and_odd_ones_left_out(fleet, caplog):
    async def main():
        a = fleet.make("a")
        client = a._link.client
        client.hset(fleet.key("mons"), "c" * 32, b"{")
        client.hset(fleet.key("stamps"), "c" * 32, int(time.time() * 1000))
        client.hset(fleet.key("mons"), "d" * 32, b'{"address":"x:1","zone":[1]}')
        client.hset(fleet.key("stamps"), "d" * 32, int(time.time() * 1000))
        client.hset(fleet.key("mons"), "e" * 32, b'{"address":"x:1"}')
        client.hset(fleet.key("stamps"), "e" * 32, int(time.time() * 1000) - 3_700_000)
        await fleet.renew(a)
        for _ in range(2):
            fleet.clock.advance(LEASE_S / 2)
            client.hincrby(fleet.key("stamps"), "c" * 32, 1)
            client.hincrby(fleet.key("stamps"), "d" * 32, 1)
            await fleet.renew(a)
        assert b"e" * 32 in client.hkeys(fleet.key("mons"))
        await fleet.renew(a)
        assert living(a) == "ad"
        assert a.living["d" * 32] == FleetMember("x:1")
        assert a.counts["bad_entries"] == 4 and caplog.text.count("cannot be read") == 1
        assert sorted(id[:1] for id in client.hkeys(fleet.key("mons"))) == [b"a", b"c", b"d"]

    fleet.run(main())


def test_a_jump_of_the_primarys_clock_deletes_no_entry(fleet, caplog):
    """The stamps of all look older than an hour then."""

    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        await fleet.renew(a, b, a)
        a._link.client.hincrby(fleet.key("stamps"), b.own, -7_200_000)
        c = fleet.make("c")
        await fleet.renew(c, a, c, a)
        assert living(a) == "abc" and "cannot be read" not in caplog.text
        await fleet.renew(b, c)
        assert living(c) == "abc"

    fleet.run(main())


@pytest.mark.parametrize(("off_ms", "side"), [(10_800_000, "10800 s ahead of"), (-90_000_000, "90000 s behind")])
def test_a_clock_that_is_wrong_is_told_once(fleet, caplog, off_ms, side):
    async def main():
        off = [0]
        a = fleet.make("a", wall_ms=lambda: time.time() * 1000 + off[0])
        await fleet.renew(a)
        assert a.skew() is None
        off[0] = off_ms
        await fleet.renew(a, a, a)
        assert side in a.skew() and caplog.text.count(side) == 1
        assert abs(a.stats()["skew_s"] * 1000 - off_ms) < 5000
        off[0] = 0
        await fleet.renew(a, a)
        assert a.skew() is None and caplog.text.count("agree again") == 1

    caplog.set_level("INFO", "heartfelt.monitor.cluster")
    fleet.run(main())


def test_a_listener_that_fails_does_not_stop_the_renewals(fleet, caplog):
    async def main():
        a, b = fleet.make("a"), fleet.make("b")
        a.on_lead = a.on_change = lambda what: 1 / 0
        await fleet.renew(a, b, a)
        assert a.counts["listener_errors"] == 2 and "ZeroDivisionError" in caplog.text

    fleet.run(main())


# -- the secret


def test_the_secret_is_made_once(fleet):
    async def main():
        many = [fleet.make(letter) for letter in "abcdefgh"]
        await asyncio.gather(*(one._renew() for one in many))
        (secret,) = {one.secret for one in many}
        assert len(secret) == 64
        assert many[0]._link.client.get(fleet.key("secret")) == secret
        assert not any(isinstance(told, bytes) for one in many for told in one.told)

    fleet.run(main())


def test_another_secret_in_redis_is_taken_over_and_a_lost_one_put_back(fleet):
    async def main():
        a = fleet.make("a")
        await fleet.renew(a)
        client, former = a._link.client, a.secret
        client.delete(fleet.key("secret"))
        await fleet.renew(a)
        assert a.secret == former == client.get(fleet.key("secret"))
        client.set(fleet.key("secret"), b"another secret, of the operator")
        await fleet.renew(a)
        assert a.secret == b"another secret, of the operator" == a.told[-1]

    fleet.run(main())


def test_a_secret_from_a_file_stays_out_of_redis(fleet):
    async def main():
        a = fleet.make("a", secret=b"from a file, not from Redis")
        await fleet.renew(a)
        assert a.secret == b"from a file, not from Redis"
        assert a._link.client.get(fleet.key("secret")) is None

    fleet.run(main())


def test_a_clean_stop_is_no_warning(fleet, caplog):
    async def main():
        a = fleet.make("a")
        await a.start()
        caplog.clear()
        await a.stop()

    caplog.set_level("INFO", "heartfelt.monitor.cluster")
    fleet.run(main())
    assert [one.levelname for one in caplog.records if "leads no more" in one.getMessage()] == ["INFO"]


def test_an_outage_that_comes_and_goes_does_not_flood_the_log(fleet, caplog):
    async def main():
        a = fleet.make("a", lease_s=0.02)
        await a.start()
        renew, n = a._call, 0

        def call():
            nonlocal n
            n += 1
            if n % 2:
                a._is_calling = False
                raise OSError("the network is away")
            return renew()

        a._call = call
        await until(lambda: n > 20, "renewals")

    fleet.run(main())
    assert sum("cannot be renewed" in one.getMessage() for one in caplog.records) == 1
