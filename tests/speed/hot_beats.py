# SPDX-License-Identifier: MIT
"""Every hot call of a hub, as functions that beat each key of a hub once and do nothing else that costs anything."""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterable

from heartfelt import HeartHub

TIMEOUT_S = 3600  # long, so that beats read the clock that they read in production, and nothing is due meanwhile


def each(call: Callable[[object], None], items: Iterable[object]) -> None:
    for item in items:
        call(item)


def beats(n_keys: int) -> dict[str, Callable[[], object]]:
    """Returns functions, by the call's name, that beat `n_keys` watched keys of their own hub. Only the last needs
    numpy."""
    keys = [f"service/{n}" for n in range(n_keys)]
    others = [key.encode().decode() for key in keys]
    ints = [10**12 + n for n in range(n_keys)]
    in_bytes = [key.encode() for key in keys]
    for key in (*keys, *others, *in_bytes):
        hash(key)  # cached from here on
    hub = HeartHub(TIMEOUT_S)
    hub.heartbeat_many([*keys, *ints, *in_bytes])
    hearts = [hub.heart(key) for key in keys]
    in_tuple = tuple(keys)
    ids = array("q", hub._pin(keys))  # hub.ids, where numpy may be missing
    lasting = HeartHub(TIMEOUT_S)
    lasting.heartbeat_many(keys)
    for _ in range(50):  # until every one of them stands for its key
        each(lasting.heartbeat, others)

    def beat_hearts() -> None:
        for heart in hearts:
            heart.beat()

    def call_hearts() -> None:
        for heart in hearts:
            heart()

    found: dict[str, Callable[[], object]] = {
        "heartbeat(key)": lambda: each(hub.heartbeat, keys),
        "heartbeat(equal key, new)": lambda: deque(map(hub.heartbeat, map(bytes.decode, in_bytes)), maxlen=0),
        "heartbeat(equal key that lasts)": lambda: each(lasting.heartbeat, others),
        "heartbeat(int)": lambda: each(hub.heartbeat, ints),
        "heartbeat(bytes)": lambda: each(hub.heartbeat, in_bytes),
        "heart.beat()": beat_hearts,
        "heart()": call_hearts,
        "heartbeat_many(list)": lambda: hub.heartbeat_many(keys),
        "heartbeat_many(tuple)": lambda: hub.heartbeat_many(in_tuple),
        "heartbeat_ids(array)": lambda: hub.heartbeat_ids(ids),
    }
    if "numpy" in sys.modules:
        numpy_ids = sys.modules["numpy"].array(ids)
        found["heartbeat_ids(numpy)"] = lambda: hub.heartbeat_ids(numpy_ids)
    return found
