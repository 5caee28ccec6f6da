# SPDX-License-Identifier: MIT
"""Keys as numbers: hub.ids and hub.heartbeat_ids."""

import ctypes
from array import array

import pytest

from heartfelt import ConfigError, EventType, KeyNotWatched

numpy = pytest.importorskip("numpy")


def test_ids_are_int64_one_a_key_in_order(hub):
    ids = hub.ids(["a", "b", "a", b"a", 1])
    assert (ids.dtype, ids.shape) == (numpy.dtype("int64"), (5,))
    assert ids[0] == ids[2]
    assert len(set(ids.tolist())) == 4
    assert (ids > 0).all()
    assert set(hub) == {"a", "b", b"a", 1}


@pytest.mark.parametrize("kind", [list, tuple, set, iter, dict.fromkeys, lambda keys: (key for key in keys)])
def test_ids_takes_any_iterable(hub, kind):
    assert len(hub.ids(kind(["a", "b"]))) == 2


def test_ids_of_nothing_is_empty(hub):
    assert hub.ids([]).tolist() == []
    assert hub.ids([]).dtype == numpy.int64
    hub.heartbeat_ids(hub.ids([]))


def test_ids_leaves_a_watched_key_as_it_is(hub, clock):
    hub.heartbeat("a", timeout=3)
    clock.advance(1)
    first = hub.ids(["a"])
    assert (hub["a"].beat_time, hub["a"].timeout) == (0, 3)
    assert (hub.ids(["a"]) == first).all()


@pytest.mark.parametrize("keys", [["a", None], ["a", 1.5, "b"], ["a", 2**63]])
def test_if_one_key_is_bad_none_joins(hub, keys):
    with pytest.raises(TypeError):
        hub.ids(keys)
    assert len(hub) == 0


def test_ids_of_one_key_is_refused(hub):
    with pytest.raises(TypeError, match="is one key"):
        hub.ids("abc")


def test_ids_without_any_timeout_says_so(make_hub):
    with pytest.raises(ConfigError, match="no timeout"):
        make_hub(None).ids(["a"])


def read_only(ids):
    ids.flags.writeable = False
    return ids


