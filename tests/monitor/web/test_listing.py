# SPDX-License-Identifier: MIT
"""Lists of instances: filters, orders, pages; and that the loop goes on while a large one is made."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartfelt.monitor.fleet.terms import Terms, TermsSource
from heartfelt.monitor.model import WORST_FIRST, State
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.reasons import NO_REASON
from heartfelt.monitor.web.api.listing import SORT_NAMES, SORTS, InstanceFilter, page


class Fake:
    """An instance with the attributes that lists read."""

    def __init__(self, id, **fields):
        self.id = id
        self.service, self.instance_id, self.state, self.held = "shop", f"i{id}", State.UP, False
        self.since_ms = self.first_seen_ms = self.last_beat_ms = 0
        self.reason, self.app, self.via, self.peer = NO_REASON, "app", "http", "10.0.0.9"
        self.interval_ms = self.skew_ms = self.lag_ms = self.paused_until_ms = None
        self.lease_ms, self.beats, self.meta, self.expected, self.ack = 1000, 1, {}, False, None
        self.addresses = ()
        self.terms = Terms(timeout_ms=1000, source=TermsSource.ALL, look_ms=1000)
        vars(self).update(fields)

    @property
    def counts_as(self):
        return State.LOST if self.held else self.state

    def ip(self):
        return (self.meta.get("ip") or [self.peer])[0]


def listed(instances, which=None, *, sort="id", limit=1000, cursor=None):
    return asyncio.run(
        page(instances, which or InstanceFilter(), sort=sort, limit=limit, cursor=cursor, stream_id="x-1")
    )  # fmt: skip


def ids(found):
    return [one.id for one in found.instances]


FLEET = [
    Fake(1, meta={"version": "1", "ip": ["10.0.0.1"], "pluginInfoMap": {"flow": {"name": "flow", "version": "2"}}}),
    Fake(2, service="cart", state=State.LOST, meta={"version": "2", "hostName": "Node-7"}),
    Fake(3, service="cart", held=True, state=State.LATE, app="other"),
    Fake(4, meta={"ip": "no list", "pluginInfoMap": ["no", "map"], "version": 7, "hostName": None}),
]


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"services": ("cart",)}, [2, 3]),
        ({"services": ("cart", "shop")}, [1, 2, 3, 4]),
        ({"services": ("cart",), "states": (State.LOST,)}, [2, 3]),
        ({"instance_ids": ("i4",)}, [4]),
        ({"states": (State.LOST, State.LATE)}, [2, 3]),
        ({"states": (State.LATE,)}, []),
        ({"versions": ("1", "2")}, [1, 2]),
        ({"ips": ("10.0.0.1",)}, [1]),
        ({"ips": ("10.0.0.9",)}, [1, 2, 3, 4]),
        ({"plugins": ("flow",)}, [1]),
        ({"plugins": ("flow:2",)}, [1]),
        ({"plugins": ("flow:3",)}, []),
        ({"apps": ("other",)}, [3]),
        ({"held": True}, [3]),
        ({"states": (State.UP,), "or_held": True}, [1, 3, 4]),
        ({"states": (State.UP,), "or_held": True, "services": ("shop",)}, [1, 4]),
        ({"text": "node-7"}, [2]),
        ({"text": "CART"}, [2, 3]),
        ({"text": "nothing"}, []),
    ],
)
def test_filters(which, found):
    answer = listed(FLEET, InstanceFilter(**which))
    assert ids(answer) == found
    assert answer.matched == len(found)
    assert answer.cursor is None


@pytest.mark.parametrize("sort", SORT_NAMES)
@given(data=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=30), limit=st.integers(1, 7))
@settings(max_examples=15, deadline=None)
def test_pages_are_all_that_there_is_in_its_order_each_once(sort, data, limit):
    fleet = [
        Fake(n, service=name, app=name, since_ms=number, last_beat_ms=number, meta={"hostName": name, "version": name})
        for n, (number, name) in enumerate(data)
    ]
    value = SORTS[sort.removeprefix("-")]
    wanted = [one.id for one in sorted(fleet, key=lambda one: (value(one), one.id), reverse=sort.startswith("-"))]
    found, cursor = [], None
    while True:
        answer = listed(fleet, sort=sort, limit=limit, cursor=cursor)
        found += ids(answer)
        assert answer.matched == len(fleet)
        cursor = answer.cursor
        if cursor is None:
            break
        assert len(answer.instances) == limit
    assert found == wanted


def test_by_state_is_worst_first_then_by_service():
    fleet = [Fake(n, state=state, service=name) for n, (name, state) in enumerate(
        (name, state) for state in State if state is not State.REMOVED for name in ("shop", "cart"))]  # fmt: skip
    fleet.append(Fake(99, state=State.LATE, held=True, service="cart"))
    found = [(one.state, one.held, one.service) for one in listed(fleet, sort="state").instances]
    wanted = [(state, False, name) for state in WORST_FIRST for name in ("cart", "shop")]
    wanted.insert(wanted.index((State.STUCK, False, "cart")), (State.LATE, True, "cart"))
    assert found == wanted
    assert [one.id for one in listed(fleet, sort="-state").instances] == ids(listed(fleet, sort="state"))[::-1]


def test_who_joins_or_leaves_between_two_pages_shifts_nothing():
    fleet = [Fake(n) for n in range(10, 20)]
    first = listed(fleet, limit=4)
    assert ids(first) == [10, 11, 12, 13]
    changed = [Fake(1), *fleet[2:3], *fleet[4:], Fake(99)]  # 10, 11, 13 have gone
    assert ids(listed(changed, limit=4, cursor=first.cursor)) == [14, 15, 16, 17]


def turns_during(scenario):
    """How often the loop has others have their turn while it runs."""

    async def count():
        turns = 0

        async def tick():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await scenario()
        ticking.cancel()
        return turns

    return asyncio.run(count())


@pytest.mark.parametrize("cursor", ["x", "", "AAAA", "bnVsbA", "WzEsMl0", "é", "x" * 900])
def test_a_cursor_that_was_not_given_is_refused(cursor):
    if not cursor:
        return
    with pytest.raises(Problem, match="cursor"):
        listed(FLEET, cursor=cursor)


def test_a_cursor_of_another_order_is_refused():
    cursor = listed(FLEET, limit=1, sort="service").cursor
    with pytest.raises(Problem, match="order"):
        listed(FLEET, cursor=cursor, sort="-service")


def test_the_loop_goes_on_while_100_000_instances_are_looked_at():
    fleet = [Fake(n, service=f"s{n % 7}") for n in range(100_000)]

    async def scenario():
        which = InstanceFilter(text="s3")
        answer = await page(fleet, which, sort="-service", limit=100, cursor=None, stream_id="")
        assert answer.matched == len(range(3, 100_000, 7))

    assert turns_during(scenario) >= 100  # a slice is 250
