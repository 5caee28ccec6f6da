# SPDX-License-Identifier: MIT
"""Keys: any str, bytes or 64-bit int comes back as it went in, and no two different ones are ever one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartfelt import HeartHub
from heartfelt.testing import ManualClock

# Surrogates too: a file name may hold them.
any_text = st.text(st.characters(exclude_categories=()))
any_int = st.integers(-(2**63), 2**63 - 1)
any_key = any_text | st.binary() | any_int
lookalikes = any_int.flatmap(lambda n: st.sampled_from([n, str(n), str(n).encode(), n & 0xFF, ~n]))


class Text(str):
    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class Number(int):
    __slots__ = ()


class Data(bytes):
    __slots__ = ()


def ident(key):
    return type(key), key


@given(st.lists(any_key | lookalikes, max_size=60), st.sampled_from([1, 3]))
def test_every_key_comes_back_once_and_as_it_was(keys, shards):
    clock = ManualClock()
    hub = HeartHub(1, parallelism=shards, clock=clock)
    hub.heartbeat_many(keys)
    distinct = {ident(key) for key in keys}
    assert len(hub) == len(distinct)
    assert sorted(map(repr, hub)) == sorted(repr(key) for _, key in distinct)
    clock.advance(1)
    events = hub.events.get_many(1000, timeout=0)
    assert sorted(repr(event.key) for event in events) == sorted(repr(key) for _, key in distinct)


@given(any_key | lookalikes, any_key | lookalikes)
def test_removing_one_key_leaves_the_other(key, other):
    hub = HeartHub(1, clock=ManualClock())
    hub.heartbeat(key)
    hub.heartbeat(other)
    hub.remove(key)
    assert key not in hub
    assert (other in hub) == (ident(key) != ident(other))


@given(any_text)
def test_an_equal_str_made_anew_is_the_same_key(text):
    hub = HeartHub(1, clock=ManualClock())
    hub.heartbeat(text)
    again = "".join([*text, "x"])[:-1]
    hub.heartbeat(again)
    hub.heart(again).beat()
    assert list(hub) == [text]


@given(any_text.map(Text) | any_int.map(Number) | st.binary().map(Data))
def test_a_subclass_is_the_plain_key_of_its_value(key):
    plain = (
        next(kind(key) for kind in (str, int, bytes) if isinstance(key, kind))
        if not isinstance(key, str)
        else ("".join(str.__iter__(key)))
    )
    hub = HeartHub(1, clock=ManualClock())
    hub.heartbeat(key)
    assert plain in hub
    [kept] = hub
    assert type(kept) in (str, bytes, int)
    assert ident(kept) == ident(plain)


@given(st.integers(min_value=2**63) | st.integers(max_value=-(2**63) - 1))
def test_an_int_of_more_than_64_bits_is_refused(number):
    hub = HeartHub(1, clock=ManualClock())
    for refuses in (hub.heartbeat, hub.remove, hub.heart, hub.__contains__, hub.__getitem__):
        with pytest.raises(TypeError, match="64 bits"):
            refuses(number)
    assert len(hub) == 0


@given(st.lists(any_key, unique_by=ident, max_size=30))
def test_ids_are_distinct_stay_their_keys_and_are_int64(keys):
    hub = HeartHub(1, clock=ManualClock())
    ids = hub.ids(keys)
    assert str(ids.dtype) == "int64"
    assert len(set(ids.tolist())) == len(keys)
    assert hub.ids(keys).tolist() == ids.tolist()
    hub.heartbeat_ids(ids)


@given(st.lists(st.none() | st.floats() | st.booleans() | st.tuples() | any_key, max_size=10))
def test_a_bad_key_costs_the_others_nothing(keys):
    good = {ident(key) for key in keys if type(key) in (str, bytes, int)}
    hub = HeartHub(1, clock=ManualClock())
    if all(type(key) in (str, bytes, int) for key in keys):
        hub.heartbeat_many(keys)
    else:
        with pytest.raises(TypeError):
            hub.heartbeat_many(keys)
    assert {ident(key) for key in hub} == good
