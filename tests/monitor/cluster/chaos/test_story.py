# SPDX-License-Identifier: MIT
"""The rules of story.py find what is planted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.monitor.cluster.chaos import story

TIMEOUT_MS = 4000
LATE_MS = 5000


def instance(*sent_ms):
    return SimpleNamespace(name="one", beats=[(at, at + 2, 0) for at in sent_ms])


def change(at_ms, new="LOST", old="UP"):
    return {"seq": at_ms, "time_ms": at_ms, "instance_id": "one", "old": old, "new": new}


@pytest.mark.parametrize(
    ("sent", "lost", "false"),
    [
        ((0, 1000, 2000), 6100, []),
        ((0, 1000, 2000, 6122), 6214, []),  # the beat after 4.1 s is still on its way
        ((0, 1000, 2000, 5900), 6014, [("one", 6014, 6014, 114)]),  # that silence was shorter than the timeout
        ((0, 1000, 2000, 6122), 7200, [("one", 7200, 7200, 1078)]),  # for so long no beat is on its way
        ((0, 1000, 2000, 3000), 4000, [("one", 4000, 4000, 1000)]),
    ],
)
def test_a_loss_without_silence_is_found(sent, lost, false):
    assert story.false_losses({"one": [change(lost)]}, [instance(*sent)], TIMEOUT_MS) == false


@pytest.mark.parametrize(
    ("sent", "lost", "missed", "late"),
    [
        ((0, 1000, 20_000), [5100], 0, 0),
        ((0, 1000, 20_000), [12_000], 0, 1),
        ((0, 1000, 20_000), [], 1, 0),
        ((0, 1000, 9000), [], 0, 0),  # it may have been told until 10,000
    ],
)
def test_a_silence_without_a_loss_is_found(sent, lost, missed, late):
    changes = {"one": [change(at) for at in lost]}
    found = story.silences(changes, [instance(*sent)], TIMEOUT_MS, LATE_MS, end_ms=sent[-1] + 500)
    assert (len(found.missed), len(found.late)) == (missed, late)


def test_a_loss_that_is_told_twice_is_found():
    changes = [change(5000), change(9000)]
    assert story.broken_chains(changes) == [("one", 5000, "LOST", 9000, "UP")]
    assert not story.broken_chains([change(5000), change(6000, new="UP", old="LOST"), change(9000)])
