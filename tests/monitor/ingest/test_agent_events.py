# SPDX-License-Identifier: MIT
"""Events of Sermant's agents at the port: the goodbye among them, their order, and their service."""

from __future__ import annotations

import asyncio

import pytest

from heartfelt.monitor.ingest import connection
from heartfelt.monitor.ingest.service_names import ServiceNames
from heartfelt.monitor.model import State
from heartfelt.monitor.reasons import english
from tests.monitor.ingest.world import ingest
from tests.sermant_frames import STOPPED, beat, event, events, frame, log, message, recorded

AT_MS = 1_700_000_000_000


def run(test, **options):
    async def main():
        async with ingest(**options) as world:
            await test(world)

    asyncio.run(main())


async def told(world, *frames):
    """Sends the frames on a connection of their own, which then ends; waits until all of it was handled."""
    before = world.sermant.stats().get("closed", 0)
    _, writer = await world.connect()
    writer.write(b"".join(frames))
    writer.close()
    await world.until(lambda: world.sermant.stats().get("closed", 0) > before)


def stop(instance_id, at_ms, **fields):
    return events(instance_id, event(at_ms - 1, "SERMANT_SERVICE_STOP"), event(at_ms, "SERMANT_STOP", **fields))


def test_the_event_of_a_stop_is_a_goodbye():
    async def test(world):
        await told(world, recorded("heartbeat_external_agent"), recorded("events_stop"))
        instance = world.find(STOPPED, "orders-svc")
        assert instance.state is State.LEFT
        assert "sent the event SERMANT_STOP" in english(instance.reason)
        assert (world.counters.goodbyes["sermant"], world.registry.goodbyes) == (1, 1)
        assert [one.name for one in world.events] == ["SERMANT_SERVICE_STOP", "SERMANT_STOP"]
        assert [change.new for change in world.changes] == [State.NEW, State.LEFT]
        await told(world, recorded("events_stop"))  # once more, which changes nothing
        assert len(world.changes) == 2

    run(test)


@pytest.mark.parametrize(
    "fields", [{"eventLevel": "emergency", "scope": None}, {"eventType": "GOVERNANCE", "scope": "x"}, {"time": None}]
)
def test_neither_scope_nor_level_nor_type_nor_a_missing_time_matters(fields):
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS), stop("i", AT_MS + 5, **fields)))
        assert world.find("i").state is State.LEFT

    run(test)


@pytest.mark.parametrize("name", ["SERMANT_SERVICE_STOP", "SERMANT_START", "SERMANT_PLUGIN_UNINSTALL"])
def test_other_events_are_no_goodbye(name):
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS), events("i", event(AT_MS + 5, name))))
        assert world.find("i").state is State.NEW

    run(test)


def test_a_log_about_the_stop_is_no_goodbye():
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS), events("i", log(AT_MS + 5, "SERMANT_STOP"))))
        assert world.find("i").state is State.NEW

    run(test)


def test_the_stop_of_an_earlier_life_is_an_event_and_no_more():
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS), stop("i", AT_MS - 200_000)))
        assert world.find("i").state is State.NEW
        assert world.events[-1].name == "SERMANT_STOP"
        assert world.intake.stats()["goodbyes_outdated"] == 1

    run(test)


def test_a_stop_stands_anywhere_in_its_batch():
    async def test(world):
        batch = events("i", event(AT_MS + 9, "SERMANT_STOP"), log(AT_MS + 2), event(AT_MS + 3, "SERMANT_START"))
        await told(world, frame(beat("shop", "i", AT_MS), batch))
        assert world.find("i").state is State.LEFT
        assert [one.time_ms - AT_MS for one in world.events] == [2, 3, 9]

    run(test)


def test_a_beat_that_the_stop_has_overtaken_does_not_bring_it_back():
    async def test(world):
        beats = [beat("shop", "i", AT_MS + 1000 * n, lastHeartbeatTime=AT_MS + 1000 * (n - 1)) for n in range(20)]
        for last in (beats[19], beat("shop", "i", AT_MS + 19_000, appName="other")):  # one known, one to be parsed
            await told(world, frame(*beats[:19], stop("i", AT_MS + 19_500), last))
            assert world.find("i").state is State.LEFT
        assert world.intake.stats()["beats_outdated"] >= 2

    run(test)


