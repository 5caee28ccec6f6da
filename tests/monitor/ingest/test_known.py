# SPDX-License-Identifier: MIT
"""The fast path for beats of which nothing is new: it takes what parsing would take, and forgets what it must."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heartfelt._ingest import Scan
from heartfelt.monitor.fleet.registry import Policy, Registry
from heartfelt.monitor.ingest.decode import BadInput, decode_beat
from heartfelt.monitor.ingest.intake import Intake
from heartfelt.monitor.ingest.known import Known, cut
from heartfelt.monitor.model import Limits, State
from heartfelt.monitor.web.api.view import detail
from heartfelt.testing import ManualClock
from tests.monitor.ingest.world import heartbeat


@pytest.fixture
def intake():
    registry = Registry(clock=ManualClock())
    yield Intake(registry, Limits())
    registry.close()


def take(intake, text, peer="10.0.0.1"):
    return intake.take(text, "http", peer)


def test_the_second_beat_is_known(intake):
    for number in range(1, 5):
        instance = take(intake, heartbeat(number=number, at=1_700_000_000_000 + number, host="h"))
    assert intake.counters.fast["http"] == 3
    assert instance.beats == 4 and instance.number == 4
    assert instance.meta == {"version": "1.0", "host": "h"}


def test_sermants_order_of_fields_is_known_again(intake):
    for number in range(5):
        text = b'{"appName":"a","heartbeatTime":%d,"instanceId":"i","lastHeartbeatTime":%d,"service":"s"}' % (
            2_000 + number * 1000,
            1_000 + number * 1000,
        )
        instance = take(intake, text)
    assert intake.counters.fast["http"] == 4
    assert instance.interval_ms == 1000  # learned from the agent's clock, by beats that were not parsed


@pytest.mark.parametrize("ours", [True, False], ids=["the tail last", "in the middle"])
def test_the_agents_times_are_those_of_the_newest_beat_that_has_them(ours):
    now_ms = 1_700_000_000_000
    registry = Registry(clock=ManualClock(), wall_ms=lambda: now_ms)
    intake = Intake(registry, Limits())
    for number in range(40):
        now_ms += 1000 + number % 3  # between the agent's clock and this one there is never the same
        at_ms = 1_600_000_000_000 + 1000 * number
        text = heartbeat(number=number, at=at_ms) if ours else (MIDDLE % (at_ms, 0)).encode()
        instance = take(intake, text)
        assert (instance.agent_time_ms, instance.agent_last_time_ms) == (at_ms, at_ms - 1000 if ours else 1)
    assert intake.counters.fast["http"] == 39
    take(intake, b'{"service":"shop","instanceId":"shop-1"}')
    assert instance.agent_time_ms == at_ms
    take(intake, b'{"service":"shop","instanceId":"shop-1","heartbeatTime":7}')
    assert (instance.agent_time_ms, instance.agent_last_time_ms) == (7, None)
    registry.close()


MIDDLE = '{"appName":"a","heartbeatTime":%d,"lagMs":%d,"instanceId":"shop-1","lastHeartbeatTime":1,"service":"shop"}'


@pytest.mark.parametrize("ours", [True, False], ids=["the tail last", "in the middle"])
def test_clock_and_lag_are_those_of_the_newest_beats_however_they_were_taken(ours):
    now_ms, skews = 1_700_000_000_000, []
    registry = Registry(clock=ManualClock(), wall_ms=lambda: now_ms)
    intake = Intake(registry, Limits())
    try:
        for n in range(60):
            now_ms += 1000
            skews.append((n * 7919) % 101 - 50)
            at, lag = now_ms + skews[-1], (n * 37) % 1200
            text = heartbeat(at=at, lag=lag) if ours else (MIDDLE % (at, lag)).encode()
            shown = detail(take(intake, text))
            assert shown.lag_ms == lag
            if n >= 2:
                assert shown.skew_ms == sorted(skews[-3:])[1]
        assert intake.counters.fast["http"] > 50
        assert shown.state is State.UP
    finally:
        registry.close()


@pytest.mark.parametrize("ours", [True, False], ids=["the tail last", "in the middle"])
def test_who_is_stuck_by_less_than_a_second_is_found_at_once(ours):
    registry = Registry(Policy(lease_stuck_after_ms=200), clock=ManualClock())
    intake = Intake(registry, Limits())

    def state(lag):
        return take(intake, heartbeat(lag=lag) if ours else (MIDDLE % (1, lag)).encode()).state

    try:
        for _ in range(20):
            assert state(200) is not State.STUCK
        assert state(201) is State.STUCK
    finally:
        registry.close()


def test_new_metadata_is_taken_at_once_and_the_old_text_forgotten(intake):
    take(intake, heartbeat(version="1"))
    take(intake, heartbeat(version="2"))
    assert len(intake.known) == 1
    assert take(intake, heartbeat(version="2")).meta["version"] == "2"
    assert take(intake, heartbeat(version="1")).meta["version"] == "1"
    assert len(intake.known) == 1
    assert intake.counters.fast["http"] == 1


def test_metadata_that_came_in_a_text_that_cannot_be_learned_is_not_covered_by_the_one_before(intake):
    take(intake, heartbeat())
    take(intake, b'{"service":"shop","instanceId":"shop-1","version":"2"}')
    assert len(intake.known) == 0
    assert take(intake, heartbeat()).meta == {"version": "1.0"}


def test_a_list_knows_new_metadata_though_the_same_one_followed_before(intake):
    def send(version):
        texts = [heartbeat(instance_id=f"i-{n}", version=version if n == 1 else "1") for n in range(3)]
        scan = Scan(b"[" + b",".join(texts) + b"]", intake.known.texts, True, 100)
        intake.renew_scanned(scan, 100, "http", "p")
        for text in texts[scan.n :]:
            take(intake, text, "p")
        return scan.n

    assert [send("1"), send("1"), send("1"), send("2"), send("2"), send("1")] == [0, 3, 3, 1, 3, 1]
    assert intake.registry.find("shop", "i-1").meta["version"] == "1"


def test_a_removed_instance_is_forgotten(intake):
    instance = take(intake, heartbeat())
    assert len(intake.known) == 1
    intake.registry.remove(instance.id, "by hand")
    assert len(intake.known) == 0 and intake.known.n_bytes == 0
    again = take(intake, heartbeat())
    assert again is not instance and again.state is State.NEW
    assert again.meta == {"version": "1.0"}


def test_a_goodbye_is_not_learned(intake):
    take(intake, heartbeat())
    take(intake, heartbeat(goodbye=True))
    take(intake, heartbeat(goodbye=True))
    assert intake.registry.find("shop", "shop-1").state is State.LEFT
    assert intake.counters.goodbyes["http"] == 2
    take(intake, heartbeat())
    assert intake.registry.find("shop", "shop-1").state is State.UP


def test_what_decides_something_is_told_at_once(intake):
    for number in range(1, 12):
        instance = take(intake, heartbeat(number=number))
    assert instance.state is State.UP
    take(intake, heartbeat(number=12, lag=60_000))
    assert instance.state is State.STUCK
    take(intake, heartbeat(number=13))
    assert instance.state is State.UP
    take(intake, heartbeat(number=14), peer="10.0.0.2")
    assert instance.peer == "10.0.0.2"
    assert instance.number == 14


def test_what_is_known_is_bounded():
    known = Known(most_bytes=3000)
    registry = Registry(clock=ManualClock())
    try:
        for n in range(100):
            text = heartbeat(instance_id=f"i-{n}")
            beat = decode_beat(text, "http", "p", meta_bytes=1000)
            known.learn_text(text, beat, registry.beat(beat))
            assert known.n_bytes <= 3000
        assert 0 < len(known) < 20
        assert known.forgotten == 100 - len(known)
    finally:
        registry.close()


@pytest.mark.parametrize(
    "text",
    [
        b'{"service":"s","instanceId":"i","x":{"heartbeatTime":5,"heartbeatTime":6},"heartbeatTime":5}',
        b'{"service":"s","instanceId":"i","x":{"y":1,"heartbeatTime":5},"heartbeatTime":5}',
        b'{"service":"s","instanceId":"i","x":{"y":1,"heartbeatTime":5}}',
        b'{"service":"s","instanceId":"i","heartbeatTime":5,"beat":1,"beat":2}',
        b'{"service":"s","instanceId":"i","heartbeatTime":5,"x":"\\"heartbeatTime\\"", "lagMs":3}',
    ],
)
def test_a_text_in_which_the_fields_stand_elsewhere_too_is_not_learned(intake, text):
    take(intake, text)
    assert len(intake.known) == 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=5)
    | st.sampled_from([',"heartbeatTime":5', '"}', "}"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "beat", "lagMs"]), inner, max_size=3)
    ),
    max_leaves=8,
)
TIMES = st.integers(0, 10**15 - 1)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    more=st.dictionaries(st.sampled_from(["x", "region", "é"]), JSON, max_size=3),
    first=st.tuples(TIMES, TIMES, TIMES, TIMES),
    second=st.tuples(TIMES, TIMES, TIMES, TIMES),
    shape=st.permutations(["heartbeatTime", "lastHeartbeatTime", "lagMs", "beat", "more"]),
    spaced=st.booleans(),
)
def test_what_is_known_again_is_what_parsing_would_say(more, first, second, shape, spaced):
    """Any text that was learned is recognized with other numbers in it."""

    def text(times):
        fields = {"service": "s", "instanceId": "i"}
        values = dict(zip(("heartbeatTime", "lastHeartbeatTime", "lagMs", "beat"), times, strict=True))
        for name in shape:
            fields.update(more if name == "more" else {name: values[name]})
        return json.dumps(fields, separators=None if spaced else (",", ":")).encode()

    registry = Registry(clock=ManualClock())
    known = Known()
    try:
        one = decode_beat(text(first), "http", "p", meta_bytes=1 << 16)
        instance = registry.beat(one)
        known.learn_text(text(first), one, instance)
        two = decode_beat(text(second), "http", "p", meta_bytes=1 << 16)
        parts = cut(text(second))
        if parts is not None and parts.key in known.texts:
            assert two.meta == one.meta
            assert parts[1:] == (two.agent_time_ms, two.agent_last_time_ms, two.lag_ms, two.number)
        scan = Scan(text(second), known.texts, False, 1)
        if scan.n:
            assert parts is not None and parts.key in known.texts
            _, ((found, *told),) = scan.renew(1, "other", "p", 1, {})
            assert found is instance
            assert tuple(told) == (two.agent_time_ms, two.agent_last_time_ms, two.lag_ms, two.number)
    finally:
        registry.close()


LIST = [heartbeat(instance_id=f"i-{n}", number=n) for n in range(3)]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    items=st.lists(
        st.sampled_from([*LIST, b"{}", b'{"a":[1,2]}', b"", b"]", b"[", b"1", LIST[0][:-1], LIST[1] + b"}"]), max_size=5
    ),
    between=st.sampled_from([b",", b", ", b"\n,\t", b"", b",,"]),
    end=st.sampled_from([b"]", b" ] ", b"", b",]", b"]]", b"]x"]),
)
def test_a_list_is_split_as_a_parser_would(items, between, end):
    from heartfelt.monitor.ingest.batch import Batch

    body = b"[" + between.join(items) + end
    registry = Registry(clock=ManualClock())
    try:
        intake = Intake(registry, Limits())
        for text in LIST:
            take(intake, text)
        try:
            expected = [isinstance(item, dict) and "instanceId" in item for item in json.loads(body)]
        except ValueError:
            with pytest.raises(BadInput):
                Batch(intake, "http").split(body, "p")
        else:
            batch = Batch(intake, "http")
            texts = batch.split(body, "p")
            assert texts.n == len(expected)
            while batch.take_some(texts):
                pass
            assert texts.taken == sum(expected)
            assert texts.taken + texts.refused_total == len(expected)
    finally:
        registry.close()
