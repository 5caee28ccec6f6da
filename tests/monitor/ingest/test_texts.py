# SPDX-License-Identifier: MIT
"""Texts by which instances are known: as a dict would know them, but with the plugins once."""

from __future__ import annotations

import gc
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from heartfelt._ingest import Scan
from heartfelt._known import Hot, Texts

PLUGINS = b'"pluginInfoMap":{"router":{"name":"router","x":"}\\"{","version":"1.2.%d"},"template":{"name":"template"}}'


def text(n, plugins=1, end=b"\0}"):
    return b'{"service":"s","instanceId":"i-%d",%b,"appName":"a"%b' % (n, PLUGINS % plugins, end)


PLACES = st.integers(0, 15)
TEXTS = st.one_of(
    st.builds(text, st.integers(0, 11), st.integers(0, 2)),
    st.builds(lambda n: b'{"service":"s","instanceId":"i-%d","a":"b"\0}' % n, st.integers(0, 40)),
    st.sampled_from(
        [b"", b'{\0"pluginInfoMap":{' + b"{" * 100, b'{"x":1\0,' + PLUGINS % 1 + b"}", b'"pluginInfoMap":{"']
    ),
)
STEPS = st.one_of(
    st.tuples(st.just("learn"), PLACES, TEXTS),
    st.tuples(st.just("forget"), PLACES),
    st.tuples(st.just("forget_oldest")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=120))
def test_they_are_known_as_a_dict_would_know_them(steps):
    texts, hots = Texts(), [Hot() for _ in range(16)]
    known: dict[bytes, int] = {}  # the oldest first
    seen = set()
    for step in steps:
        if step[0] == "learn":
            _, place, key = step
            known = {one: at for one, at in known.items() if at != place and one != key} | {key: place}
            texts.learn(key, hots[place])
            seen.add(key)
        elif step[0] == "forget":
            known = {one: at for one, at in known.items() if at != step[1]}
            texts.forget(hots[step[1]])
        elif known:
            del known[next(iter(known))]
            texts.forget_oldest()
        assert len(texts) == len(known)
        for key in seen:
            found = texts.get(key)
            assert found is (hots[known[key]] if key in known else None)
            assert (key in texts) is (key in known)
            if found is not None:
                assert texts.text_of(found) == key
    for hot in hots:
        texts.forget(hot)
    assert len(texts) == texts.n_bytes == 0


def test_a_text_with_known_plugins_costs_its_own_part_alone():
    texts, hots = Texts(), [Hot() for _ in range(1000)]
    texts.learn(text(0), hots[0])
    first = texts.n_bytes
    for n, hot in enumerate(hots[1:], 1):
        texts.learn(text(n), hot)
    assert texts.n_bytes - first < 999 * (len(text(999)) - len(PLUGINS) + 130)


def test_instances_are_given_back():
    texts, hots = Texts(), [Hot() for _ in range(100)]
    for n, hot in enumerate(hots):
        texts.learn(text(n), hot)
    counts = [sys.getrefcount(hot) for hot in hots]
    del texts
    gc.collect()
    assert [sys.getrefcount(hot) + 1 for hot in hots] == counts


def test_a_list_is_scanned_by_the_instances_that_followed_last_time():
    texts, hots = Texts(), [Hot() for _ in range(50)]
    for n, hot in enumerate(hots):
        texts.learn(text(n, n % 3), hot)
    beats = [text(n, n % 3)[:-2] + b',"heartbeatTime":%d}' % n for n in range(50)]
    for _ in range(3):
        scan = Scan(b"[" + b",".join(beats) + b"]", texts, True, 100)
        assert (scan.n, scan.whole) == (50, True)
        _, others = scan.renew(100, "http", "p", 1, {})
        assert [(one[0], one[1]) for one in others] == list(zip(hots, range(50), strict=True))
    other = [*beats[:10], beats[10].replace(b'"name":"router"', b'"name":"rooter"'), *beats[11:]]
    assert Scan(b"[" + b",".join(other) + b"]", texts, True, 100).n == 10
