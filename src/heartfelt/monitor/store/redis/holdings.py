# SPDX-License-Identifier: MIT
"""Keeps what this monitor holds: its epoch and pages in each shard, and whether an answer is missing.

A command whose answer got lost may have been executed, or may be on its way still. So the shard is in doubt then, and
nothing else is sent to it until `renew` has begun a new epoch: the value of the lease, which each script compares. What
has not been executed by then never will be, and what Redis has is the truth (recovery.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from heartfelt.monitor.store.redis.answers import Accepted, LeaseCounts, Refused
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, PAGE_BYTES, SLOTS, Entry, Keys
from heartfelt.monitor.store.redis.link import Command, Link, Script, Unreachable
from heartfelt.monitor.store.redis.pages import EMPTY, Page, Pages, Place, deadline_bytes, new_mark
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.shared_meta import SharedMeta

PIPELINE = 128
"""The most commands that are sent at once."""
CLAIMS = 64
"""The most pages that are made in a shard at once."""
COMING_S = 1.0
"""How long a living monitor that has reserved a name has to write its row, before another one takes the name."""
MOST_COMING = 10_000
LOG_MOST, LOG_PER_S = 3, 60.0
CLAIM_PAGE = load("claim_page")
_logger = logging.getLogger("heartfelt.monitor.store.redis")


class ScriptCall(NamedTuple):
    """A call of a script whose first key is the lease and whose first argument is the epoch."""

    shard: Shard
    script: Script
    keys: Sequence[str]
    args: Sequence[Any]


class Shard:
    def __init__(self, keys: Keys, number: int, me: str) -> None:
        self.number = number
        self.lease, self.moved, self.done = (keys.shard(number, kind, me) for kind in ("lease", "moved", "done"))
        self.slot, self.own, self.next, self.ev = (keys.shard(number, kind) for kind in ("slot", "own", "next", "ev"))
        self.pages = Pages()
        self.epoch = 0
        self.ready = False
        """It has a lease, as far as it knows."""
        self.started = False
        """It has had one."""
        self.doubt = False
        """An answer is missing."""
        self.audit = False
        """Something in Redis is not what was expected."""
        self.calls = 0
        self.arrived: tuple[int, bytes] = (0, b"")
        """How many notices the last renewal returned, and the last of them."""
        self.was_full = False
        """There were more notices than were kept."""
        self.renewed_s = 0.0
        self.came: dict[int, Entry] = {}
        """Instances, by id, that came from other monitors since the last renewal. Where they were here before, if they
        were, is of no interest any more: the caller has replaced it."""
        self.unanswered: list[Any] = []
        """Batches of changes whose answers are missing."""
        self.answers: dict[int, Accepted | Refused] = {}
        """Answers, by token, that came after Unreachable had been returned."""
        self.born: bytes | None = None
        """The mark of the shard's data: another one if Redis was emptied."""
        self.last_seq = 0
        """The last `next` that a change of this monitor had."""
        self.last_call: tuple[int, float] = (0, float("-inf"))
        """The number of the last CHANGE that was answered, and when."""
        self.is_emptied = False
        """Redis has lost what is here, and gets it again (restoring.py):"""
        self.has_stale = False
        """Redis may have instances again that were removed."""
        self.lost_pages: list[Page] = []
        """pages,"""
        self.restoring: dict[int, Entry] = {}
        """and instances, by id."""


