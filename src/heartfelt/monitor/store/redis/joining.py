# SPDX-License-Identifier: MIT
"""Gets names for this monitor: new ones, those whose row is gone, and those of other monitors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from heartfelt.monitor.store.redis.answers import Adopted, Owned, Refused
from heartfelt.monitor.store.redis.holdings import Holdings, ScriptCall, Shard, not_ready
from heartfelt.monitor.store.redis.keys import ENTRY_BYTES, SEQ_EPOCH_MS, SLOT_BYTES, Entry, field_of
from heartfelt.monitor.store.redis.link import Command, Unreachable
from heartfelt.monitor.store.redis.packing import Unreadable, pack_words, unpack_row
from heartfelt.monitor.store.redis.pages import EMPTY, Page, Place, page_key, parts_of_mark
from heartfelt.monitor.store.redis.scripts import load

NAMES_PER_CALL = 128
ROWS_PER_CALL = 32
MOVED_MS = 60_000
MOVED_MOST = 10_000
"""The most notices that wait for a monitor. Beyond that it compares all that it holds with what Redis has."""
UNREADABLE = b""
"""The name of a slot whose row cannot be read."""
ROW_HEAD = 8
"""A row begins with the generation and the id of its entry."""
RESERVE, RECLAIM, MOVE = load("reserve"), load("reclaim"), load("move")

Existing = tuple[bytes, Entry, str]
"""A name that has an entry, and the mark of the owner of its page."""
Wanted = tuple[bytes, Owned, bool]
"""A name, what was read of it, and whether its owner agreed."""
Reserved = Entry | Owned | Unreachable
Found = Entry | Owned | Unreachable | None
Moved = Adopted | Entry | Refused | Unreachable


def reserve(holdings: Holdings, names: Iterable[bytes]) -> dict[bytes, Reserved]:
    found: dict[bytes, Reserved] = {}
    by_shard: dict[int, list[bytes]] = defaultdict(list)
    for name in dict.fromkeys(names):
        by_shard[holdings.keys.shard_of(name)].append(name)
    failed = holdings.make_room((holdings.shards[n], len(names)) for n, names in by_shard.items())
    calls: list[ScriptCall] = []
    parts: list[tuple[list[bytes], list[Place]]] = []
    for number, names_of_shard in by_shard.items():
        shard = holdings.shards[number]
        for part, places in placed(holdings, shard, names_of_shard, NAMES_PER_CALL):
            page = places[0].page
            wanted = [word for name, at in zip(part, places, strict=True) for word in (field_of(name), at.index)]
            keys = (shard.slot, shard.own, shard.next)
            calls.append(
                ScriptCall(shard, RESERVE, keys, (number, page.number, page.mark, pack_words(wanted), SEQ_EPOCH_MS))
            )
            parts.append((part, places))
        no_room = failed.get(number) or not_ready(shard)
        found.update((name, no_room) for name in names_of_shard)
    existing: list[Existing] = []
    for call, (part, places), reply in zip(calls, parts, holdings.run(calls), strict=True):
        failure = _failure(holdings, call, places, reply)
        if failure is not None:
            found.update((name, failure) for name in part)
            continue
        for n, (name, place) in enumerate(zip(part, places, strict=True)):
            entry, mark = Entry.unpack(reply[2 * n]), reply[2 * n + 1]
            if mark and not _is_at(entry, place, mark):
                holdings.free(call.shard, *place)
                existing.append((name, entry, mark.decode()))
            else:
                holdings.put(place.page, name, entry, row=False)
                found[name] = entry
    found.update(_look(holdings, existing))  # type: ignore[arg-type]  # it reclaims, so none is None
    return found


def find(holdings: Holdings, names: Iterable[bytes]) -> dict[bytes, Found]:
    """Says whose names are, and makes none ours. None: no monitor has it."""
    found: dict[bytes, Found] = {}
    asked = list(dict.fromkeys(names))
    slots = holdings.ask(
        [Command(n, ("HGET", holdings.shards[n].slot, field_of(name))) for name, n in _with_shards(holdings, asked)]
    )
    entries: list[tuple[bytes, Entry]] = []
    for name, reply in zip(asked, slots, strict=True):
        if isinstance(reply, Unreachable):
            found[name] = Unreachable(str(reply), refused=True)
        elif reply is None:
            found[name] = None
        else:
            entries.append((name, Entry.unpack(reply)))
    marks = holdings.ask(
        [
            Command(n, ("HGET", holdings.shards[n].own, entry.page))
            for (_, entry), (_, n) in zip(entries, _with_shards(holdings, [name for name, _ in entries]), strict=True)
        ]
    )
    existing: list[Existing] = []
    for (name, entry), mark in zip(entries, marks, strict=True):
        if isinstance(mark, Unreachable):
            found[name] = Unreachable(str(mark), refused=True)
        else:
            existing.append((name, entry, (mark or b"-").decode()))
    found.update(_look(holdings, existing, reclaims=False))
    return found


def _with_shards(holdings: Holdings, names: Sequence[bytes]) -> list[tuple[bytes, int]]:
    return [(name, holdings.keys.shard_of(name)) for name in names]


def _is_at(entry: Entry, place: Place, mark: bytes) -> bool:
    """Tells whether an entry is what was just reserved: the link has repeated the call."""
    return mark == place.page.mark and (entry.page, entry.index) == (place.page.number, place.index)


def placed(
    holdings: Holdings, shard: Shard, names: list[bytes], most: int, but: Page | None = None
) -> Iterable[tuple[list[bytes], list[Place]]]:
    """Takes slots for names, as far as there are any. Yields batches, each with its slots in one page."""
    if not shard.ready or shard.doubt:
        return
    places, start = holdings.take(shard, names, but), 0
    for n in range(1, len(places) + 1):
        if n == len(places) or n - start == most or places[n].page is not places[start].page:
            yield names[start:n], places[start:n]
            start = n


def _failure(holdings: Holdings, call: ScriptCall, places: Iterable[Place], reply: object) -> Unreachable | None:
    """Returns why a call did nothing, if so. Its slots are free then, unless it may have been executed."""
    if reply == b"page":
        reply = Unreachable(f"shard {call.shard.number}: the page is not ours any more", refused=True)
    if not isinstance(reply, Unreachable):
        return None
    if reply.refused:
        for place in places:
            holdings.free(call.shard, *place)
    return reply


def _look(holdings: Holdings, existing: Iterable[Existing], *, reclaims: bool = True) -> dict[bytes, Found]:
    """Says whose these names are. reclaims: those without a row become ours; otherwise they are nobody's."""
    found: dict[bytes, Found] = {}
    questions: dict[Command, None] = {}
    others: list[tuple[Existing, Command, Command]] = []
    without_row: list[Existing] = []
    for one in existing:
        name, entry, mark = one
        shard = holdings.shards[holdings.keys.shard_of(name)]
        owner, fence = parts_of_mark(mark)
        if owner == holdings.me:
            page = shard.pages.all.get(entry.page)
            if page is not None and page.names[entry.index] == UNREADABLE and reclaims:
                holdings.put(page, name, entry, row=False)
            is_known = page is not None and holdings.known(shard, name, entry) is page
            if page is None or (is_known and page.has_row[entry.index] and reclaims):
                found[name] = Owned(entry, owner, False, fence)  # the caller has lost the answer: MOVE returns it
            elif is_known:
                found[name] = entry
            else:
                without_row.append(one)
        else:
            lives = Command(shard.number, ("EXISTS", holdings.keys.shard(shard.number, "lease", owner)))
            row = Command(shard.number, ("HEXISTS", holdings.keys.shard(shard.number, "rows", entry.page), entry.index))
            questions[lives] = questions[row] = None
            others.append((one, lives, row))
    answers = dict(zip(questions, holdings.ask(list(questions)), strict=True))
    for (name, entry, mark), lives, row in others:
        failed = next((a for a in (answers[lives], answers[row]) if isinstance(a, Unreachable)), None)
        if failed is not None:
            found[name] = Unreachable(str(failed), refused=True)
        elif answers[row]:
            owner, fence = parts_of_mark(mark)
            found[name] = Owned(entry, owner, bool(answers[lives]), fence)
            holdings.has_come(name)
        elif reclaims and answers[lives] and holdings.is_coming(name, entry):
            found[name] = Unreachable("another monitor has reserved it, and writes its row", refused=True)
        else:
            without_row.append((name, entry, mark))
    if reclaims:
        found.update(reclaim(holdings, [(name, entry) for name, entry, _ in without_row]))
    else:
        found.update((name, None) for name, _, _ in without_row)
    return found


