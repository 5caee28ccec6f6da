# SPDX-License-Identifier: MIT
from __future__ import annotations

from heartfelt.monitor.cluster.rendezvous import owner_of, spread

MONITORS = [f"{n:032x}" for n in range(5)]
KEYS = [b"%d:%d" % (shard, page) for shard in range(8) for page in range(250)]


def test_each_key_has_one_and_they_are_spread():
    found = spread(KEYS, MONITORS)
    assert sorted(key for keys in found.values() for key in keys) == sorted(KEYS)
    assert all(300 < len(keys) < 500 for keys in found.values())
    assert all(owner_of(key, reversed(MONITORS)) == id for id, keys in found.items() for key in keys[:50])


def test_only_the_keys_of_the_one_that_died_move():
    before, after = spread(KEYS, MONITORS), spread(KEYS, MONITORS[1:])
    for id in MONITORS[1:]:
        assert set(before[id]) <= set(after[id])
    moved = [len(set(after[id]) - set(before[id])) for id in MONITORS[1:]]
    assert min(moved) > 50, "to all of the others"


def test_it_is_the_same_in_each_version():
    assert owner_of(b"3:17", MONITORS) == "00000000000000000000000000000002"
    assert owner_of(b"3:18", MONITORS) == "00000000000000000000000000000000"


def test_nobody():
    assert owner_of(b"1", []) is None
    assert spread([b"1"], []) == {}
    assert owner_of(b"", ["a"]) == "a"
