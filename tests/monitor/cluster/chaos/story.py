# SPDX-License-Identifier: MIT
"""Rules that hold for the history of a fleet, whoever died when.

- Each change of an instance begins with the state in which the one before has ended. So no loss is told twice.
- No loss without silence: between a loss and its timeout before, no beat was sent that a monitor has answered. But a
  silence that was longer than the timeout may still be told while the beat that ends it, which another monitor has
  answered, is on its way to the owner: for at most PASSED_MS.
- No silence without a loss: in each silence that is longer than the timeout and `late_ms`, there is one. On a machine
  that is too busy it may come later than that, and is counted.
- Each loss is told in exactly one message of a webhook (run.py counts them).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import NamedTuple

PASSED_MS = 1000


def by_instance(changes):
    """Oldest first."""
    found = defaultdict(list)
    for change in sorted(changes, key=lambda one: one["seq"]):
        found[change["instance_id"]].append(change)
    return found


def broken_chains(changes):
    return [
        (name, before["seq"], before["new"], after["seq"], after["old"])
        for name, some in by_instance(changes).items()
        for before, after in itertools.pairwise(some)
        if before["new"] != after["old"] and not (before["new"] == "REMOVED" and after["old"] is None)
    ]


def false_losses(changes, instances, timeout_ms):
    """Losses of instances that had sent a beat, which was answered, within the timeout before. Returns for each its
    name, the number and the time of the loss, and the age of that beat."""
    found = []
    for one in instances:
        losses = [change for change in changes.get(one.name, ()) if change["new"] == "LOST"]
        for loss in losses:
            at_ms = loss["time_ms"]
            beats = [sent for sent, answered, _ in one.beats if answered is not None and answered <= at_ms]
            if beats and at_ms - beats[-1] < timeout_ms and not _is_just_over(one, at_ms, timeout_ms):
                found.append((one.name, loss["seq"], at_ms, at_ms - beats[-1]))
    return found


def _is_just_over(one, at_ms, timeout_ms):
    """Whether a silence longer than the timeout had ended no longer than PASSED_MS before."""
    sent = [sent for sent, _, _ in one.beats if sent <= at_ms]
    return any(
        next_ms - last_ms > timeout_ms and at_ms - next_ms <= PASSED_MS for last_ms, next_ms in itertools.pairwise(sent)
    )


class Silences(NamedTuple):
    missed: list
    late: list


def silences(changes, instances, timeout_ms, late_ms, end_ms):
    """Returns the silences that were not told before they ended, and those that were told after `late_ms`. A beat that
    was sent and not answered may have been heard or not. One that was heard by the owner after its timeout does not
    bring back what was told before, and is still so."""
    found = Silences([], [])
    for one in instances:
        losses = [change["time_ms"] for change in changes.get(one.name, ()) if change["new"] == "LOST"]
        sent = [sent for sent, _, _ in one.beats]
        for last_ms, next_ms in zip(sent, [*sent[1:], end_ms], strict=True):
            due_ms = last_ms + timeout_ms + late_ms
            if next_ms <= due_ms:
                continue
            told = [at_ms for at_ms in losses if last_ms < at_ms <= next_ms]
            until = [change["new"] for change in changes.get(one.name, ()) if change["time_ms"] <= next_ms]
            if not told and until[-1:] == ["LOST"]:
                continue
            if not told:
                found.missed.append((one.name, last_ms, next_ms - last_ms, [at - last_ms for at in losses]))
            elif told[0] > due_ms:
                found.late.append((one.name, told[0] - last_ms))
    return found