def reclaim(holdings: Holdings, wanted: Iterable[tuple[bytes, Entry]]) -> dict[bytes, Entry | Unreachable]:
    """Makes names ours whose row is gone."""
    groups: dict[tuple[int, int], dict[bytes, Entry]] = defaultdict(dict)
    for name, entry in wanted:
        groups[holdings.keys.shard_of(name), entry.page][name] = entry
    failed = _room_for(holdings, groups)
    found: dict[bytes, Entry | Unreachable] = {}
    calls: list[ScriptCall] = []
    parts: list[tuple[list[bytes], list[Place]]] = []
    for (number, old_page), entries in groups.items():
        shard = holdings.shards[number]
        no_room = failed.get(number) or not_ready(shard)
        found.update((name, no_room) for name in entries)
        for part, places in placed(holdings, shard, list(entries), NAMES_PER_CALL):
            words = _words(part, entries, places)
            page, keys = places[0].page, (shard.slot, shard.own, holdings.keys.shard(number, "rows", old_page))
            calls.append(ScriptCall(shard, RECLAIM, keys, (page.number, page.mark, pack_words(words))))
            parts.append((part, places))
    for call, (part, places), reply in zip(calls, parts, holdings.run(calls), strict=True):
        failure = _failure(holdings, call, places, reply)
        for n, (name, place) in enumerate(zip(part, places, strict=True)):
            if failure is not None:
                found[name] = failure
            elif reply[n]:
                found[name] = entry = Entry.unpack(reply[n])
                holdings.put(place.page, name, entry, row=False)
            else:
                holdings.free(call.shard, *place)
                found[name] = Unreachable(f"shard {call.shard.number}: another monitor was faster", refused=True)
    return found


