# SPDX-License-Identifier: MIT
"""Instances and changes as Redis has them: everything comes back, also from other versions, and garbage is refused."""

from __future__ import annotations

import random

import msgspec
import pytest

from heartfelt.monitor import reasons
from heartfelt.monitor.model import Ack, Change, ExpectedBy, InstanceRow, Level, State
from heartfelt.monitor.reasons import NO_REASON, text_reason
from heartfelt.monitor.store.redis.packing import (
    CHANGE_LETTERS,
    ROW_LETTERS,
    Unreadable,
    pack_change,
    pack_row,
    unpack_change,
    unpack_row,
)
from heartfelt.monitor.store.shared_meta import SharedMeta

REASON = reasons.make("timeout_passed", timeout_ms=5000) if "timeout_passed" in reasons.CODES else text_reason("why")
META = {"pluginInfoMap": {"a": {"version": "1"}}, "ip": ["10.0.0.1"], "big": 1 << 80, "odd": "\udc80\0"}


def a_row(**fields):
    given = {
        "id": 7, "service": "shop", "instance_id": "a\n{1}", "state": State.UP, "since_ms": 1, "reason": NO_REASON,
        "first_seen_ms": 2, "last_beat_ms": 3, "meta": {}, "via": "http", "peer": "10.0.0.1", **fields,
    }  # fmt: skip
    return InstanceRow(**given)


FULL = {
    "reason": REASON, "meta": META, "interval_ms": 1, "timeout_ms": 2, "skew_ms": -3, "lag_ms": 0,
    "paused_until_ms": 5, "before_pause": State.LOST, "ack": Ack(by="me", why="\udcff", at_ms=1, until_ms=2),
    "down_since_ms": 6, "expected": True, "expected_by": ExpectedBy.BEAT, "every_ms": 7, "grace_ms": 8,
    "period_ms": 9, "is_job": True, "min_duration_ms": 10, "max_duration_ms": 11, "id": (1 << 53) - 1,
    "service": "\udcffü", "instance_id": "",
}  # fmt: skip


@pytest.mark.parametrize("fields", [{}, FULL, {"meta": SharedMeta().pack(META)}, {"reason": text_reason("why not")}])
def test_row(fields):
    row = a_row(**fields)
    found = unpack_row(pack_row(row), SharedMeta())
    assert found == row
    assert type(found.meta).__name__ == "Packed"


def test_every_field_has_a_letter():
    assert set(ROW_LETTERS) == set(InstanceRow.__struct_fields__)
    assert set(CHANGE_LETTERS) == set(Change.__struct_fields__) - {"seq"}
    full = msgspec.msgpack.decode(pack_row(a_row(**FULL)))
    assert set(full) == set(ROW_LETTERS.values())
    assert len(full) == len(ROW_LETTERS)


def test_defaults_are_left_out():
    assert len(pack_row(a_row())) < 90


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"old": State.UP, "outage_ms": 5, "ip": "10.0.0.1", "reason": REASON, "level": Level.EMERGENCY},
        {"service": "\udcff", "instance_id": "\n"},
    ],
)
def test_change(fields):
    given = {
        "seq": 1 << 52, "time_ms": 1, "id": 2, "service": "shop", "instance_id": "a", "old": None, "new": State.LOST,
        "level": Level.NORMAL, "reason": NO_REASON, **fields,
    }  # fmt: skip
    change = Change(**given)
    assert unpack_change(1 << 52, pack_change(change)) == change


def test_row_of_a_newer_version():
    fields = msgspec.msgpack.decode(pack_row(a_row()))
    data = msgspec.msgpack.encode({**fields, "X": {"new": [1]}, "new": "x"})
    assert unpack_row(data, SharedMeta()) == a_row()


def test_unknown_reason_is_kept_in_words():
    fields = msgspec.msgpack.decode(pack_row(a_row()))
    data = msgspec.msgpack.encode({**fields, "r": ["", "reason_of_next_year", '{"a": 1}']})
    assert unpack_row(data, SharedMeta()).reason == text_reason("reason_of_next_year")


def test_what_msgpack_cannot_say_is_bounded():
    row = a_row(interval_ms=1 << 70, skew_ms=-(1 << 70), via="\udcff")
    found = unpack_row(pack_row(row), SharedMeta())
    assert (found.interval_ms, found.skew_ms, found.via) == ((1 << 63) - 1, 1 - (1 << 63), "?")


def test_garbage_is_unreadable():
    rng = random.Random(1)
    data = pack_row(a_row(**FULL))
    n_read = 0
    for _ in range(3000):
        broken = bytearray(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data)
        for _ in range(rng.randrange(1, 4)):
            if broken:
                broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            unpack_row(bytes(broken), SharedMeta())
            n_read += 1
        except Unreadable:
            pass
    assert n_read < 3000
    for one in ({}, {**msgspec.msgpack.decode(data), "i": "x"}, {**msgspec.msgpack.decode(data), "t": "NOWHERE"}, [1]):
        with pytest.raises(Unreadable):
            unpack_row(msgspec.msgpack.encode(one), SharedMeta())
        with pytest.raises(Unreadable):
            unpack_change(1, msgspec.msgpack.encode([one]))