BUFFERS = {
    "numpy": lambda ids: ids,
    "read-only numpy": read_only,
    "array": lambda ids: array("q", ids.tolist()),
    "memoryview": memoryview,
    "read-only memoryview": lambda ids: memoryview(ids).toreadonly(),
    "ctypes": lambda ids: (ctypes.c_int64 * len(ids))(*ids.tolist()),
    "two dimensions": lambda ids: ids.reshape(2, -1),
    "a cast of bytes": lambda ids: memoryview(ids.tobytes()).cast("q"),
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_any_contiguous_buffer_of_int64_beats(make_hub, clock, kind):
    hub = make_hub(parallelism=3)
    keys = [str(n) for n in range(200)]
    buffer = BUFFERS[kind](hub.ids(keys))
    clock.advance(1)
    assert hub.heartbeat_ids(buffer) is None
    assert {watch.beat_time for watch in hub.values()} == {1}


def test_a_buffer_is_free_again_afterwards(hub):
    ids = array("q", hub.ids(["a"]).tolist())
    hub.heartbeat_ids(ids)
    ids.append(0)  # BufferError, were it still in use
    with pytest.raises(KeyNotWatched):
        hub.heartbeat_ids(ids)
    ids.append(0)


@pytest.mark.parametrize("dtype", ["int32", "uint64", "float64", "bool", "object", "complex128", ">i8", "S8"])
def test_another_dtype_is_refused(hub, dtype):
    hub.ids(["a"])
    with pytest.raises(TypeError, match="int64"):
        hub.heartbeat_ids(numpy.zeros(1, dtype=dtype))


def test_a_dtype_that_has_no_buffer_is_refused_as_any_other(hub):
    with pytest.raises(TypeError, match="int64"):
        hub.heartbeat_ids(numpy.zeros(1, dtype="datetime64[s]"))


@pytest.mark.parametrize("value", [[1], (1,), "a", 1, None, range(3), b"12345678"], ids=repr)
def test_what_is_no_buffer_of_int64_is_refused(hub, value):
    with pytest.raises(TypeError, match="int64"):
        hub.heartbeat_ids(value)


def test_what_is_not_contiguous_is_refused_with_the_remedy(hub):
    ids = hub.ids(["a", "b", "c", "d"])
    for view in (ids[::2], ids[::-1], ids.reshape(2, 2).T, memoryview(ids)[::2]):
        with pytest.raises(ValueError, match="ascontiguousarray"):
            hub.heartbeat_ids(view)


@pytest.mark.parametrize("position", [0, 70, 199])
def test_a_stale_id_is_named_with_its_position_and_all_others_beat(hub, clock, position):
    keys = [str(n) for n in range(200)]
    ids = hub.ids(keys)
    clock.advance(1)
    hub.remove(keys[position])
    with pytest.raises(KeyNotWatched, match=f"id {ids[position]} at position {position} is stale"):
        hub.heartbeat_ids(ids)
    assert len(hub) == 199
    assert {watch.beat_time for watch in hub.values()} == {1}


def test_an_id_stays_stale_when_its_key_joins_again(hub):
    old = hub.ids(["a"])
    hub.remove("a")
    new = hub.ids(["a"])
    assert old != new
    hub.heartbeat_ids(new)
    with pytest.raises(KeyNotWatched):
        hub.heartbeat_ids(old)


def test_an_id_never_beats_another_key_that_took_its_place(hub, clock):
    old = hub.ids(["a"])
    hub.remove("a")
    hub.heartbeat("b")
    clock.advance(1)
    with pytest.raises(KeyNotWatched):
        hub.heartbeat_ids(old)
    assert hub["b"].beat_time == 0


@pytest.mark.parametrize(
    "made_up",
    [0, 9, 4095, 4096, 2**32, 2**32 + 1, 2**55, 2**56, 2**56 + 9, 2**57, 2**62, 2**63 - 1, -1, -(2**63), -(2**56)],
)
def test_made_up_ids_are_stale(make_hub, clock, made_up):
    hub = make_hub(parallelism=2)
    known = hub.ids(["a", "b", "c"]).tolist()
    assert made_up not in known
    clock.advance(1)
    with pytest.raises(KeyNotWatched, match="stale"):
        hub.heartbeat_ids(array("q", [*known, made_up]))
    assert {watch.beat_time for watch in hub.values()} == {1}


def test_an_id_of_a_hub_that_watches_nothing_is_stale(hub):
    with pytest.raises(KeyNotWatched):
        hub.heartbeat_ids(array("q", [1]))


@pytest.mark.parametrize("read_before", [True, False], ids=["read", "unread"])
def test_a_beat_by_id_joins_a_timed_out_key_with_the_terms_that_it_had(loud, clock, drained, read_before):
    loud.heartbeat("a", timeout=3, extra="x")
    ids = loud.ids(["a"])
    clock.advance(3)
    events = drained(loud) if read_before else []
    assert "a" not in loud
    loud.heartbeat_ids(ids)
    watch = loud["a"]
    assert (watch.join_time, watch.timeout, watch.disposable) == (3, 3, True)
    events += drained(loud)
    assert [event.type.value for event in events] == ["JOIN", "HEART_BEAT", "TIME_OUT", "JOIN", "HEART_BEAT"]
    assert (loud.ids(["a"]) == ids).all()


def test_a_beat_by_key_joins_it_under_the_same_id(hub, clock, drained):
    ids = hub.ids(["a"])
    clock.advance(10)
    drained(hub)
    hub.heartbeat("a")
    clock.advance(1)
    hub.heartbeat_ids(ids)
    assert hub["a"].beat_time == 11


@pytest.mark.parametrize("read_before", [True, False], ids=["read", "unread"])
def test_removing_a_timed_out_key_makes_its_id_stale(hub, clock, drained, read_before):
    ids = hub.ids(["a"])
    clock.advance(10)
    if read_before:
        drained(hub)
    with pytest.raises(KeyNotWatched):
        hub.remove("a")
    with pytest.raises(KeyNotWatched):
        hub.heartbeat_ids(ids)
    assert len(hub) == 0


def test_beats_by_id_are_events_too(loud, clock, drained):
    ids = loud.ids(["a"])
    drained(loud)
    loud.heartbeat_ids(ids)
    assert [(event.type, event.key) for event in drained(loud)] == [(EventType.HEART_BEAT, "a")]


def test_one_id_many_times_in_a_buffer(hub, clock):
    ids = numpy.repeat(hub.ids(["a"]), 1000)
    clock.advance(1)
    hub.heartbeat_ids(ids)
    assert hub["a"].beat_time == 1