def test_who_beats_after_the_stop_is_back():
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS), stop("i", AT_MS + 5), beat("shop", "i", AT_MS + 6)))
        assert [change.new for change in world.changes] == [State.NEW, State.LEFT, State.UP]
        await told(world, frame(stop("i", AT_MS + 5)))  # late, and once more
        assert world.find("i").state is State.UP

    run(test)


def test_a_clock_that_was_set_back_does_not_keep_it_away():
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS), stop("i", AT_MS + 5), beat("shop", "i", AT_MS - 3_600_000)))
        assert world.find("i").state is State.UP

    run(test)


def test_the_stop_of_an_instance_that_nobody_knows():
    async def test(world):
        await told(world, frame(stop("nobody", AT_MS)))
        assert len(world.registry) == 0
        assert [(one.service, one.name) for one in world.events] == [
            ("", "SERMANT_SERVICE_STOP"), ("", "SERMANT_STOP"),
        ]  # fmt: skip

    run(test)


def test_a_stop_on_a_new_connection_comes_before_any_beat_there():
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS)))
        _, writer = await world.connect()
        writer.write(frame(stop("i", AT_MS + 5)))
        await world.until(lambda: world.find("i").state is State.LEFT)
        writer.close()

    run(test)


def test_an_event_that_is_refused_takes_no_other_with_it():
    async def test(world):
        bad = [{"time": "now"}, {"eventLevel": "LOUD"}, {"scope": ["a"]}, 7, None]
        await told(world, frame(beat("shop", "i", AT_MS), events("i", *bad, event(AT_MS + 1, "SERMANT_STOP"))))
        assert world.refused("sermant", "field") == len(bad)
        assert world.find("i").state is State.LEFT

    run(test)


@pytest.mark.parametrize(
    ("fields", "info", "name"),
    [
        ({"eventInfo": None, "logInfo": None}, {}, ""),
        ({"eventInfo": {"name": "A"}, "logInfo": {"logLevel": "INFO"}}, {"name": "A"}, "A"),
        (
            {"eventType": "log", "eventInfo": {"name": "A"}, "logInfo": {"logLevel": "INFO"}},
            {"logLevel": "INFO"},
            "INFO",
        ),
        ({"eventType": "LOG", "eventInfo": {"name": "A"}}, {"name": "A"}, "A"),
        ({"eventInfo": {"name": ["A"]}}, {"name": ["A"]}, ["A"]),
    ],
)
def test_what_an_event_is_about_and_its_name(fields, info, name):
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS), events("i", event(AT_MS, **fields))))
        assert [(one.info, one.name) for one in world.events] == [(info, name)]

    run(test)


@pytest.mark.parametrize("scope", [None, "", "framework"])
def test_a_scope_stays_as_it_was_sent(scope):
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS), events("i", event(AT_MS, scope=scope))))
        assert [one.scope for one in world.events] == [scope]

    run(test)


def test_the_instance_that_only_the_events_name():
    async def test(world):
        text = {"events": [event(AT_MS, metaHash="i")]}
        await told(world, frame(beat("shop", "i", AT_MS), (1, message(text)), (1, message({"metaHash": "i"}))))
        assert [(one.service, one.instance_id) for one in world.events] == [("shop", "i")]
        assert world.counters.refused == {}

    run(test)


def test_events_of_an_instance_that_was_removed_keep_their_service():
    async def test(world):
        await told(world, frame(beat("shop", "i", AT_MS)))
        world.registry.remove(world.find("i").id)
        await told(world, frame(events("i", event(AT_MS + 1))))
        assert [(one.service, one.instance_id) for one in world.events] == [("shop", "i")]
        assert world.find("i") is None

    run(test)


def test_events_whose_instance_never_beats_do_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(connection, "EARLY_S", 0.05)

    async def test(world):
        _, writer = await world.connect()
        writer.write(frame(events("nobody", event(AT_MS))))
        await world.until(lambda: world.events)
        assert world.events[0].service == ""
        assert world.sermant.connections
        writer.close()

    run(test)


def test_the_memory_for_services_is_bounded_and_the_newest_stay():
    names = ServiceNames(3)
    names.learn_all((f"i-{n}", f"s-{n}") for n in range(3))
    names.learn("i-0", "again")
    names.learn("i-3", "s-3")
    assert [names.of(f"i-{n}") for n in range(4)] == ["again", None, "s-2", "s-3"]
    assert (len(names), names.forgotten) == (3, 1)