def _room_for(holdings: Holdings, groups: dict[tuple[int, int], dict[bytes, Entry]]) -> dict[int, Unreachable]:
    sizes: dict[int, int] = defaultdict(int)
    for (number, _), entries in groups.items():
        sizes[number] += len(entries)
    return holdings.make_room((holdings.shards[number], n) for number, n in sizes.items())


def move(holdings: Holdings, wanted: Iterable[Wanted]) -> dict[bytes, Moved]:
    found: dict[bytes, Moved] = {}
    read: dict[bytes, Entry] = {}
    ours: list[tuple[bytes, Page, Entry]] = []
    groups: dict[tuple[int, int, str, int, bool], dict[bytes, Entry]] = defaultdict(dict)
    sizes: dict[int, int] = defaultdict(int)
    for name, owned, consent in wanted:
        read[name] = owned.entry
        number = holdings.keys.shard_of(name)
        known = holdings.known(holdings.shards[number], name, owned.entry)
        if known is not None:
            ours.append((name, known, owned.entry))
        else:
            consents = consent or owned.owner == holdings.me
            groups[number, owned.entry.page, owned.owner, owned.fence, consents][name] = owned.entry
            sizes[number] += 1
    failed = holdings.make_room((holdings.shards[number], n) for number, n in sizes.items())
    calls: list[ScriptCall] = []
    parts: list[tuple[list[bytes], list[Place]]] = []
    for (number, old_page, owner, fence, consents), entries in groups.items():
        shard = holdings.shards[number]
        no_room = failed.get(number) or not_ready(shard)
        found.update((name, no_room) for name in entries)
        mark = f"{owner}:{fence}" if owner else "-"
        for part, places in placed(holdings, shard, list(entries), ROWS_PER_CALL):
            calls.append(move_call(holdings, shard, old_page, mark, consents, part, entries, places))
            parts.append((part, places))
    gone: list[tuple[bytes, Entry]] = []
    for call, (part, places), reply in zip(calls, parts, holdings.run(calls), strict=True):
        failure = _failure(holdings, call, places, reply)
        if failure is not None:
            found.update((name, failure) for name in part)
            continue
        for n, (name, place) in enumerate(zip(part, places, strict=True)):
            entry, row, deadline = reply[3 * n : 3 * n + 3]
            if row:
                found[name] = _taken(holdings, call.shard, name, place, Entry.unpack(entry), row, deadline)
                continue
            now = Entry.unpack(entry) if len(entry) == ENTRY_BYTES else None
            if now is not None and (now.page, now.index) == (place.page.number, place.index):
                holdings.put(place.page, name, now, row=True)  # the link has repeated the call
                ours.append((name, place.page, now))
                continue
            holdings.free(call.shard, *place)
            found[name] = Refused()
            if entry == b"gone":
                gone.append((name, read[name]))
            elif now is not None:
                known = holdings.known(call.shard, name, now)
                if known is not None:  # this was done before, and its answer got lost
                    ours.append((name, known, now))
    found.update(reclaim(holdings, gone))
    found.update(_ours(holdings, ours))
    return found


