# SPDX-License-Identifier: MIT
"""Results of what was put: for the loop, which is told of them by the writer's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from heartfelt.errors import StoreError
from heartfelt.monitor.model import Change, InstanceRow
from heartfelt.monitor.store.redis.answers import Renewal

__all__ = ["AskedLoss", "Listener", "Outcome", "Recorded", "WriteRefusal"]


class WriteRefusal(NamedTuple):
    """Redis did not accept what was put of an instance."""

    id: int
    service: str
    instance_id: str
    owner: str | None
    """The monitor that it belongs to, if that is known."""
    changes: int
    """How many changes were dropped with it."""


class AskedLoss(NamedTuple):
    """A loss that Redis shall accept only if the deadline has passed."""

    row: InstanceRow
    change: Change
    deadline_ms: int
    """By this monitor's wall clock."""
    stands: Callable[[], bool] = lambda: True
    """Whether it has not beaten or changed since: the question may have waited. The writer's thread."""


class Recorded(NamedTuple):
    """A loss that Redis had accepted, as was found out after `lose` had returned Unreachable."""

    row: InstanceRow
    change: Change
    """With its seq."""


class Outcome:
    """Results of one round."""

    def __init__(self) -> None:
        self.accepted: list[Change] = []
        """With the seqs that Redis has given."""
        self.recorded: list[Recorded] = []
        self.seqs: dict[int, list[int]] = {}
        """By instance: what is to be added to its list."""
        self.removed: list[int] = []
        self.refused: list[WriteRefusal] = []
        self.renewals: list[Renewal] = []
        self.error: StoreError | None = None
        """Why something still waits."""

    def says_something(self) -> bool:
        """Returns whether the listener is to be told of it."""
        return bool(self.accepted or self.recorded or self.refused or self.renewals)


class Listener(Protocol):
    """Told what has come of what was put, in the loop's thread."""

    def accepted(self, changes: Sequence[Change]) -> None:
        """Redis has accepted these changes, with these seqs: others see them from now on. Also those of `lose`."""

    def recorded(self, losses: Sequence[Recorded]) -> None:
        """Redis had accepted these losses, though `lose` has returned Unreachable."""

    def refused(self, refusals: Sequence[WriteRefusal]) -> None:
        """These are not this monitor's any more."""

    def renewed(self, renewal: Renewal) -> None:
        """The leases were renewed: what was moved away or adopted by others is not this monitor's any more."""
