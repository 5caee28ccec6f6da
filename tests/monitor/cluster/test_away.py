# SPDX-License-Identifier: MIT
"""Instances that are taken from an owner that lives and cannot be reached."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.cluster.away import AwayOwners, Looked
from heartfelt.monitor.model import State

NOW_MS, TIMEOUT_MS = 1_000_000, 4000
UP = SimpleNamespace(state=State.UP)


@pytest.mark.parametrize(
    ("heard_here_ms", "heard_by_owner_ms", "is_taken"),
    [
        (100, 3000, True),
        (1000, 3000, True),
        (2997, 3000, False),  # the same beat, by two clocks: the one that the former owner had
        (3100, 3000, False),
        (100, 1000, False),  # its owner has heard it lately: it may be heard there again
    ],
)
def test_an_instance_is_taken_that_was_heard_here_later_than_by_its_owner(heard_here_ms, heard_by_owner_ms, is_taken):
    peers = SimpleNamespace(unheard_s=lambda owner: 9.0)
    shadow = SimpleNamespace(owner="b", of=1, last_beat_ms=NOW_MS - heard_here_ms)
    away = AwayOwners(peers, SimpleNamespace(owners=lambda: ["b"], by_id={1: shadow}), lambda: 9.0, lambda: NOW_MS)
    assert away.due() == [shadow]
    stored_ms = 1.25 * TIMEOUT_MS - heard_by_owner_ms  # time until the stored deadline
    assert away.must_take(shadow, Looked(UP, TIMEOUT_MS, stored_ms)) is is_taken
