# SPDX-License-Identifier: MIT
"""Asks Redis about instances, and takes over and gives up those of this monitor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from heartfelt.monitor.model import InstanceRow
from heartfelt.monitor.store import Who
from heartfelt.monitor.store.redis.gathering import Gathered
from heartfelt.monitor.store.redis.instances import Instances
from heartfelt.monitor.store.redis.keys import Entry, name_of
from heartfelt.monitor.store.redis.leases import Accepted, Adopted, Leases, Orphan, Owned, Refused
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.outcomes import AskedLoss, Outcome
from heartfelt.monitor.store.redis.telling import Teller
from heartfelt.monitor.store.redis.writer import RedisWriter

__all__ = ["OwnedInstances"]


class OwnedInstances:
    """Part of `RedisStore`. Each coroutine raises StoreError if Redis cannot be reached."""

    leases: Leases
    _instances: Instances
    _writer: RedisWriter
    _teller: Teller
    _lost: set[int]
    _put: Callable[..., None]

    async def reserve(self, who: Sequence[Who]) -> list[Entry | Owned | Unreachable]:
        """Returns an Entry for each that is this monitor's from now on: its row is to be put with that id."""
        self._teller.see_loop()
        names = [name_of(*one) for one in who]

        def job(outcome: Outcome) -> list[Entry | Owned | Unreachable]:
            answers = list(self.leases.reserve(names))
            for name, answer in zip(names, answers, strict=True):
                if isinstance(answer, Entry) and answer.id not in self._instances.own:
                    self._instances.add(name, answer)
            return answers

        return await self._writer.do(job, urgent=True)

    async def lose(self, losses: Sequence[AskedLoss]) -> list[Accepted | Refused | Unreachable]:
        """Asks Redis whether these are losses. Accepted: it has recorded the row and the change, under the seq that it
        returns; `put_change` of that seq does nothing then. Call `heard` before anything is put of the instance."""
        self._teller.see_loop()
        answers = await self._writer.do(lambda outcome: self._instances.lose(losses, outcome), urgent=True)
        self._lost.update(seq for one in answers if isinstance(one, Accepted) for seq in one.seqs)
        return answers

    async def lease_job(self, job: Callable[[Leases], Any]) -> Any:
        """Runs `find` or `orphans` in the writer's thread."""
        self._teller.see_loop()
        return await self._writer.do(lambda outcome: job(self.leases), urgent=True)

    async def look_for_moved(self) -> None:
        """Finds out now what was moved away from this monitor. It is told before this returns."""
        self._teller.see_loop()
        await self._writer.do(lambda outcome: self._writer.look_for_moved(), urgent=True)

    async def move(self, wanted: Sequence[tuple[bytes, Owned, bool]]) -> list[Adopted | Entry | Refused | Unreachable]:
        """Takes instances over, as `Leases.move`. They are this monitor's from now on: see `heard`."""
        self._teller.see_loop()

        def job(outcome: Outcome) -> list[Adopted | Entry | Refused | Unreachable]:
            found = self.leases.move(wanted)
            for at, ((name, _, _), one) in enumerate(zip(wanted, found, strict=True)):
                if isinstance(one, Adopted):
                    found[at] = one._replace(is_kept=True) if self._instances.has(one.entry) else self._came(one)
                elif isinstance(one, Entry) and one.id not in self._instances.own:
                    self._instances.add(name, one)
            return found

        return await self._writer.do(job, urgent=True)

    async def adopt(self, orphans: Sequence[Orphan]) -> list[Adopted]:
        """Takes pages over, as `Leases.adopt`. Their instances are this monitor's from now on: see `heard`."""
        self._teller.see_loop()
        return await self._writer.do(
            lambda outcome: [self._came(one) for one in self.leases.adopt(orphans)], urgent=True
        )

    async def restore(self, rows: Mapping[int, InstanceRow | None]) -> int:
        """Writes instances again that Redis has lost: see `Leases.to_restore`. Returns how many are written."""
        return await self._writer.do(lambda outcome: self._instances.restore(rows, outcome), urgent=True)

    def heard(self, ids: Iterable[int]) -> list[int]:
        """Says that the caller goes on from what Redis has of these instances: a loss that was accepted, the row with
        which they came. What it has put of them since then is dropped. Returns those that are still this monitor's."""
        mine = [id for id in ids if self._instances.owns(id)]
        self._put("what was heard", Gathered.hear, mine)
        return mine

    def compare(self, ids: Collection[int]) -> tuple[set[int], list[tuple[bytes, Entry]]]:
        """Returns which of these are not this monitor's, and what is, but is not among them, though nothing of it
        waits."""
        return self._instances.not_own(ids), self._instances.missing(ids)

    def _came(self, one: Adopted) -> Adopted:
        self._instances.came(name_of(one.row.service, one.row.instance_id), one)
        return one._replace(row=self._row_of(one))

    def _row_of(self, one: Adopted) -> InstanceRow:
        """Returns the row, with the time of the last beat by the deadline."""
        return replace(one.row, id=one.entry.id, last_beat_ms=self._instances.last_beat_ms(one))

    def adopted(self, some: Sequence[Adopted]) -> list[InstanceRow]:
        """Notes instances that this monitor owns, before `open`, and returns their rows."""
        for one in some:
            self._instances.add(name_of(one.row.service, one.row.instance_id), one.entry, one.row)
        return sorted(map(self._row_of, some), key=lambda row: row.id)

    async def give_up(self) -> None:
        """Writes what was put before, then gives up the leases, so that others adopt at once. Nothing of instances is
        written from then on. Raises StoreError if Redis cannot be reached."""
        await self._writer.flush()
        await self._writer.do(lambda outcome: self._writer.give_up(), urgent=True)
