# SPDX-License-Identifier: MIT
"""Queries of events, held against a plain model: a list and a comparison."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from heartfelt.errors import ConfigError
from heartfelt.monitor.model import Level
from heartfelt.monitor.store import TEXT_CHARS, EventFilter
from tests.monitor.store.values import DAY_MS, NOON_MS, event

run = asyncio.run

SERVICES = ("shop", "sh_p", "sh%p", "%", "_", "", "gr\u00fc\u00df'\"\\")
NAMES = ("SERMANT_START", "SERMANT_STOP", "", "a_b")
TYPES = ("OPERATION", "GOVERNANCE", "LOG")
TEXTS = ("100%", "a_b", 'say "hi"', "C:\\temp", "line\nbreak", "gr\u00fc\u00df", "\U0001f49a", "plain")


def made_up(count: int, seed: int = 1):
    """In no order of time."""
    draw = random.Random(seed)
    return [
        event(
            n,
            time_ms=NOON_MS + draw.randrange(-500, 500),
            service=draw.choice(SERVICES),
            instance_id=f"i-{draw.randrange(20)}",
            ip=f"10.0.0.{draw.randrange(5)}",
            scope=draw.choice(("framework", "plugin")),
            level=draw.choice(list(Level)),
            type=draw.choice(TYPES),
            info={"name": draw.choice(NAMES), "description": f"{draw.choice(TEXTS)} {n}"},
        )
        for n in range(count)
    ]


def fits(which: EventFilter, one) -> bool:
    info = " ".join((str(one.info["name"]), one.info["description"]))
    words = (info, one.service, one.instance_id, one.ip, one.scope, one.type)
    return (
        (not which.services or one.service in which.services)
        and (not which.instance_ids or one.instance_id in which.instance_ids)
        and (not which.ips or one.ip in which.ips)
        and (not which.scopes or one.scope in which.scopes)
        and (not which.types or one.type in which.types)
        and (not which.levels or one.level in which.levels)
        and (not which.names or one.info["name"] in which.names)
        and (which.start_ms is None or one.time_ms >= which.start_ms)
        and (which.end_ms is None or one.time_ms <= which.end_ms)
        and (not which.text or any(which.text in word for word in words))
    )


def newest_first(put):
    return [one for _, one in sorted(enumerate(put), key=lambda pair: (pair[1].at_ms, pair[0]), reverse=True)]


FILTERS = [
    EventFilter(),
    *(EventFilter(services=(service,)) for service in SERVICES),
    EventFilter(services=("sh_p", "%", "sh_p", "nobody")),
    EventFilter(services=(*(f"s{n}" for n in range(80)), "shop")),
    EventFilter(instance_ids=("i-3",), levels=(Level.EMERGENCY, Level.NORMAL)),
    EventFilter(instance_ids=("i-3", "i-4"), services=("shop",)),
    EventFilter(ips=("10.0.0.1",), types=("LOG",)),
    EventFilter(ips=("10.0.0.1", "10.0.0.2"), names=("a_b", "")),
    EventFilter(scopes=("plugin",)),
    EventFilter(scopes=("plugin", "framework"), levels=(Level.IMPORTANT,)),
    EventFilter(names=("SERMANT_STOP",)),
    EventFilter(levels=(Level.EMERGENCY,)),
    EventFilter(types=("LOG", "GOVERNANCE")),
    EventFilter(start_ms=NOON_MS - 100, end_ms=NOON_MS + 100),
    EventFilter(start_ms=NOON_MS + 499),
    EventFilter(end_ms=NOON_MS - 400, services=("shop", "%")),
    EventFilter(start_ms=-(1 << 70), end_ms=1 << 70, types=("LOG",)),
    EventFilter(services=("nobody",)),
    *(EventFilter(text=text) for text in TEXTS),
    EventFilter(text="%"),
    EventFilter(text="_"),
    EventFilter(text="i-1", services=("shop", "sh_p")),
    EventFilter(text="a_b", start_ms=NOON_MS, levels=(Level.NORMAL,)),
    EventFilter(text="\ud800"),
]


class EventContract:
    def test_every_event_comes_back_as_it_was_put(self, store):
        put = [event(1, info={"name": 5, "logInfo": {"a": [None, 1.5, "\x00"]}}), event(2, info={}), *made_up(600)]
        for one in put:
            store.put_event(one)
        run(store.flush())
        got = sorted(run(store.events(EventFilter(), before=None, limit=1000)), key=lambda stored: stored.number)
        assert [stored.event for stored in got] == put
        assert all(one.number < next.number for one, next in itertools.pairwise(got))
        assert run(store.newest_event()) == got[-1].number

    @pytest.mark.parametrize("few", [10_000, 50])  # with 50 no range of time is small
    def test_filters_pages_and_counts_against_the_model(self, store, few, monkeypatch):
        self.say_what_is_few(monkeypatch, few)
        put = made_up(900)
        for one in put:
            store.put_event(one)
        run(store.flush())
        non_empty = 0
        for which in FILTERS:
            expected = [one for one in newest_first(put) if fits(which, one)]
            non_empty += bool(expected)
            got, before = [], None
            while page := run(store.events(which, before=before, limit=37)):
                got += [stored.event for stored in page]
                before = page[-1].cursor
                assert len(got) <= len(put)
            assert got == expected, which
            counts = {level: sum(one.level is level for one in expected) for level in Level}
            assert run(store.count_events(which)) == counts, which
        assert non_empty >= len(FILTERS) - 3

    def say_what_is_few(self, monkeypatch, few):
        """A store that goes different ways by the number of events: make `few` the border."""

    def test_text_of_either_case(self, store):
        store.put_event(event(1, info={"name": "Sermant"}))
        run(store.flush())
        assert len(run(store.events(EventFilter(text="sERMANT"), before=None, limit=9))) == 1

    def test_a_text_that_is_too_long(self, store):
        run(store.events(EventFilter(text="x" * TEXT_CHARS), before=None, limit=1))
        with pytest.raises(ConfigError, match=f"{TEXT_CHARS + 1} characters"):
            run(store.events(EventFilter(text="x" * (TEXT_CHARS + 1)), before=None, limit=1))

    def test_a_search_for_text_is_bounded(self, store, monkeypatch):
        self.scan_only(monkeypatch, 10)
        for n in range(30):
            store.put_event(event(n, info={"name": "needle" if n < 21 else "hay"}, service="ab"[n % 2]))
        run(store.flush())
        found = run(store.events(EventFilter(text="needle"), before=None, limit=99))
        assert [stored.event.time_ms - NOON_MS for stored in found] == [20]
        found = run(store.events(EventFilter(text="needle", services=("b",)), before=None, limit=99))
        assert [stored.event.time_ms - NOON_MS for stored in found] == [19, 17, 15, 13, 11]

    def scan_only(self, monkeypatch, count):
        """Set the bound on a search for text."""
        raise NotImplementedError

    def test_times_that_no_clock_has(self, store):
        store.put_event(event(1, time_ms=1 << 80))
        store.put_event(event(2, time_ms=-(1 << 80)))
        run(store.flush())
        got = [stored.event.time_ms for stored in run(store.events(EventFilter(), before=None, limit=9))]
        assert got == [(1 << 63) - 1, -(1 << 63) + 1]

    def test_a_late_event_stands_where_it_belongs_and_shifts_no_page(self, store):
        for n in range(30):
            store.put_event(event(2 * n, received_ms=NOON_MS + 100))
        run(store.flush())

        def page(before):
            found = run(store.events(EventFilter(), before=before, limit=10))
            return [stored.event.time_ms - NOON_MS for stored in found], found[-1]

        first, last = page(None)
        assert first == list(range(58, 38, -2))
        newest = run(store.newest_event())
        for late in (59, 39, 21, 7):
            store.put_event(event(late, received_ms=NOON_MS + 200))
        run(store.flush())
        assert page(None)[0] == [59, *first[:-1]]
        assert page(last.cursor)[0] == [39, *range(38, 20, -2)]
        assert page(last.number)[0] == page(last.cursor)[0]  # the number alone names the same place
        as_it_was = EventFilter(newest=newest)
        found = run(store.events(as_it_was, before=last.cursor, limit=99))
        assert [stored.event.time_ms - NOON_MS for stored in found] == list(range(38, -2, -2))
        assert sum(run(store.count_events(as_it_was)).values()) == 30

    def test_a_number_that_no_event_has(self, store):
        for n in range(5):
            store.put_event(event(5 - n))
        run(store.flush())
        numbers = [stored.number for stored in run(store.events(EventFilter(), before=1 << 62, limit=9))]
        assert numbers == sorted(numbers)
        assert len(numbers) == 5
        assert run(store.events(EventFilter(), before=0, limit=9)) == []

    def test_events_of_one_time_stand_in_the_order_in_which_they_came(self, store):
        for n in range(5):
            store.put_event(event(0, instance_id=f"i-{n}"))
        run(store.flush())
        got, before = [], None
        while page := run(store.events(EventFilter(), before=before, limit=2)):
            got += [stored.event.instance_id for stored in page]
            before = page[-1].cursor
        assert got == ["i-4", "i-3", "i-2", "i-1", "i-0"]

    def test_a_clock_that_is_ahead_does_not_keep_an_event_on_top(self, store):
        store.put_event(event(0, time_ms=NOON_MS + DAY_MS, received_ms=NOON_MS))
        store.put_event(event(5))
        run(store.flush())
        got = run(store.events(EventFilter(), before=None, limit=9))
        assert [stored.event.time_ms - NOON_MS for stored in got] == [5, DAY_MS]
        by_its_time = EventFilter(start_ms=NOON_MS + DAY_MS, end_ms=NOON_MS + DAY_MS)
        assert [stored.number for stored in run(store.events(by_its_time, before=None, limit=9))] == [got[1].number]

    def test_a_log_is_found_by_its_level(self, store):
        store.put_event(event(1, type="LOG", info={"logLevel": "WARNING", "logMessage": "no file"}))
        store.put_event(event(2, type="OPERATION", info={"name": "START", "logLevel": "WARNING"}))
        store.put_event(event(3, type="LOG", info={}))
        run(store.flush())
        for name, times in (("WARNING", [1]), ("START", [2]), ("", [3])):
            found = run(store.events(EventFilter(names=(name,)), before=None, limit=9))
            assert [stored.event.time_ms - NOON_MS for stored in found] == times, name

    def test_no_scope_is_another_than_an_empty_one(self, store):
        for n, scope in enumerate((None, "", "framework")):
            store.put_event(event(n, scope=scope))
        run(store.flush())
        got = run(store.events(EventFilter(), before=None, limit=9))
        assert [stored.event.scope for stored in got] == ["framework", "", None]
        assert len(run(store.events(EventFilter(scopes=("",)), before=None, limit=9))) == 2