class Holdings:
    """Belongs to the writer's thread, but for `set_deadline`."""

    def __init__(self, link: Link, keys: Keys, me: str, *, cap: int, clock: Callable[[], float]) -> None:
        self.link, self.keys, self.me, self.cap, self.clock = link, keys, me, cap, clock
        self.shards = [Shard(keys, number, me) for number in range(keys.shards)]
        self.counts = LeaseCounts()
        self.shared = SharedMeta()
        self.relocated: dict[int, Entry] = {}
        """Entries, by id, of instances that were moved within our own pages."""
        self._coming: dict[bytes, tuple[Entry, float]] = {}
        self._lock = threading.Lock()
        self._dirty: list[Page] = []
        self._dropped: list[tuple[bytes, Entry]] = []
        self._log_from_s, self._lines = float("-inf"), 0

    # -- deadlines: any thread
    def set_deadline(self, entry: Entry, ms: int) -> bool:
        with self._lock:
            page = self._page_of(entry)
            if page is None:
                found = self.relocated.get(entry.id)
                page = found and self._page_of(found)
                if found is None or page is None:
                    return False
                entry = found
            page.write(entry.index, deadline_bytes(ms))
            if not page.dirty:
                page.dirty = True
                self._dirty.append(page)
            return True

    def _page_of(self, entry: Entry) -> Page | None:
        number = entry.id % MOST_SHARDS
        page = self.shards[number].pages.all.get(entry.page) if number < len(self.shards) else None
        return page if page is not None and entry.index < SLOTS and page.holds(entry) else None

    def is_held(self, entry: Entry) -> bool:
        """Returns whether an instance is here, at this entry or where it was moved to within our own pages."""
        with self._lock:
            return self.find(entry) is not None

    def mark_dirty(self, page: Page) -> None:
        with self._lock:
            if not page.dirty:
                page.dirty = True
                self._dirty.append(page)

    def take_dirty(self) -> list[Page]:
        with self._lock:
            dirty, self._dirty = self._dirty, []
            for page in dirty:
                page.dirty = False
            return dirty

    # -- entries: only the writer's thread changes them
    def is_coming(self, name: bytes, entry: Entry) -> bool:
        """Tells whether the row of a name that a living monitor has reserved may still come: it has joined there, and
        is not written yet."""
        now_s = self.clock()
        first, seen_s = self._coming.get(name, (None, 0.0))
        if first != entry:
            if len(self._coming) >= MOST_COMING:
                del self._coming[next(iter(self._coming))]
            self._coming[name] = (entry, now_s)
            return True
        if now_s - seen_s < COMING_S:
            return True
        del self._coming[name]
        return False

    def has_come(self, name: bytes) -> None:
        self._coming.pop(name, None)

    def find(self, entry: Entry) -> tuple[Page, Entry] | None:
        """Returns where an instance is now, if it is ours."""
        page = self._page_of(entry)
        if page is not None:
            return page, entry
        found = self.relocated.get(entry.id)
        page = found and self._page_of(found)
        return None if found is None or page is None else (page, found)

    def known(self, shard: Shard, name: bytes, entry: Entry) -> Page | None:
        """Returns the page of an entry, if the name has it here."""
        page = shard.pages.all.get(entry.page)
        return page if page is not None and page.holds(entry) and page.names[entry.index] == name else None

    def take(self, shard: Shard, names: list[bytes], but: Page | None = None) -> list[Place]:
        with self._lock:
            return shard.pages.take(names, but)

    def put(self, page: Page, name: bytes, entry: Entry, *, row: bool, deadline: bytes | None = None) -> None:
        with self._lock:
            page.put(entry.index, name, entry, row=row)
            if deadline is not None:
                page.write(entry.index, deadline)

    def free(self, shard: Shard, page: Page, index: int) -> None:
        with self._lock:
            entry = page.entries[index]
            if entry is not None and self.relocated.get(entry.id) == entry:
                del self.relocated[entry.id]
            shard.pages.give_back(page, index)

    def relocate(self, page: Page, old: Entry, to: Page, new: Entry) -> None:
        """Records that an instance was moved to a pending slot of another page of ours. Keeps its newest deadline."""
        with self._lock:
            name = page.names[old.index]
            assert name is not None
            to.put(new.index, name, new, row=True)
            to.write(new.index, page.slot(old.index))
            self.shards[to.shard].pages.give_back(page, old.index)
            self.relocated[new.id] = new
        self.mark_dirty(to)

    def add_page(self, shard: Shard, page: Page) -> None:
        former = shard.pages.all.get(page.number)
        if former is not None:  # it was adopted by another monitor and has come back
            self.drop_page(shard, former, page)
            return
        with self._lock:
            shard.pages.add(page)

    def drop_page(self, shard: Shard, page: Page, successor: Page | None = None) -> None:
        """Drops a page that is not ours any more, and its instances. successor: takes its place."""
        with self._lock:
            shard.pages.drop(page)
            if successor is not None:
                shard.pages.add(successor)
            instances = list(page.instances())
            for _, entry in instances:
                if self.relocated.get(entry.id) == entry:
                    del self.relocated[entry.id]
        instances = [one for one in instances if self.is_news(shard, one[1])]
        self._dropped += instances
        self.counts.dropped_pages += 1
        self.counts.dropped += len(instances)

    def replace_page(self, shard: Shard, page: Page, made: Page) -> None:
        """Puts all of a page into a new one, where each instance has a new entry."""
        with self._lock:
            made.buffer[:] = page.buffer
            made.names, made.has_row, made.free = page.names, page.has_row, page.free
            for index, entry in enumerate(page.entries):
                if entry is not None:
                    new = Entry(made.number, index, (entry.generation + 1) % 65536, entry.id)
                    made.entries[index] = self.relocated[entry.id] = new
                    if entry.id in shard.restoring:
                        shard.restoring[entry.id] = new
            shard.pages.drop(page)
            shard.pages.add(made)
        self.mark_dirty(made)

    def is_news(self, shard: Shard, entry: Entry) -> bool:
        """Tells whether the caller must be told that an entry, which was freed, is gone."""
        return shard.came.get(entry.id, entry) == entry and self._page_of(entry) is None

    def end_timeout(self, page: Page, index: int, deadline: bytes) -> None:
        """Sets a deadline to 0, unless it has been changed meanwhile."""
        with self._lock:
            if page.slot(index) == deadline:
                page.write(index, EMPTY)

    # -- pages
    def flush(self, pages: Sequence[Page]) -> int:
        """Writes pages, which are not dirty any more. Those that are gone are dropped: see `dropped`. Returns how many
        could not be written; they are dirty again."""
        n_failed = 0
        for start in range(0, len(pages), PIPELINE):
            part = pages[start : start + PIPELINE]
            with self._lock:
                commands = [Command(page.shard, ("SET", page.key, bytes(page.buffer), "XX")) for page in part]
            for page, reply in zip(part, self.ask(commands), strict=True):
                shard = self.shards[page.shard]
                if isinstance(reply, Unreachable) or (reply is None and self._is_lost(shard, page)):
                    n_failed += 1
                    self.mark_dirty(page)
                elif reply is None and shard.pages.all.get(page.number) is page:
                    self.drop_page(shard, page)
        return n_failed

    def _is_lost(self, shard: Shard, page: Page) -> bool:
        """Tells whether nobody has adopted a page that is not there: Redis was emptied, as the next renewal finds."""
        if shard.pages.all.get(page.number) is not page:
            return False
        (mark,) = self.ask([Command(page.shard, ("HGET", shard.own, page.number))])
        if isinstance(mark, Unreachable) or mark in (None, page.mark):
            shard.audit = True
            return True
        return False

    @property
    def has_dropped(self) -> bool:
        return bool(self._dropped)

    def take_dropped(self) -> list[tuple[bytes, Entry]]:
        """Returns the instances of pages that were found gone since the last call."""
        dropped, self._dropped = self._dropped, []
        return dropped

    # -- commands
    def run(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Calls scripts, and returns their replies; the reply of one that failed is Unreachable."""
        replies: list[Any] = []
        for start in range(0, len(calls), PIPELINE):
            part = calls[start : start + PIPELINE]
            sent = [call for call in part if call.shard.ready and not call.shard.doubt]
            commands = [
                Command(call.shard.number, (call.script, call.shard.epoch, *call.args), (call.shard.lease, *call.keys))
                for call in sent
            ]
            found = iter([self._judge(call, reply) for call, reply in zip(sent, self.ask(commands), strict=True)])
            were_sent = set(map(id, sent))
            replies += [next(found) if id(call) in were_sent else not_ready(call.shard) for call in part]
        return replies

    def _judge(self, call: ScriptCall, reply: Any) -> Any:
        if isinstance(reply, Unreachable):
            if not reply.refused:
                self.in_doubt(call.shard)
        elif reply == b"lease":
            call.shard.ready = False
            return not_ready(call.shard)
        elif reply == b"page":
            call.shard.audit = True
        return reply

    def in_doubt(self, shard: Shard) -> None:
        if not shard.doubt:
            shard.doubt = True
            self.counts.doubts += 1

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Executes commands. The reply of one that failed is Unreachable."""
        if not commands:
            return []
        try:
            replies = self.link.execute(commands)
        except Unreachable as error:
            return [error] * len(commands)
        for n, reply in enumerate(replies):
            if isinstance(reply, Exception) and not isinstance(reply, Unreachable):
                self.log("shard %d: %s", commands[n].shard, reply)
                replies[n] = Unreachable(f"{type(reply).__name__}: {reply}")
        return replies

    def make_room(self, wanted: Iterable[tuple[Shard, int]]) -> dict[int, Unreachable]:
        """Makes pages, until each shard has that many free slots. Returns the shards in which that failed."""
        needs = []
        for shard, n in wanted:
            n_pages = min(CLAIMS, -(-(n - shard.pages.n_free) // SLOTS))
            if n_pages > 0 and shard.ready and not shard.doubt:
                needs.append((shard, n_pages))
        failed: dict[int, Unreachable] = {}
        calls: list[ScriptCall] = []
        made: list[Page] = []
        increments = [Command(shard.number, ("HINCRBY", shard.next, "page", n)) for shard, n in needs]
        for (shard, n_pages), reply in zip(needs, self.ask(increments), strict=True):
            if isinstance(reply, Unreachable):
                failed[shard.number] = Unreachable(str(reply), refused=True)  # some numbers are left out then
                continue
            for number in range(reply - n_pages + 1, reply + 1):
                page = Page(self.keys, shard.number, number, new_mark(self.me))
                made.append(page)
                calls.append(ScriptCall(shard, CLAIM_PAGE, (shard.own, page.key), (number, page.mark, PAGE_BYTES)))
        for call, page, reply in zip(calls, made, self.run(calls), strict=True):
            if isinstance(reply, Unreachable):
                failed[call.shard.number] = reply
            elif reply == b"done":
                self.add_page(call.shard, page)
        return failed

    def log(self, text: str, *args: object) -> None:
        """Logs an error; at most a few in a minute."""
        now_s = self.clock()
        if now_s - self._log_from_s >= LOG_PER_S:
            self._log_from_s, self._lines = now_s, 0
        self._lines += 1
        if self._lines <= LOG_MOST:
            _logger.error(text, *args)

    def unreadable(self, shard: int, page: int, index: int, error: Exception) -> None:
        self.counts.unreadable += 1
        self.log("shard %d: row %d of page %d cannot be read, and is left out: %s", shard, index, page, error)


def not_ready(shard: Shard) -> Unreachable:
    """Says why nothing is done in a shard now."""
    why = "an answer is missing" if shard.doubt else "no page could be made" if shard.ready else "the lease has ended"
    return Unreachable(f"shard {shard.number}: {why}", refused=True)
