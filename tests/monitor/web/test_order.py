# SPDX-License-Identifier: MIT
"""The order of instances by their ids, rows by ids, and extra information of plugins: what the panel's table reads."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.monitor.web.test_listing import Fake, turns_during

pytest.importorskip("msgspec")

from heartfelt.monitor.web.api.listing import SORT_NAMES, SORTS, InstanceFilter
from heartfelt.monitor.web.api.order import order
from heartfelt.monitor.web.api.view import ext_info_of


def ordered(fleet, which=None, *, sort="service"):
    return asyncio.run(order(fleet, which or InstanceFilter(), sort=sort, stream_id="x-1"))


@pytest.mark.parametrize("sort", SORT_NAMES)
@given(data=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=30))
@settings(max_examples=10, deadline=None)
def test_the_order_is_that_of_the_values(sort, data):
    fleet = [
        Fake(n, service=name, app=name, skew_ms=number, lease_ms=number, meta={"artifact": name, "processId": name})
        for n, (number, name) in enumerate(data)
    ]
    value = SORTS[sort.removeprefix("-")]
    wanted = sorted(((value(one), one.id) for one in fleet), reverse=sort.startswith("-"))
    assert ordered(fleet, sort=sort).ids == [id_ for _, id_ in wanted]


@pytest.mark.parametrize("count", [999, 1000, 1001, 7500])
def test_runs_are_merged_in_order_and_the_loop_goes_on(count):
    fleet = [Fake(n, service=f"s{n * 7919 % 101}") for n in range(count)]

    async def scenario():
        answer = await order(fleet, InstanceFilter(), sort="-service", stream_id="")
        assert answer.ids == [one.id for one in sorted(fleet, key=lambda one: (one.service, one.id), reverse=True)]

    assert turns_during(scenario) >= 2 * (count // 1000) - 1  # a slice is 1,000, and then each merge


def test_it_is_filtered_and_tells_how_many_there_are():
    fleet = [Fake(n, service="abc"[n % 3]) for n in range(10)]
    found = ordered(fleet, InstanceFilter(services=("b",)), sort="-id")
    assert found.ids == [7, 4, 1]
    assert found.total == 10
    assert found.stream_id == "x-1"
    assert ordered([]).ids == []


@pytest.mark.parametrize(
    ("plugins", "found"),
    [
        ({"a": {"extInfo": {"k": "v"}}, "b": {}, "c": {"extInfo": None}}, {"a": {"k": "v"}}),
        (["a"], {}),
        ({"a": "text", "b": {"extInfo": "text"}, "c": {"extInfo": ["k"]}}, {}),
        (None, {}),
    ],
)
def test_extra_information_of_any_shape(plugins, found):
    assert ext_info_of({"pluginInfoMap": plugins}) == found
