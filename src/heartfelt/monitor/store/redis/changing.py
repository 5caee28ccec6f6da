# SPDX-License-Identifier: MIT
"""Asks Redis to accept changes. Each is done once, also if the answer got lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from heartfelt.monitor.store.redis.answers import Accepted, Refused, Write
from heartfelt.monitor.store.redis.holdings import Holdings, ScriptCall, Shard
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, SEQ_EPOCH_MS, SEQ_PER_MS, Entry, field_of
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.packing import pack_change, pack_row, pack_words
from heartfelt.monitor.store.redis.pages import EMPTY, Page, deadline_bytes
from heartfelt.monitor.store.redis.scripts import load

ITEMS_PER_CALL = 128
BYTES_PER_CALL = 256 << 10
DONE_MS = 3_600_000
"""How long Redis remembers what it answered."""
ANSWERS_KEPT = 10_000
FIRST, LATER = 1, 0
CHANGE = load("change")

Answer = Accepted | Refused | Unreachable


class Item(NamedTuple):
    write: Write
    page: Page
    entry: Entry


class ChangeCall(NamedTuple):
    """One call of CHANGE, with what is needed to repeat it."""

    shard: Shard
    number: int
    items: Sequence[Item]
    keys: Sequence[str]
    pages: bytes
    packed: bytes

    def call(self, cap: int, mode: int) -> ScriptCall:
        args = (self.number, mode, DONE_MS, cap, SEQ_EPOCH_MS, SEQ_PER_MS, self.pages, self.packed)
        return ScriptCall(self.shard, CHANGE, self.keys, args)


def change(holdings: Holdings, writes: Sequence[Write]) -> list[Answer]:
    found: list[Answer | None] = [None] * len(writes)
    by_shard: dict[int, list[int]] = {}
    items: dict[int, Item] = {}
    waiting = {n: _tokens(shard) for n, shard in enumerate(holdings.shards) if shard.unanswered}
    for n, write in enumerate(writes):
        shard = holdings.shards[write.entry.id % MOST_SHARDS]
        known = shard.answers.pop(write.token, None) if write.token else None
        if known is not None:
            found[n] = known
        elif write.token and write.token in waiting.get(shard.number, ()):
            found[n] = Unreachable(f"shard {shard.number}: the answer is still missing")
        elif write.entry.id in shard.restoring:
            found[n] = Unreachable(f"shard {shard.number}: Redis was emptied, and gets it again", refused=True)
        elif (place := holdings.find(write.entry)) is None:
            found[n] = Refused()
        else:
            items[n] = item = Item(write, *place)
            if write.loss_deadline_ms is None or item.page.slot(item.entry.index) == _bytes_of(write):
                by_shard.setdefault(shard.number, []).append(n)
            else:
                found[n] = Refused(early=True)
    batches: list[ChangeCall] = []
    calls: list[ScriptCall] = []
    places: list[list[int]] = []
    for number, at in by_shard.items():
        for mode, part in zip((FIRST, *[LATER] * len(at)), _parts(at, items), strict=False):
            batch = _batch(holdings.shards[number], [(items[n], packed) for n, packed in part])
            batches.append(batch)
            calls.append(batch.call(holdings.cap, mode))
            places.append([n for n, _ in part])
    for batch, at, reply in zip(batches, places, holdings.run(calls), strict=True):
        if isinstance(reply, Unreachable):
            if not reply.refused:
                batch.shard.unanswered.append(batch)
            answers: list[Any] = [reply] * len(at)
        else:
            answers = settle(holdings, batch, reply)
        for n, answer in zip(at, answers, strict=True):
            found[n] = answer
    return [answer for answer in found if answer is not None]


def _bytes_of(write: Write) -> bytes:
    """Returns the deadline of a loss as it is in the slot."""
    return deadline_bytes(write.loss_deadline_ms or 0)


def _tokens(shard: Shard) -> set[int]:
    return {item.write.token for batch in shard.unanswered for item in batch.items}


Packed = tuple[bytes, list[bytes]]


def _parts(at: Iterable[int], items: dict[int, Item]) -> Iterable[list[tuple[int, Packed]]]:
    part: list[tuple[int, Packed]] = []
    size = 0
    for n in at:
        write = items[n].write
        packed = (b"" if write.row is None else pack_row(write.row), [pack_change(change) for change in write.changes])
        grows = len(packed[0]) + sum(map(len, packed[1]))
        if part and (len(part) == ITEMS_PER_CALL or size + grows > BYTES_PER_CALL):
            yield part
            part, size = [], 0
        part.append((n, packed))
        size += grows
    if part:
        yield part


def _batch(shard: Shard, parts: Sequence[tuple[Item, Packed]]) -> ChangeCall:
    numbers: dict[int, int] = {}
    keys = [shard.done, shard.slot, shard.own, shard.next, shard.ev]
    marks: list[Any] = []
    words: list[Any] = []
    for (write, page, entry), (row, changes) in parts:
        place = numbers.get(page.number)
        if place is None:
            place = numbers[page.number] = len(numbers) + 1
            keys += (page.key, page.rows_key)
            marks += (b"%d" % page.number, page.mark)
        ends = write.row is None or write.loss_deadline_ms is not None
        loss = b"" if write.loss_deadline_ms is None else _bytes_of(write)
        deadline = EMPTY if ends else page.slot(entry.index)
        words += (place, entry.index, field_of(write.name), entry.pack(), loss, deadline, row, len(changes), *changes)
    shard.calls += 1
    return ChangeCall(shard, shard.calls, [item for item, _ in parts], keys, pack_words(marks), pack_words(words))


def settle(holdings: Holdings, batch: ChangeCall, reply: bytes) -> list[Accepted | Refused]:
    """Reads the answers of a batch, and does here what they say."""
    answers: list[Accepted | Refused] = []
    shard = batch.shard
    shard.last_call = batch.number, holdings.clock()
    for (write, page, entry), word in zip(batch.items, reply.decode().split(","), strict=True):
        holds = page.holds(entry) and shard.pages.all.get(page.number) is page
        if word.isdecimal():
            first, n = int(word), len(write.changes)
            if n:
                shard.last_seq = max(shard.last_seq, first + n - 1)
            answers.append(Accepted([(first + k) * 64 + shard.number for k in range(n)]))
            if not holds:
                continue
            if write.row is None:
                holdings.free(shard, page, entry.index)
                continue
            page.has_row[entry.index] = 1
            if write.loss_deadline_ms is not None:
                holdings.end_timeout(page, entry.index, _bytes_of(write))
            continue
        answers.append(Refused(early=word == "e"))
        if word == "p":
            shard.audit = True
        elif word == "r" and holds:
            holdings.free(shard, page, entry.index)
    return answers


def repeat(holdings: Holdings, shards: Iterable[Shard]) -> None:
    """Asks again for the answers that are missing, and keeps them until the caller repeats its writes."""
    batches: list[ChangeCall] = []
    for shard in shards:
        batches += shard.unanswered
        shard.unanswered = []
    calls = [batch.call(holdings.cap, LATER) for batch in batches]
    for batch, reply in zip(batches, holdings.run(calls), strict=True):
        shard = batch.shard
        if isinstance(reply, Unreachable):
            shard.unanswered.append(batch)
            holdings.in_doubt(shard)
            continue
        for item, answer in zip(batch.items, settle(holdings, batch, reply), strict=True):
            if item.write.token:
                shard.answers[item.write.token] = answer
            holdings.mark_dirty(item.page)  # what was written may be older than what has been flushed since
        while len(shard.answers) > ANSWERS_KEPT:
            del shard.answers[next(iter(shard.answers))]
