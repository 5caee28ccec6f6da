# SPDX-License-Identifier: MIT
"""Every option of HeartHub: what is taken, and what is refused, at once, by name, with the value."""

import logging
import threading
from datetime import timedelta

import pytest

from heartfelt import ConfigError, EventType, HeartfeltError, HeartHub
from heartfelt.testing import ManualClock

NAN, INF = float("nan"), float("inf")


class Seconds(float):
    pass


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    """Whatever is refused is refused before anything is started."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "given, seconds",
    [
        (1, 1.0),
        (0.5, 0.5),
        (1e-9, 1e-9),
        (Seconds(2.5), 2.5),
        (timedelta(minutes=1), 60.0),
        (timedelta(microseconds=1), 1e-6),
        (100 * 366 * 86400, 3162240000.0),
    ],
)
def test_a_duration_is_seconds_or_a_timedelta(clock, given, seconds):
    with HeartHub(given, clock=clock) as hub:
        hub.heartbeat("default")
        hub.heartbeat("own", timeout=given)
        assert [hub["default"].timeout, hub["own"].timeout] == pytest.approx([seconds] * 2, rel=1e-12)


def test_a_timeout_reads_back_as_it_was_given(clock):
    given = [n / 1000 for n in range(1, 5000)]
    with HeartHub(1, clock=clock) as hub:
        for n, seconds in enumerate(given):
            hub.heartbeat(n, timeout=seconds)
        assert [hub[n].timeout for n in range(len(given))] == given


@pytest.mark.parametrize(
    "value",
    [
        0, -1, 0.0, -0.0, -0.5, NAN, INF, -INF, 1e300, -1e300, 1e-300, 1e-10, 10**400, -(10**400), 3162240001,
        timedelta(0), timedelta(seconds=-1), timedelta.max, timedelta.min,
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_timeout_that_cannot_be_is_refused(clock, value):
    with pytest.raises(ConfigError, match="timeout"):
        HeartHub(value, clock=clock)
    with HeartHub(1, clock=clock) as hub:
        for call in (lambda **o: hub.heartbeat("a", **o), lambda **o: hub.heart("a", **o)):
            with pytest.raises(ConfigError, match="timeout"):
                call(timeout=value)
        assert len(hub) == 0


@pytest.mark.parametrize("value", [True, False, "1", b"1", [1], (1,), 1j, object], ids=repr)
def test_a_timeout_of_another_type_is_refused(clock, value):
    with pytest.raises(TypeError, match="timeout"):
        HeartHub(value, clock=clock)
    with HeartHub(1, clock=clock) as hub, pytest.raises(TypeError, match="timeout"):
        hub.heartbeat("a", timeout=value)


def test_a_timeout_too_long_to_be_printed_is_refused_as_any_other():
    with pytest.raises(ConfigError, match="timeout"):
        HeartHub(10**5000)


def test_a_config_error_is_a_value_error_and_names_the_value():
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, HeartfeltError)
    with pytest.raises(ConfigError, match=r"-2\.5"):
        HeartHub(-2.5)


def test_a_hub_needs_no_timeout(clock):
    HeartHub(clock=clock).close()
    HeartHub(None, clock=clock).close()


@pytest.mark.parametrize("n", [1, 2, 63, 64])
def test_parallelism_is_the_number_of_shards(clock, n):
    with HeartHub(1, parallelism=n, clock=clock) as hub:
        hub.heartbeat_many(range(1000))
        assert len(hub.stats().shards) == n
        assert sum(shard.keys > 0 for shard in hub.stats().shards) == n
        assert len(hub) == 1000


@pytest.mark.parametrize("option", ["parallelism", "event_buffer"])
@pytest.mark.parametrize("value", [0, -1, 2**31, 2**64, 10**100], ids=lambda value: f"{value:g}")
def test_a_count_out_of_bounds_is_refused(option, value):
    with pytest.raises(ConfigError, match=f"{option}.*{value}"):
        HeartHub(1, **{option: value})


def test_more_shards_than_there_may_be_are_refused():
    with pytest.raises(ConfigError, match="parallelism must be from 1 to 64; got 65"):
        HeartHub(1, parallelism=65)


@pytest.mark.parametrize("option", ["parallelism", "event_buffer"])
@pytest.mark.parametrize("value", [True, 1.0, "1", None, NAN, INF], ids=repr)
def test_a_count_of_another_type_is_refused(option, value):
    with pytest.raises(TypeError, match=f"{option} must be an int"):
        HeartHub(1, **{option: value})


@pytest.mark.parametrize("option", ["disposable", "verbose"])
@pytest.mark.parametrize("value", [0, 1, None, "yes", NAN, []], ids=repr)
def test_a_switch_is_true_or_false(option, value):
    with pytest.raises(TypeError, match=f"{option} must be True or False"):
        HeartHub(1, **{option: value})


def test_disposable_is_the_default_for_every_key(clock):
    with HeartHub(1, disposable=False, clock=clock) as hub:
        hub.heartbeat("a")
        hub.heartbeat("b", disposable=True)
        assert (hub["a"].disposable, hub["b"].disposable) == (False, True)


WANTED = [
    [EventType.TIME_OUT, EventType.JOIN],
    {EventType.TIME_OUT, EventType.JOIN},
    ("TIME_OUT", "JOIN"),
    ("JOIN", "JOIN", "TIME_OUT"),
    iter([EventType.JOIN, "TIME_OUT"]),
    dict.fromkeys(["JOIN", EventType.TIME_OUT]),
]


@pytest.mark.parametrize("wanted", WANTED, ids=lambda value: type(value).__name__)
def test_subscribe_takes_types_or_their_names(clock, wanted, drained):
    with HeartHub(1, subscribe=wanted, clock=clock) as hub:
        hub.heartbeat("a")
        clock.advance(1)
        assert [event.type for event in drained(hub)] == [EventType.JOIN, EventType.TIME_OUT]


def test_time_out_is_what_is_subscribed_by_default(clock, drained):
    with HeartHub(1, clock=clock) as hub:
        hub.heartbeat_many(["a", "b"])
        hub.remove("b")
        clock.advance(1)
        assert [event.type for event in drained(hub)] == [EventType.TIME_OUT]


def test_nothing_may_be_subscribed(clock, drained):
    with HeartHub(1, subscribe=(), clock=clock) as hub:
        hub.heartbeat("a")
        clock.advance(1)
        assert drained(hub) == []


@pytest.mark.parametrize("value", [EventType.TIME_OUT, "TIME_OUT", None, 1, True], ids=repr)
def test_subscribe_wants_several_types(value):
    with pytest.raises(TypeError, match="subscribe must be event types"):
        HeartHub(1, subscribe=value)


@pytest.mark.parametrize("value", [["TIMEOUT"], ["time_out"], [1], [None], [[]], b"JOIN"], ids=repr)
def test_a_type_that_there_is_not_is_refused_with_those_that_there_are(value):
    with pytest.raises(ConfigError, match="is not an event type; event types are TIME_OUT, HEART_BEAT"):
        HeartHub(1, subscribe=value)


@pytest.mark.parametrize("value", ["drop", "", "DROP_OLDEST", "wait"])
def test_an_unknown_on_full_is_refused_with_those_that_there_are(value):
    with pytest.raises(ConfigError, match="on_full must be one of drop_oldest, drop_newest, block"):
        HeartHub(1, on_full=value)


@pytest.mark.parametrize("value", [None, 0, True, NAN, b"block"], ids=repr)
def test_an_on_full_of_another_type_is_refused(value):
    with pytest.raises(TypeError, match="on_full"):
        HeartHub(1, on_full=value)


@pytest.mark.parametrize("value", ["monotonic", "boottime"])
def test_a_system_clock_by_name(value):
    with HeartHub(0.001, clock=value) as hub:
        hub.heartbeat("a")
        assert hub.events.get(timeout=30).key == "a"


def test_two_hubs_may_share_a_manual_clock(clock, drained):
    with HeartHub(1, clock=clock) as one, HeartHub(2, clock=clock) as other:
        one.heartbeat("a")
        other.heartbeat("b")
        clock.advance(3)
        assert [event.event_time for hub in (one, other) for event in drained(hub)] == [1, 2]


@pytest.mark.parametrize("value", ["wall", "", "MONOTONIC"])
def test_an_unknown_clock_is_refused(value):
    with pytest.raises(ConfigError, match='clock must be "monotonic", "boottime" or a ManualClock'):
        HeartHub(1, clock=value)


@pytest.mark.parametrize("value", [None, 0, True, NAN, ManualClock], ids=repr)
def test_a_clock_of_another_type_is_refused(value):
    with pytest.raises(TypeError, match='clock must be "monotonic", "boottime" or a ManualClock'):
        HeartHub(1, clock=value)


@pytest.mark.parametrize("value", [0, "print", True, []], ids=repr)
def test_on_event_must_be_callable(value):
    with pytest.raises(TypeError, match="on_event must be callable"):
        HeartHub(1, on_event=value)


@pytest.mark.parametrize("value", [0, "heartfelt", True, print], ids=repr)
def test_a_logger_must_be_one(value):
    with pytest.raises(TypeError, match="logger must be a logging"):
        HeartHub(1, logger=value)


@pytest.mark.parametrize("name", ["heartfelt", "mine"])
def test_verbose_tells_each_shards_work_at_debug_and_ends_with_the_hub(clock, caplog, name):
    caplog.set_level(logging.DEBUG)
    options = {} if name == "heartfelt" else {"logger": logging.getLogger(name)}
    with HeartHub(1, parallelism=2, verbose=True, clock=clock, **options) as hub:
        hub.heartbeat_many(range(10))
    records = [record for record in caplog.records if record.name == name]
    assert {record.levelname for record in records} == {"DEBUG"}
    assert {record.getMessage().split(":")[0] for record in records} == {"shard 0", "shard 1"}


def test_without_verbose_nothing_is_logged(clock, caplog):
    caplog.set_level(logging.DEBUG)
    with HeartHub(1, clock=clock) as hub:
        hub.heartbeat("a")
        clock.advance(1)
    assert caplog.records == []


@pytest.mark.parametrize("option", ["timeouts", "stall", "Clock"])
def test_an_option_that_there_is_not_is_refused(option):
    with pytest.raises(TypeError, match=option):
        HeartHub(1, **{option: 1})


def test_options_are_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        HeartHub(1, 2)


@pytest.mark.parametrize("seconds", [-1, NAN, INF, 1e300, 1e-300])
def test_time_moves_by_a_duration(clock, seconds):
    with pytest.raises(ConfigError, match="seconds"):
        clock.advance(seconds)
    assert clock.time() == 0


@pytest.mark.parametrize("zero", [0, 0.0, timedelta(0)], ids=repr)
def test_time_may_move_by_nothing(clock, zero):
    clock.advance(zero)
    assert clock.time() == 0


def test_a_manual_clock_ends_after_a_hundred_years(clock):
    clock.advance(timedelta(days=366 * 100))
    with pytest.raises(OverflowError, match="100 years"):
        clock.advance(1)


@pytest.mark.parametrize("value", [True, "1", None], ids=repr)
def test_time_does_not_move_by_another_type(clock, value):
    with pytest.raises(TypeError, match="seconds"):
        clock.advance(value)
