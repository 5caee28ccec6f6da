# SPDX-License-Identifier: MIT
"""Gets, changes and keeps what this monitor owns in Redis: pages of deadlines, entries, rows. The design is in
monitor/cluster/README.md."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from heartfelt.monitor.model import InstanceRow
from heartfelt.monitor.store.redis import adopting, changing, joining, restoring
from heartfelt.monitor.store.redis.answers import (
    Accepted,
    Adopted,
    LeaseCounts,
    Orphan,
    Owned,
    Refused,
    Renewal,
    Write,
)
from heartfelt.monitor.store.redis.holdings import Holdings, Shard
from heartfelt.monitor.store.redis.keys import Entry, Keys
from heartfelt.monitor.store.redis.link import FLEET, Command, Link, Unreachable
from heartfelt.monitor.store.redis.looking import Foreigner, look
from heartfelt.monitor.store.redis.recovery import Audit
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.tidying import Tidier

__all__ = ["Accepted", "Adopted", "LeaseCounts", "Leases", "Orphan", "Owned", "Refused", "Renewal", "Write"]

EVENTS_KEPT = 100_000
"""About as many changes of a shard are kept in its stream."""
KNOWN_S = changing.DONE_MS / 2000
"""Time for which Redis knows a call of CHANGE, unless it has lost writes."""
RENEW = load("renew")


class Leases:
    """Belongs to the writer's thread, but for `set_deadline`. Every method blocks.

    Nothing is sent to a shard whose lease has ended, or where an answer is missing, until `renew` has found out what is
    true there: call it at once if something is Unreachable, besides every `renew_s`. `reserve`, `move` and
    `change` never raise: what a shard that cannot be reached was asked is answered by Unreachable. `refused`: it was
    certainly not done.
    """

    def __init__(
        self, link: Link, keys: Keys, monitor_id: str, *, lease_ms: int = 5000, about: bytes | str = b"{}",
        events_kept: int = EVENTS_KEPT, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """monitor_id: new at each start. about: what `mons` says of this monitor, unless it has an entry."""
        self.monitor_id = monitor_id
        self._lease_ms, self._about = lease_ms, about
        self._holdings = Holdings(link, keys, monitor_id, cap=events_kept, clock=clock)
        self._sent_s = 0.0
        self._behind: set[int] = set()
        """Shards that could not be reached by the last renewal."""
        self._orphans = adopting.Orphans(self._holdings, lease_ms / 1000)
        self._tidier = Tidier(self._holdings)

    @property
    def counts(self) -> LeaseCounts:
        return self._holdings.counts

    @property
    def n_pages(self) -> int:
        return sum(len(shard.pages) for shard in self._holdings.shards)

    @property
    def is_emptied(self) -> bool:
        """Redis has lost what this monitor has, and does not have all of it again. Any thread."""
        return any(shard.is_emptied for shard in self._holdings.shards)

    @property
    def n_restoring(self) -> int:
        """How many instances wait for `restore`. Any thread."""
        return sum(len(shard.restoring) for shard in self._holdings.shards)

    def start(self) -> list[Adopted]:
        """Registers this monitor, and adopts what dead ones owned. What belongs to one that was killed within the last
        `lease_ms` is not adopted yet, but found by `orphans` when its lease has ended. Raises Unreachable."""
        holdings = self._holdings
        entry = ("HSETNX", holdings.keys.fleet("mons"), self.monitor_id, self._about)
        (reply,) = holdings.ask([Command(FLEET, entry)])
        if isinstance(reply, Unreachable):
            raise reply
        self.renew()
        return self.adopt(self.orphans())

    def stop(self) -> None:
        """Writes what is dirty, and gives up the leases at once, so that others adopt. What cannot be reached is left
        to the end of its lease."""
        holdings = self._holdings
        holdings.flush([page for page in holdings.take_dirty() if _can_write(holdings.shards[page.shard])])
        commands = [Command(shard.number, ("DEL", shard.lease, shard.moved, shard.done)) for shard in holdings.shards]
        holdings.ask([*commands, Command(FLEET, ("HDEL", holdings.keys.fleet("mons"), self.monitor_id))])
        for shard in holdings.shards:
            shard.ready = False

    @property
    def renew_s(self) -> float:
        """How often `renew` is to be called: so often that a stall of a few hundred ms does not look like an outage."""
        return self._lease_ms / 8000

    @property
    def must_watch(self) -> bool:
        """Whether `watch` may find something: an instance is ours, or a shard was not renewed."""
        shards = self._holdings.shards
        return self._tidier.has_more or any(self._is_behind(shard) or shard.pages.n_used for shard in shards)

    def _is_behind(self, shard: Shard) -> bool:
        return shard.number in self._behind or shard.audit or shard.is_emptied or not _can_write(shard)

    def watch(self) -> Renewal | None:
        """Renews the leases of the shards of which something was moved away, and of those that need it for another
        reason. It costs little if there are none: None. Between two calls of `renew`. Raises as `renew`."""
        shards, behind, ours = self._holdings.shards, set(), []
        for shard in shards:
            if self._is_behind(shard):
                behind.add(shard.number)
            elif shard.pages.n_used:
                ours.append(shard)
        asked = [Command(shard.number, ("EXISTS", shard.lease, shard.lease, shard.moved)) for shard in ours]
        for shard, reply in zip(ours, self._holdings.ask(asked), strict=True):
            if reply != 2:  # the lease counts twice, and notices once
                behind.add(shard.number)
        self._tidier.go_on()
        if not behind and not self._holdings.has_dropped:
            return None
        return self._renew([shard for shard in shards if shard.number in behind])

    def renew(self) -> Renewal:
        """Renews the leases, learns what was moved away, and resolves doubts. Raises Unreachable if no shard could be
        reached."""
        renewal = self._renew(self._holdings.shards)
        self._sent_s = renewal.asked_s
        self._tidier.run()
        return renewal

    def _renew(self, shards: Sequence[Shard]) -> Renewal:
        holdings, now_s = self._holdings, self._holdings.clock()
        for shard in shards:
            if shard.doubt or not shard.ready:
                shard.epoch += 1
        replies = self._send(shards, joining.MOVED_MOST + 1)
        moved: list[tuple[bytes, Entry]] = []
        gone: list[int] = []
        unreachable: list[int] = []
        to_audit: list[Shard] = []
        emptied = 0
        for shard, reply in zip(shards, replies, strict=True):
            if isinstance(reply, Unreachable) or reply == b"stale":
                unreachable.append(shard.number)
                if not (isinstance(reply, Unreachable) and reply.refused):
                    holdings.in_doubt(shard)
                continue
            had, _, notices, born, is_lost = reply
            if is_lost or (born and shard.born not in (None, born)):
                emptied += self._emptied(shard)
            shard.born = born or shard.born
            was_full, shard.was_full = shard.was_full, notices[-1:] == [b""]  # until it is emptied, there are none
            shard.arrived = len(notices), b"".join(notices[-1:])
            is_late = now_s - shard.renewed_s > self._lease_ms / 1000  # it may have ended, and been renewed by a retry
            if shard.doubt or shard.audit or was_full or shard.was_full or is_late or not had or not shard.ready:
                to_audit.append(shard)
            shard.renewed_s = now_s
            if not had and shard.started:
                gone.append(shard.number)
                holdings.counts.ended += 1
            shard.ready = shard.started = True
            shard.doubt = False
            moved += self._moved_away(shard, notices)
        self._behind = self._behind.difference(shard.number for shard in shards) | set(unreachable)
        if len(unreachable) == len(holdings.shards):
            raise next((reply for reply in replies if isinstance(reply, Unreachable)), Unreachable("a later epoch"))
        restoring.restore_pages(holdings, [shard for shard in holdings.shards if shard.is_emptied])
        for shard in to_audit:
            shard.audit = shard.audit or shard.is_emptied
        if to_audit := [shard for shard in to_audit if not shard.is_emptied]:
            changing.repeat(holdings, to_audit)
            moved += Audit(holdings).run(to_audit)
            if stale := [shard for shard in to_audit if shard.has_stale and not shard.doubt]:
                restoring.remove_stale(holdings, stale)
        renewed = [shard for shard in shards if shard.number not in unreachable]
        for shard in renewed:
            if not shard.doubt:
                shard.came.clear()
        return Renewal(
            moved, gone, holdings.take_dropped(), unreachable, now_s, emptied, [shard.number for shard in renewed]
        )

    def _emptied(self, shard: Shard) -> int:
        """Notes that Redis has lost what was in a shard. Returns how many instances are to be written again."""
        shard.is_emptied = True
        shard.last_call = 0, float("-inf")
        found = restoring.begin(shard)
        self._holdings.counts.emptied += found
        return found

    def _last_calls(self, shard: Shard) -> str:
        """Returns the last calls of CHANGE, of which Redis must know one."""
        number, at_s = shard.last_call
        if self._holdings.clock() - at_s >= KNOWN_S:
            return ""
        return ",".join(map(str, (number, *(batch.number for batch in shard.unanswered))))

    def _send(self, shards: Sequence[Shard], most: int) -> list[Any]:
        mark = secrets.token_hex(8)
        return self._holdings.ask(
            [
                Command(
                    shard.number,
                    (RENEW, shard.epoch, self._lease_ms, most, *shard.arrived, mark, self._last_calls(shard)),
                    (shard.lease, shard.moved, shard.next, shard.done),
                )
                for shard in shards
            ]
        )

    def _stay(self) -> None:
        """Renews the leases in the middle of a long take-over, if it is time. The rest is left to `renew`."""
        holdings, now_s = self._holdings, self._holdings.clock()
        if now_s - self._sent_s < self._lease_ms / 4000:
            return
        self._sent_s = now_s
        shards = [shard for shard in holdings.shards if _can_write(shard)]
        for shard, reply in zip(shards, self._send(shards, 1), strict=True):
            if isinstance(reply, Unreachable):
                if not reply.refused:
                    holdings.in_doubt(shard)
            elif reply == b"stale" or not reply[0] or reply[4] or reply[3] not in (b"", shard.born):
                shard.audit = True  # `renew` finds the same again
            else:
                shard.renewed_s = now_s

    def _moved_away(self, shard: Shard, notices: Sequence[bytes]) -> list[tuple[bytes, Entry]]:
        moved: list[tuple[bytes, Entry]] = []
        for notice in filter(None, notices):
            found = self._holdings.find(Entry.unpack(notice))
            if found is not None:
                page, now = found
                name = page.names[now.index] or b""
                self._holdings.free(shard, page, now.index)
                if self._holdings.is_news(shard, now):
                    moved.append((name, now))
        return moved

    def reserve(self, names: Sequence[bytes]) -> list[Entry | Owned | Unreachable]:
        """Returns whose each name is. Entry: it is ours now, and has no row yet."""
        found = joining.reserve(self._holdings, names)
        return [found[name] for name in names]

    def find(self, names: Sequence[bytes]) -> list[Entry | Owned | Unreachable | None]:
        """Returns whose each name is, and makes none ours. Entry: it is ours. None: no monitor has it."""
        found = joining.find(self._holdings, names)
        return [found[name] for name in names]

    def move(self, wanted: Sequence[tuple[bytes, Owned, bool]]) -> list[Adopted | Entry | Refused | Unreachable]:
        """Takes instances over from monitors without a lease, and, if the third value is True, from those that agreed.
        Entry: it is ours, but has no row that can be read, as if it had been reserved. If it is ours already it is
        returned again: repeat what was Unreachable."""
        found = joining.move(self._holdings, wanted)
        return [found[name] for name, _, _ in wanted]

    def look(self, names: Sequence[bytes]) -> list[Foreigner | Unreachable | None]:
        """Returns instances of other monitors, with their deadlines. None: it is not another's, or cannot be read."""
        return look(self._holdings, names)

    def still_has(self, entry: Entry) -> bool:
        """Returns whether an entry that was moved away is what this monitor has of its instance: it has not come back
        meanwhile. Any thread."""
        holdings = self._holdings
        shard = holdings.shards[Keys.shard_of_id(entry.id) % holdings.keys.shards]
        return holdings.is_held(entry) and shard.came.get(entry.id, entry) == entry

    def change(self, writes: Sequence[Write]) -> list[Accepted | Refused | Unreachable]:
        """Asks for changes, and writes rows and deadlines with them. See `Write.token`."""
        return changing.change(self._holdings, writes)

    def to_restore(self, most: int) -> list[int]:
        """Returns ids of instances that Redis has lost, and that `restore` is to write again. Any thread."""
        found: list[int] = []
        for shard in self._holdings.shards:
            if shard.restoring and shard.ready and not shard.doubt and len(found) < most:
                found += itertools.islice(shard.restoring.copy(), most - len(found))
        return found

    def is_restoring(self, id: int) -> bool:
        """Returns whether an instance waits for `restore`. Any thread."""
        holdings = self._holdings
        return id in holdings.shards[Keys.shard_of_id(id) % holdings.keys.shards].restoring

    def restore(self, wanted: Sequence[tuple[int, InstanceRow | None]]) -> list[bool | Refused | Unreachable]:
        """Writes instances again that Redis has lost. Without a row they are as those that are reserved. Refused: it is
        another monitor's."""
        return restoring.restore(self._holdings, wanted)

    def set_deadline(self, entry: Entry, ms: int) -> bool:
        """Sets a deadline, which the next flush writes; 0: no timeout runs. O(1), any thread. Returns False if the
        instance is not ours any more."""
        return self._holdings.set_deadline(entry, ms)

    def flush(self) -> list[tuple[bytes, Entry]]:
        """Writes dirty pages. Returns the instances of pages that are gone. Raises Unreachable if none could be
        written; what could not is dirty still."""
        holdings, open_pages, n_held = self._holdings, [], 0
        for page in holdings.take_dirty():
            if _can_write(holdings.shards[page.shard]):
                open_pages.append(page)
            else:
                n_held += 1
                holdings.mark_dirty(page)
        n_failed = n_held + holdings.flush(open_pages)
        if n_failed and n_failed == len(open_pages) + n_held:
            raise Unreachable(f"{n_failed} pages could not be written")
        return holdings.take_dropped()

    def orphans(self) -> list[Orphan]:
        """Returns pages that are ours to adopt now: of monitors without a lease, those that fall to this one by their
        hash, and those that nobody has adopted within a lease."""
        return self._orphans.find()

    @property
    def owners(self) -> frozenset[str]:
        """The monitors that owned pages when `orphans` read them last, which is `reads[1]`. Any thread."""
        return self._orphans.owners

    @property
    def reads(self) -> tuple[int, int]:
        """How often `orphans` has begun to read who owns pages, and which of these times `owners` is of. Any thread."""
        return self._orphans.begun, self._orphans.read

    def read_owners(self) -> None:
        """Has `orphans` read who owns pages the next time that it looks. Any thread."""
        self._orphans.must_read = True

    def adopt(self, orphans: Sequence[Orphan]) -> list[Adopted]:
        """Takes pages over, and returns their instances. A page that another monitor was faster to adopt is left out;
        one that cannot be reached remains an orphan."""
        return adopting.adopt(self._holdings, orphans, self._stay)


def _can_write(shard: Shard) -> bool:
    return shard.ready and not shard.doubt
