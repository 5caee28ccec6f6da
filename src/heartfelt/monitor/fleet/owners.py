# SPDX-License-Identifier: MIT
"""The fleet of monitors as a registry and its ingests need it: whose an instance is, and whether it may be lost.

`Registry(owners=None)` is one machine: every instance is its own. With `owners` an instance belongs to one monitor of
the fleet (monitor/cluster/README.md). All of this belongs to the loop's thread. No call waits, and the answers come
later, as calls of these:

    asked                        answers
    unknown(name, joins=...)     Foreign.mine, theirs, moved, nobody; if it cannot be known now, Foreign.ask_again later
    lose(loss)                   Asking.accepted, refused, early, unreachable; after unreachable, Asking.ask_again later

What comes from outside, or has to be done now and then:

    Redis was out of reach       Asking.wait_for_others
    every 100 ms                 Foreign.take_forwards: what was heard of the instances of others, for their owners
    what could not be forwarded  Foreign.unsent, or gone (ids) and again (raws)
    a monitor's lease is gone    Foreign.owner_stopped
    once a second                Foreign.sweep: forgets idle shadows
    from another monitor         Foreign.forwarded: what that one has heard of ours. Its answer goes back, and is given
                                 there to Foreign.gone (ids that are not ours) and to a MOVE (ids that it may take)
    moved away, page adopted     Foreign.disown
    a dead monitor's instances   Foreign.adopt
    counts of the others         UptimeMeter.others; ours are UptimeMeter.counts
    their numbers for the hold   Others.set_living, took, prune; ours are OwnInstances.answer

`Foreign` (ingest/foreign.py) is `intake.foreign`; `Asking` (asking.py) is `registry.owned.asking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from heartfelt.monitor.fleet.admission import InputRefused
from heartfelt.monitor.fleet.reasons import Led
from heartfelt.monitor.model import Beat, Change, InstanceRow, Level, Run

__all__ = ["Elsewhere", "Forward", "Loss", "Name", "Owners", "Raw", "RawKind", "Reply", "TakenOver", "run_number"]

Name: TypeAlias = tuple[str, str]
"""Service and instance id."""
_EPOCH_MS = 1_704_067_200_000
_RUNS_PER_MS = 4
_MONITORS = 512


class RawKind(str, Enum):
    TEXT = "text"
    """A heartbeat's JSON."""
    BEAT = "beat"
    """A Beat, as msgpack: of a key, without metadata, or a goodbye."""
    STOP = "stop"
    """The AgentEvent that is a goodbye, as msgpack."""
    PING = "ping"
    """A ping that says more than that its key is alive: (raw path, path, query, body), as msgpack."""


class Raw(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An input as it came, which can be sent to another monitor as msgpack."""

    kind: RawKind
    service: str
    instance_id: str
    data: bytes
    via: str
    peer: str
    age_ms: int = 0
    """How long ago it was heard, when it is handed over to another monitor."""
    heard_ms: float = 0.0
    """When it was heard, by the registry's clock."""
    repeats: bool = False
    """It is a beat that changes nothing if one like it came before."""
    joins: bool = True
    """False: it does nothing if no monitor has the name, as a goodbye."""
    hops: int = 0
    """How often it was sent on."""
    facts: dict[str, bool] = {}
    """PING: keys of which it is known whether the fleet has them."""


class Forward(msgspec.Struct, kw_only=True):
    """Everything that one monitor has heard of the instances of another one, `owner`."""

    owner: str
    ids: list[int]
    """Those that have beaten and said nothing new,"""
    ages_ms: list[int]
    """and how long ago each did so last."""
    raws: list[Raw]
    """Inputs that say more, in order."""


class Reply(msgspec.Struct, kw_only=True):
    """The owner's answer to a Forward."""

    take: list[int]
    """Ids that the sender may take (MOVE with consent): only it has heard them for half of their timeouts."""
    gone: list[int]
    """Ids that are not, or no longer, of this owner."""


class TakenOver(NamedTuple):
    """An instance that comes from another monitor."""

    row: InstanceRow
    """Its `last_beat_ms` as new as it is known."""
    left_ms: float
    """Time until its stored deadline, which may have passed; 0: no timeout runs."""
    runs: Sequence[Run] = ()
    """Its open runs."""


class Loss(msgspec.Struct, kw_only=True, eq=False):
    """A timeout that has passed, and of which Redis is asked whether it is a loss. One question has one object."""

    id: int
    service: str
    instance_id: str
    deadline_ms: int
    """Its last beat and its timeout, by this monitor's wall clock, as the last beats that were handed to the store."""
    led: Led | None = None
    level: Level
    detected: bool = False
    """It is decided because its timeout has ended, rather than a hold or a pause."""
    row: InstanceRow | None = None
    """Its row if it is a loss: set when it is asked."""
    is_judged: bool = False
    """The hold has let it pass."""
    is_deferred: bool = False
    """It was asked later, since the loop had been busy."""
    change: Change | None = None
    """The change if it is a loss, without a seq: set when it is asked."""


class Elsewhere(Exception):
    """A beat, or a question about a name, of an instance that this monitor does not own.

    joins: it joins if no monitor has it; otherwise nothing happens then. beat: what is kept of it instead of the whole
    input. refused: the rest of it was refused.
    """

    def __init__(
        self, name: Name, *, joins: bool = True, beat: Beat | None = None, refused: InputRefused | None = None
    ) -> None:
        super().__init__(name)
        self.name = name
        self.joins = joins
        self.beat = beat
        self.refused = refused


class Owners(Protocol):
    """The rest of the fleet. It answers later, never within a call."""

    @property
    def settle_ms(self) -> float:
        """The time from a deadline to the request to lose, in which a move that is on its way arrives."""

    @property
    def comeback_ms(self) -> float:
        """The longest time that a client needs to beat to another monitor."""

    def unknown(self, name: Name, *, joins: bool) -> None:
        """Asks whose a name is. `joins`: it becomes ours if it is nobody's. The same name may be asked again."""

    def lose(self, loss: Loss) -> None:
        """Asks whether an instance is lost: it is ours, and its deadline has passed by the fleet's clock."""

    def next_run(self) -> int:
        """Returns a number of a run that no other monitor gives, and that grows with time; see `run_number`."""


def run_number(last: int, wall_ms: int, monitor: int) -> int:
    """Returns the next number of a run of a monitor that is the `monitor`th of the fleet, from 0: it grows, other
    monitors' are different, and it is below 2^53."""
    ticks = max(last // _MONITORS + 1, (wall_ms - _EPOCH_MS) * _RUNS_PER_MS)
    return ticks * _MONITORS + monitor % _MONITORS
