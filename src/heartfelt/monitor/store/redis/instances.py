# SPDX-License-Identifier: MIT
"""Rows and changes of the instances that this monitor owns, on their way to Redis. Belongs to the writer's thread.

What is put is gathered by instance, until it is one `Write`. A Write of which it is not known whether it was executed
is repeated as it was, and what came later waits until it is answered.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from heartfelt.monitor.model import Change, InstanceRow, State
from heartfelt.monitor.store.pending import Dropped
from heartfelt.monitor.store.redis.gathering import Gathered
from heartfelt.monitor.store.redis.history import is_news
from heartfelt.monitor.store.redis.keys import Entry, Keys, parts_of
from heartfelt.monitor.store.redis.leases import Accepted, Adopted, Leases, Refused, Write
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.outcomes import AskedLoss, Outcome, Recorded, WriteRefusal
from heartfelt.monitor.store.redis.own import LEAST_FLUSH_S, MOST_FLUSH_S, NO_TIMEOUT, News, Own, PutOrder
from heartfelt.monitor.store.redis.unheard import Unheard
from heartfelt.monitor.store.redis.values import BAD_VALUE
from heartfelt.monitor.store.rows import slices

AT_ONCE = 500
"""Writes in one call."""
MOST_IN_WRITE = 200
"""Changes of one instance in one Write."""
ROW_S = 1.0
"""How long a change waits for the row that is put after it."""


class Instances:
    """lease_ms: returns the timeout of an instance by its row; 0 or less: none. most_changes: how many changes wait."""

    def __init__(
        self,
        leases: Leases,
        keys: Keys,
        lease_ms: Callable[[InstanceRow], int],
        wall_ms: Callable[[], int],
        now_ms: Callable[[int], int],
        most_changes: int,
        dropped: Dropped,
        logger: logging.Logger,
    ) -> None:
        self.own: dict[int, Own] = {}
        self.flush_s = MOST_FLUSH_S  # how often pages are written: four times in the shortest timeout that was seen
        self.faults = 0
        """Writes that can never be stored."""
        self._leases = leases
        self._keys = keys
        self._lease_ms = lease_ms
        self._wall_ms, self._now_ms = wall_ms, now_ms
        self._most_changes = most_changes
        self._dropped = dropped
        self._logger = logger
        self._news: dict[int, News] = {}
        self._unsure: dict[int, Write] = {}
        self._tokens = 0
        self._order = PutOrder()
        self._n_changes = 0
        self._asked: dict[int, Accepted | Refused | None] = {}
        """Losses that `lose` asks for now, and the answers."""
        self._begun: int | None = None  # the instance of which what was put becomes a Write at this moment
        self.ended = False  # the leases were given up: what is put from now on is other monitors' to say
        self._unheard = Unheard()

    def __len__(self) -> int:
        """How much waits: rows, removals, changes. Any thread."""
        return self._n_changes + len(self._news) + len(self._unsure)

    def owns(self, id: int) -> bool:
        """Any thread."""
        return id in self.own

    def not_own(self, ids: Iterable[int]) -> set[int]:
        """Returns those that are not this monitor's. Any thread."""
        own = self.own
        return {id for id in ids if id not in own}

    def missing(self, ids: Container[int]) -> list[tuple[bytes, Entry]]:
        """Returns what is this monitor's and not among these, though nothing of it waits. Any thread."""
        found = [self.own.get(id) for id in self.own.copy() if id not in ids]
        return [
            (own.name, own.entry)
            for own in found
            if own is not None and own.has_row and own.entry.id not in self._news and own.entry.id not in self._unsure
        ]

    def shard_of(self, id: int) -> int | None:
        """Returns the shard of an instance of this monitor. Any thread."""
        own = self.own.get(id)
        return None if own is None else own.shard

    def waits(self, id: int) -> bool:
        """Returns whether something of an instance was taken and is not answered yet. Any thread."""
        return id in self._news or id == self._begun or id in self._unsure or id in self._unheard

    def _shard_of(self, name: bytes) -> int:
        return self._keys.shard_of(name)

    def add(self, name: bytes, entry: Entry, row: InstanceRow | None = None) -> None:
        """Notes an instance that is this monitor's from now on. row: it has come from another monitor with this one."""
        own = self.own[entry.id] = Own(name, entry, self._keys.shard_of(name), has_row=row is not None)
        if row is not None:
            own.times_ms = (row.first_seen_ms, row.since_ms)
            self._note_lease(own, row)

    def joined(self, id: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the seqs and the times of changes of an instance that may be in no list. Any thread."""
        own = self.own.get(id)
        return ((), ()) if own is None else (own.joined, own.times_ms)

    def drop(self, id: int) -> int:
        """Forgets an instance that is another monitor's from now on, and what waits of it. Returns how many changes."""
        self.own.pop(id, None)
        write = self._unsure.pop(id, None)
        n_changes = 0 if write is None else len(write.changes)
        self._unheard.drop(id)
        return n_changes + self._drop_news(id)

    def _drop_news(self, id: int) -> int:
        news = self._news.pop(id, None)
        if news is None:
            return 0
        self._n_changes -= len(news.changes)
        return len(news.changes)

    def came(self, name: bytes, adopted: Adopted) -> None:
        """Notes an instance that has come from another monitor. The loop has not heard of it: what it puts until then
        is of one that it had before."""
        self._dropped.changes += self.drop(adopted.entry.id)
        self.add(name, adopted.entry, adopted.row)
        self._unheard.add(adopted.entry.id, is_loss=False)

    def has(self, entry: Entry) -> bool:
        """Returns whether this monitor has had this very entry, with its row."""
        own = self.own.get(entry.id)
        return own is not None and own.has_row and own.entry == entry

    # -- gathering

    def take(self, batch: Gathered) -> None:
        if self.ended:
            return
        self._dropped.changes += self._unheard.filter(batch)
        for change in batch.changes:
            self._of(change.id).changes.append(change)
            self._order.add(change.id)
        self._n_changes += len(batch.changes)
        for id, row in batch.instances.items():
            self._of(id).row = row
        for id in batch.removed:
            news = self._of(id)
            news.removed, news.row = True, None
        while self._n_changes > self._most_changes and len(self._order):
            news_of = self._news.get(self._order.pop_oldest())
            if news_of is not None and news_of.changes:
                news_of.changes.popleft()
                self._n_changes -= 1
                self._dropped.changes += 1

    def _of(self, id: int) -> News:
        news = self._news.get(id)
        if news is None:
            news = self._news[id] = News()
        return news

    def beats(self, last_beat_ms: dict[int, int]) -> None:
        """Puts the deadlines of instances that have beaten into their pages."""
        shifts = [self._shift_ms(shard) for shard in range(self._keys.shards)]
        own_of, set_deadline = self.own.get, self._leases.set_deadline
        for id, beat_ms in last_beat_ms.items():
            own = own_of(id)
            if own is not None and own.lease_ms:
                set_deadline(own.entry, max(1, beat_ms + shifts[own.shard] + own.lease_ms * 5 // 4))

    def _shift_ms(self, shard: int) -> int:
        """Returns what is to be added to this monitor's wall clock for that of the shard's primary."""
        return self._now_ms(shard) - self._wall_ms()

    def _note_lease(self, own: Own, row: InstanceRow) -> None:
        lease_ms = self._lease_ms(row)
        if lease_ms > 0:
            self.flush_s = max(LEAST_FLUSH_S, min(self.flush_s, lease_ms / 4000))
        own.lease_ms = 0 if row.state in NO_TIMEOUT else max(0, lease_ms)

    def _beat(self, own: Own, beat_ms: int) -> None:
        """Puts its deadline into its page: a quarter of the timeout later, so long may pass until the next flush."""
        ends_ms = max(1, beat_ms + self._shift_ms(own.shard) + own.lease_ms * 5 // 4) if own.lease_ms else 0
        self._leases.set_deadline(own.entry, ends_ms)

    def last_beat_ms(self, adopted: Adopted) -> int:
        """Returns when an instance has beaten last, by its row and its deadline."""
        own = self.own[adopted.entry.id]
        if not adopted.deadline_ms or not own.lease_ms:
            return adopted.row.last_beat_ms
        by_page_ms = adopted.deadline_ms - own.lease_ms * 5 // 4 - self._shift_ms(own.shard)
        return max(adopted.row.last_beat_ms, min(by_page_ms, self._wall_ms()))

    # -- writing

    def write(self, *, is_last: bool = False) -> Iterator[Outcome]:
        """Writes what waits, and yields what came of each part of it. The caller may `drop` instances in between.
        is_last: nothing more is put. Does not raise Unreachable."""
        is_away = self._leases.is_restoring
        ready = [id for id, news in self._news.items() if (is_last or self._is_ready(news)) and not is_away(id)]
        failed: set[int] = set()
        for some in slices(list(self._unsure), AT_ONCE):
            outcome = Outcome()
            writes = {id: self._unsure[id] for id in some if id in self._unsure}
            self._change([id for id in writes if self._shard_of(writes[id].name) not in failed], outcome, failed)
            yield outcome
        while ready:
            outcome = Outcome()
            begun = [id for id in ready[:AT_ONCE] if self._begin(id, outcome, failed)]
            self._begun = None
            self._change(begun, outcome, failed)
            ready = ready[AT_ONCE:] + [id for id in begun if id in self._news and id not in self._unsure]
            yield outcome
        self._order.tidy(self._news, self._n_changes)

    def lose(self, losses: Sequence[AskedLoss], outcome: Outcome) -> list[Accepted | Refused | Unreachable]:
        """Asks whether these are losses. If the answer is Unreachable, ask again: what was executed all the same is
        among what is `recorded` then. What is put of one that is accepted is dropped until the loop has heard of it."""
        if self.ended:
            return [Refused() for _ in losses]
        self._asked = {}
        ids = [loss.row.id for loss in losses if loss.stands()]
        first = [id for id in ids if id in self._news and self._is_ready(self._news[id])]
        begun = [id for id in first if self._begin(id, outcome, set())]
        self._begun = None
        self._change(begun, outcome, set())
        asked: list[int] = []
        answers: dict[int, Accepted | Refused | Unreachable] = {}
        for at, (row, change, deadline_ms, stands) in enumerate(losses):
            own = self.own.get(row.id)
            if own is None:
                answers[at] = Refused()
            elif not stands():
                answers[at] = Refused(early=True)
            elif self._leases.is_restoring(row.id):
                answers[at] = Unreachable("Redis was emptied, and gets it again", refused=True)
            elif row.id in self._unheard:
                answers[at] = Unreachable("something of it is still to be heard", refused=True)
            elif row.id in self._unsure or row.id in self._news:
                answers[at] = Unreachable("an earlier change of it waits for Redis", refused=True)
            else:
                ends_ms = max(1, deadline_ms + self._shift_ms(own.shard))
                self._leases.set_deadline(own.entry, ends_ms)
                self._unsure[row.id] = self._new(own, row, (change,), ends_ms)
                self._asked[row.id] = None
                asked.append(at)
        for some in slices([losses[at].row.id for at in asked], AT_ONCE):
            self._change(some, outcome, set())
        for at in asked:
            found = self._asked.pop(losses[at].row.id)
            answers[at] = Unreachable("Redis has not answered") if found is None else found
        return [answers[at] for at in range(len(losses))]

    def restore(self, rows: Mapping[int, InstanceRow | None], outcome: Outcome) -> int:
        """Writes instances again that Redis has lost. None: it was reserved, or waits to be removed. What the loop has
        not heard of yet waits. Returns how many are written."""
        wanted = [(id, row) for id, row in rows.items() if id not in self._unheard and id not in self._asked]
        n = 0
        for (id, _), answer in zip(wanted, self._leases.restore(wanted), strict=True):
            own = self.own.get(id)
            n += answer is True
            if isinstance(answer, Refused) and own is not None:
                outcome.refused.append(self.refuse(id, own.name))
        return n

    def flush_pages(self, outcome: Outcome) -> None:
        """Writes the pages. Raises Unreachable."""
        for name, entry in self._leases.flush():
            outcome.refused.append(self.refuse(entry.id, name, None))

    def _is_ready(self, news: News) -> bool:
        """A change and its row are put one after the other, and belong into one Write: the change waits for the row."""
        return news.row is not None or news.removed or time.monotonic() > news.put_s + ROW_S

    def _begin(self, id: int, outcome: Outcome, failed: set[int]) -> bool:
        """Makes what was put of an instance a Write. Returns False if it has to wait, or cannot be."""
        own = self.own.get(id)
        if own is not None and (id in self._unsure or own.shard in failed):
            return False
        self._begun = id
        news = self._news.pop(id, None)
        if news is None:
            return False
        self._n_changes -= len(news.changes)
        if own is None:
            put = news.row or (news.changes[-1] if news.changes else None)
            if put is not None:  # it was moved away meanwhile, or was never reserved
                outcome.refused.append(WriteRefusal(id, put.service, put.instance_id, None, len(news.changes)))
            return False
        if news.row is None and own.has_row and not news.removed:
            self._fault(id, f"{len(news.changes)} changes without the row of the instance")
            return False
        changes = list(news.changes)
        if len(changes) > MOST_IN_WRITE:  # one call may not hold up Redis
            if news.removed:
                self._dropped.changes += len(changes) - MOST_IN_WRITE
                changes = changes[-MOST_IN_WRITE:]
            else:
                news.changes = deque(changes[MOST_IN_WRITE:])
                self._n_changes += len(news.changes)
                self._news[id] = news
                changes = changes[:MOST_IN_WRITE]
        if news.row is not None:
            self._note_lease(own, news.row)
            self._beat(own, news.row.last_beat_ms)
        self._unsure[id] = self._new(own, news.row, tuple(changes))
        return True

    def _new(
        self, own: Own, row: InstanceRow | None, changes: tuple[Change, ...], deadline_ms: int | None = None
    ) -> Write:
        self._tokens += 1
        return Write(own.name, own.entry, row, changes, deadline_ms, self._tokens)

    def _change(self, ids: list[int], outcome: Outcome, failed: set[int]) -> None:
        writes = [self._unsure[id] for id in ids]
        if not writes:
            return
        try:
            answers = self._leases.change(writes)
        except Unreachable as error:
            answers = [error] * len(writes)
        except BAD_VALUE as error:
            if len(writes) > 1:
                for id in ids:
                    self._change([id], outcome, failed)
            else:
                del self._unsure[ids[0]]
                self._fault(ids[0], str(error))
            return
        for id, write, answer in zip(ids, writes, answers, strict=True):
            if isinstance(answer, Unreachable):
                outcome.error = answer
                failed.add(self._shard_of(write.name))
                if write.loss_deadline_ms is not None and answer.refused:
                    del self._unsure[id]  # certainly not done: it may be asked again
                continue
            del self._unsure[id]
            if id in self._asked:
                self._asked[id] = answer
            if isinstance(answer, Accepted):
                self._accepted(id, write, answer, outcome)
            elif not answer.early:
                outcome.refused.append(self.refuse(id, write.name, None, len(write.changes)))

    def _accepted(self, id: int, write: Write, answer: Accepted, outcome: Outcome) -> None:
        own = self.own[id]
        for change, seq in zip(write.changes, answer.seqs, strict=True):
            outcome.accepted.append(replace(change, seq=seq))
            own.joined += (seq,)
            if is_news(change):
                outcome.seqs.setdefault(id, []).extend(own.joined)
                own.joined = ()
        if write.row is not None:
            own.has_row = True
            if write.loss_deadline_ms is not None:
                self._lost(id, write.row, outcome)
            return
        del self.own[id]
        outcome.seqs.pop(id, None)
        outcome.removed.append(id)

    def _lost(self, id: int, row: InstanceRow, outcome: Outcome) -> None:
        """Drops what was put after the loss was asked for: the instance was LOST by then."""
        if id not in self._asked:
            outcome.recorded.append(Recorded(row, outcome.accepted[-1]))
        news = self._news.get(id)
        n_dropped = self._drop_news(id)
        if news is None or not news.removed:
            self._unheard.add(id, is_loss=True)
        elif news.changes:  # the loop hears of it no more
            news.changes = deque((replace(news.changes[-1], old=State.LOST),))
            self._news[id] = news
            self._n_changes += 1
            n_dropped -= 1
        self._dropped.changes += n_dropped

    def refuse(self, id: int, name: bytes, owner: str | None = None, n_changes: int = 0) -> WriteRefusal:
        """Forgets an instance that is another monitor's from now on."""
        n_changes += self.drop(id)
        return WriteRefusal(id, *parts_of(name), owner, n_changes)

    def _fault(self, id: int, why: str) -> None:
        self.faults += 1
        if self.faults & (self.faults - 1) == 0:  # the 1st, 2nd, 4th, 8th: many do not flood the log
            self._logger.error("skipped what was put of instance %d, which can never be stored: %s", id, why)
