# SPDX-License-Identifier: MIT
"""Keys: permitted types, and which keys are equal."""

import enum
import random
import re

import pytest

from heartfelt import EventType


class Name(str):
    __slots__ = ()

    def __hash__(self):
        return 7

    def __eq__(self, other):
        return True


class Raw(bytes):
    pass


class Number(int):
    pass


class Color(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


TEXTS = ["", "\0", "a\0b", "a\0c", "é", "e\u0301", "Ω", "日本", "🫀", "\U0010ffff", "\ud800", "\udfff", "a" * 1_000_000]
BYTES = [b"", b"\0", b"a\0b", b"\xff\xfe", "é".encode(), b"a" * 1_000_000]
INTS = [0, -1, -2, 1, 2**31, -(2**31), 2**32, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1]


def same_as_another_object(key):
    """An equal key that is not the same object, where Python allows that."""
    if isinstance(key, str):
        return "".join(list(key))
    return bytes(bytearray(key)) if isinstance(key, bytes) else int(str(key))


def test_one_text_as_str_bytes_and_int_is_three_keys(hub):
    hub.heartbeat_many(["1", b"1", 1])
    assert len(hub) == 3
    hub.remove(b"1")
    assert set(hub) == {"1", 1}


@pytest.mark.parametrize("key", TEXTS + BYTES + INTS, ids=lambda key: ascii(key)[:20])
def test_an_equal_key_that_is_another_object_is_the_same_key(hub, key):
    hub.heartbeat(key)
    other = same_as_another_object(key)
    hub.heartbeat(other)
    assert len(hub) == 1
    assert hub[other].key == key
    hub.remove(other)
    assert key not in hub


def test_all_odd_keys_live_side_by_side(hub):
    keys = TEXTS + BYTES + INTS
    hub.heartbeat_many(keys)
    assert len(hub) == len(keys)
    assert set(hub) == set(keys)
    assert [hub[key].key for key in keys] == keys


def test_an_event_has_the_key_as_it_was_given(hub, clock, drained):
    keys = TEXTS + BYTES + INTS
    hub.heartbeat_many(keys)
    clock.advance(10)
    assert {(type(event.key), event.key) for event in drained(hub)} == {(type(key), key) for key in keys}


@pytest.mark.parametrize(
    "given, plain",
    [
        (Name("a"), "a"),
        (Name(""), ""),
        (Raw(b"a"), b"a"),
        (Number(5), 5),
        (Number(2**63 - 1), 2**63 - 1),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (EventType.JOIN, "JOIN"),
    ],
    ids=repr,
)
def test_a_subclass_becomes_the_plain_key(hub, clock, given, plain):
    hub.heartbeat(given)
    hub.heartbeat(plain)
    assert len(hub) == 1
    assert given in hub
    assert hub.heart(given).key == plain
    clock.advance(10)
    event = hub.events.get_nowait()
    assert (type(event.key), event.key) == (type(plain), plain)


def test_a_subclass_with_its_own_hash_and_eq_does_not_decide_what_is_equal(hub):
    hub.heartbeat_many([Name("a"), Name("b")])
    assert set(hub) == {"a", "b"}


NO_KEYS = [True, None, 1.0, (1, "a"), bytearray(b"a"), memoryview(b"a"), ["a"], {"a"}, object]


@pytest.mark.parametrize("value", NO_KEYS, ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)))
@pytest.mark.parametrize("method", ["heartbeat", "heart", "remove", "__contains__", "__getitem__"])
def test_anything_else_is_refused_by_value_and_remedy(hub, method, value):
    with pytest.raises(TypeError) as error:
        getattr(hub, method)(value)
    assert repr(value) in str(error.value)
    assert "str()" in str(error.value)
    assert len(hub) == 0


def test_numpy_numbers_are_refused(hub):
    numpy = pytest.importorskip("numpy")
    for value in (numpy.int64(5), numpy.float64(5), numpy.bool_(True)):
        with pytest.raises(TypeError, match=r"convert it first.*str\(\)"):
            hub.heartbeat(value)


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 2**64 + 1, Number(2**63), 10**100], ids=lambda value: f"{value:g}"
)
def test_an_int_that_does_not_fit_is_refused(hub, value):
    with pytest.raises(TypeError, match="64 bits") as error:
        hub.heartbeat(value)
    assert str(value) in str(error.value)


def test_an_int_too_long_to_be_printed_is_refused_as_any_other(hub):
    with pytest.raises(TypeError, match="64 bits"):
        hub.heartbeat(10**5000)


def test_a_long_key_is_cut_in_an_error(hub):
    with pytest.raises(KeyError) as error:
        hub.remove("x" * 1_000_000)
    assert len(str(error.value)) < 500


MIXER = 0x9E3779B97F4A7C15  # what the core multiplies an int's hash with


def ints_of_one_hash(n):
    """Ints whose mixed hashes agree in the half that picks the place in the map."""
    inverse = pow(MIXER, -1, 2**64)
    return [value - 2**64 if value >= 2**63 else value for value in ((~(inverse * i)) % 2**64 for i in range(n))]


HARD_SETS = {
    "multiples of 2**32": [i << 32 for i in range(-4000, 4000)],
    "multiples of 2**48": [i << 48 for i in range(-(1 << 15), 1 << 15, 16)],
    "neighbours": list(range(-4000, 4000)),
    "one hash": ints_of_one_hash(1500),
}


@pytest.mark.parametrize("name", HARD_SETS)
@pytest.mark.parametrize("parallelism", [1, 5])
def test_keys_that_collide_are_still_different_keys(make_hub, name, parallelism):
    hub = make_hub(parallelism=parallelism)
    keys = HARD_SETS[name]
    hub.heartbeat_many(keys)
    assert set(hub) == set(keys)
    gone = random.Random(1).sample(keys, len(keys) // 2)
    for key in gone:
        hub.remove(key)
    assert set(hub) == set(keys) - set(gone)
    assert not any(key in hub for key in gone)
    assert all(key in hub for key in set(keys) - set(gone))
    hub.heartbeat_many(keys)
    assert len(hub) == len(keys)