def move_call(
    holdings: Holdings, shard: Shard, old_page: int, mark: str, consents: bool,
    names: Sequence[bytes], entries: dict[bytes, Entry], places: Sequence[Place],
) -> ScriptCall:  # fmt: skip
    """Returns a call of MOVE, from one page into another."""
    page, owner = places[0].page, parts_of_mark(mark)[0]
    words = _words(names, entries, places)
    of_shard = holdings.keys.shard
    number = shard.number
    keys = (
        shard.slot, shard.own, page.key, page.rows_key, page_key(holdings.keys, number, old_page, mark),
        of_shard(number, "rows", old_page), of_shard(number, "lease", owner), of_shard(number, "moved", owner),
    )  # fmt: skip
    tells = owner != holdings.me and owner != ""
    args = (page.number, page.mark, old_page, mark, int(consents), int(tells), MOVED_MS, MOVED_MOST, pack_words(words))
    return ScriptCall(shard, MOVE, keys, args)


def _words(names: Sequence[bytes], entries: dict[bytes, Entry], places: Sequence[Place]) -> list[bytes | int]:
    return [w for name, at in zip(names, places, strict=True) for w in (field_of(name), entries[name].pack(), at.index)]


def _taken(
    holdings: Holdings, shard: Shard, name: bytes, place: Place, entry: Entry, row: bytes, deadline: bytes
) -> Adopted | Entry:
    """Takes an instance that was moved. If its row cannot be read, it is as one that was reserved."""
    try:
        unpacked = unpack_row(row, holdings.shared)
    except Unreadable as error:
        holdings.unreadable(shard.number, entry.page, entry.index, error)
        holdings.put(place.page, name, entry, row=False)
        return entry
    is_whole = len(deadline) == 8
    shard.came[entry.id] = entry
    holdings.put(place.page, name, entry, row=True, deadline=deadline if is_whole else None)
    return Adopted(entry, unpacked, int.from_bytes(deadline, "big") if is_whole else 0)


def _ours(holdings: Holdings, ours: Sequence[tuple[bytes, Page, Entry]]) -> dict[bytes, Moved]:
    """Returns instances that this monitor owns already. Their deadlines are those that Redis has, unless newer ones
    wait to be written."""
    reads = []
    for _, page, entry in ours:
        at = entry.index * SLOT_BYTES
        reads.append(Command(page.shard, ("HGET", page.rows_key, entry.index)))
        reads.append(Command(page.shard, ("GETRANGE", page.key, at, at + SLOT_BYTES - 1)))
    replies = holdings.ask(reads)
    found: dict[bytes, Moved] = {}
    for (name, page, entry), row, stored in zip(ours, replies[::2], replies[1::2], strict=True):
        if isinstance(row, Unreachable) or isinstance(stored, Unreachable):
            found[name] = Unreachable(f"shard {page.shard}: its row could not be read", refused=True)
        elif row is None or row[:ROW_HEAD] != entry.pack()[6:]:
            found[name] = entry
        else:
            place = Place(page, entry.index)
            shard = holdings.shards[page.shard]
            newer = page.slot(entry.index)
            found[name] = _taken(
                holdings, shard, name, place, entry, row[ROW_HEAD:], stored if newer == EMPTY else newer
            )
    return found
