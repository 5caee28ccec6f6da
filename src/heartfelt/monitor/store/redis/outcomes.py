# SPDX-License-Identifier: MIT
"""Results of what was put of instances."""

from __future__ import annotations

from typing import NamedTuple

from heartfelt.errors import StoreError
from heartfelt.monitor.model import Change, InstanceRow
from heartfelt.monitor.store.redis.answers import Renewal


class WriteRefusal(NamedTuple):
    """Redis did not accept what was put of an instance."""

    id: int
    service: str
    instance_id: str
    owner: str | None
    """The monitor that it belongs to, if that is known."""
    changes: int
    """How many changes were dropped with it."""


class Outcome:
    """Results of one round."""

    def __init__(self) -> None:
        self.accepted: list[Change] = []
        """With the seqs that Redis has given."""
        self.seqs: dict[int, list[int]] = {}
        """By instance: what is to be added to its list."""
        self.removed: list[int] = []
        self.refused: list[WriteRefusal] = []
        self.renewals: list[Renewal] = []
        self.error: StoreError | None = None
        """Why something still waits."""


class AskedLoss(NamedTuple):
    """A loss that Redis shall accept only if the deadline has passed."""

    row: InstanceRow
    change: Change
    deadline_ms: int
    """By this monitor's wall clock."""
