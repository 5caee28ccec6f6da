# SPDX-License-Identifier: MIT
"""Writes again what Redis has lost of what this monitor owns: it was emptied, or a replica without the last writes has
taken over. First the pages, at once; then entries and rows, some at a time, as the loop gives them.

Until an instance is there again, nothing of it is written. Another monitor may have got its name meanwhile, since it
was nobody's: then the one that has had it for longer takes it back, and what was heard of it elsewhere comes to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from heartfelt.monitor.model import InstanceRow
from heartfelt.monitor.store.redis import adopting, changing, joining
from heartfelt.monitor.store.redis.answers import Accepted, Adopted, Owned, Refused, Write
from heartfelt.monitor.store.redis.holdings import Holdings, ScriptCall, Shard
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, Entry, field_of, name_of
from heartfelt.monitor.store.redis.link import Command, Unreachable
from heartfelt.monitor.store.redis.packing import pack_row, pack_words, unpack_row
from heartfelt.monitor.store.redis.pages import Page, new_mark, parts_of_mark
from heartfelt.monitor.store.redis.scripts import load

GENERATIONS = 1 << 16
RESTORE_PAGE, RESTORE = load("restore_page"), load("restore")

Restored = bool | Refused | Unreachable
"""True: it is in Redis again. Refused: it is another monitor's."""


class _Item(NamedTuple):
    at: int
    name: bytes
    entry: Entry
    row: bytes


_Conflict = tuple[Page, _Item, Entry, bytes]
"""A name that has another entry, and the mark of the owner of its page."""


def begin(shard: Shard) -> int:
    """Notes that Redis may have lost all that this monitor has in a shard. Returns how many instances that are."""
    shard.lost_pages = list(shard.pages.all.values())
    shard.restoring = {entry.id: entry for page in shard.lost_pages for _, entry in page.instances()}
    return len(shard.restoring)


def is_restoring(shard: Shard) -> bool:
    return bool(shard.lost_pages or shard.restoring)


def restore_pages(holdings: Holdings, shards: Iterable[Shard]) -> None:
    """Writes pages again, with another number if theirs is another page's by now."""
    for shard in shards:
        for _ in range(2):  # those that need another number are written with it
            calls = [_page_call(shard, page) for page in shard.lost_pages]
            left: list[Page] = []
            for page, reply in zip(shard.lost_pages, holdings.run(calls), strict=True):
                if reply == b"taken":
                    left.append(_renumbered(holdings, shard, page))
                elif reply != b"done":
                    left.append(page)
                else:
                    holdings.mark_dirty(page)  # deadlines may have been set meanwhile
            shard.lost_pages = left
        _end(shard)


def _page_call(shard: Shard, page: Page) -> ScriptCall:
    last_id = max((entry.id for _, entry in page.instances()), default=0) // MOST_SHARDS
    args = (page.number, page.mark, bytes(page.buffer), last_id, shard.last_seq)
    return ScriptCall(shard, RESTORE_PAGE, (shard.own, page.key, shard.next), args)


def _renumbered(holdings: Holdings, shard: Shard, page: Page) -> Page:
    """Returns a page with the same instances and a new number, which takes the place of this one."""
    (number,) = holdings.ask([Command(shard.number, ("HINCRBY", shard.next, "page", 1))])
    if isinstance(number, Unreachable):
        return page
    made = Page(holdings.keys, shard.number, number, new_mark(holdings.me))
    holdings.replace_page(shard, page, made)
    return made


def restore(holdings: Holdings, wanted: Sequence[tuple[int, InstanceRow | None]]) -> list[Restored]:
    """Writes instances again, by ids. Without a row they are as those that are reserved. Unreachable: ask again."""
    found: list[Restored] = [True] * len(wanted)
    of_page: dict[Page, list[_Item]] = {}
    for at, (id, row) in enumerate(wanted):
        shard = holdings.shards[id % MOST_SHARDS]
        known = shard.restoring.get(id)
        if known is None:
            continue
        place = holdings.find(known)
        if place is None:
            del shard.restoring[id]
            found[at] = Refused()
        elif place[0] in shard.lost_pages:
            found[at] = Unreachable(f"shard {shard.number}: its page is not in Redis yet", refused=True)
        else:
            page, entry = place
            name = page.names[entry.index] or b""
            packed = b"" if row is None else pack_row(row)
            of_page.setdefault(page, []).append(_Item(at, name, entry, packed))
    parts = [(page, part) for page, items in of_page.items() for part in _parts(items)]
    _take_back(holdings, list(_send(holdings, parts, found)), found)
    for shard in holdings.shards:
        _end(shard)
    return found


def _parts(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    part: list[_Item] = []
    size = 0
    for item in items:
        if part and (len(part) == changing.ITEMS_PER_CALL or size + len(item.row) > changing.BYTES_PER_CALL):
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item.row)
    yield part


def _send(holdings: Holdings, parts: Sequence[tuple[Page, list[_Item]]], found: list[Restored]) -> Iterator[_Conflict]:
    """Calls RESTORE. Yields the names that have other entries, with the marks of their pages' owners."""
    calls = []
    for page, part in parts:
        shard = holdings.shards[page.shard]
        words = [word for one in part for word in (field_of(one.name), one.entry.pack(), one.row)]
        keys = (shard.slot, shard.own, page.rows_key)
        calls.append(ScriptCall(shard, RESTORE, keys, (page.number, page.mark, pack_words(words))))
    for (page, part), reply in zip(parts, holdings.run(calls), strict=True):
        shard = holdings.shards[page.shard]
        if reply == b"page":
            if page not in shard.lost_pages:
                shard.lost_pages.append(page)
            reply = Unreachable(f"shard {shard.number}: its page is not in Redis", refused=True)
        for n, item in enumerate(part):
            if isinstance(reply, Unreachable):
                found[item.at] = reply
            elif reply[2 * n]:
                found[item.at] = Unreachable(f"shard {shard.number}: another monitor has it", refused=True)
                yield page, item, Entry.unpack(reply[2 * n]), reply[2 * n + 1]
            else:
                page.has_row[item.entry.index] = bool(item.row)
                found[item.at] = True
                holdings.counts.restored += shard.restoring.pop(item.entry.id, None) is not None


def _take_back(holdings: Holdings, conflicts: Sequence[_Conflict], found: list[Restored]) -> None:
    """Takes names back that another monitor has got meanwhile, or leaves them to that one."""
    wanted: list[joining.Wanted] = []
    items: list[tuple[Page, _Item]] = []
    for page, item, other, mark in conflicts:
        shard, entry = holdings.shards[page.shard], item.entry
        if other.id < entry.id or (other.id == entry.id and not _is_newer(entry, other)):
            holdings.free(shard, page, entry.index)
            shard.restoring.pop(entry.id, None)
            found[item.at] = Refused()
            continue
        owner, fence = parts_of_mark(mark.decode())
        wanted.append((item.name, Owned(other, owner, True, fence), True))
        items.append((page, item))
        found[item.at] = Unreachable(f"shard {shard.number}: another monitor has it still", refused=True)
    moved = joining.move(holdings, wanted)
    again: list[tuple[Page, _Item]] = []
    to_delete: list[Write] = []
    deleted: list[tuple[Page, _Item]] = []
    for page, item in items:
        answer = moved[item.name]
        if isinstance(answer, (Refused, Unreachable)):
            continue
        shard, new = holdings.shards[page.shard], answer.entry if isinstance(answer, Adopted) else answer
        shard.came.pop(new.id, None)
        if new.id == item.entry.id:
            to = shard.pages.all[new.page]
            holdings.relocate(page, item.entry, to, new)
            shard.restoring[new.id] = new
            again.append((to, item._replace(entry=new)))
        else:
            to_delete.append(Write(item.name, new, None, ()))
            deleted.append((page, item))
    for one, done in zip(deleted, changing.change(holdings, to_delete), strict=True):
        if isinstance(done, Accepted):
            again.append(one)
    groups: dict[Page, list[_Item]] = {}
    for page, item in again:
        groups.setdefault(page, []).append(item)
    parts = [(page, part) for page, part_items in groups.items() for part in _parts(part_items)]
    for _ in _send(holdings, parts, found):
        pass  # another monitor was faster: it is asked again


def remove_stale(holdings: Holdings, shards: Iterable[Shard]) -> None:
    """Removes instances that a replica without the last writes has brought back: their slots are free here."""
    pages = [page for shard in shards for page in shard.pages.all.values()]
    replies = holdings.ask([Command(page.shard, ("HKEYS", page.rows_key)) for page in pages])
    stale = [
        (page, int(field))
        for page, fields in zip(pages, replies, strict=True)
        for field in (() if isinstance(fields, Unreachable) else fields)
        if page.names[int(field)] is None
    ]
    rows = holdings.ask([Command(page.shard, ("HGET", page.rows_key, index)) for page, index in stale])
    writes: list[Write] = []
    for (page, index), data in zip(stale, rows, strict=True):
        if data is None or isinstance(data, Unreachable):
            continue
        try:
            entry = adopting.entry_of(page.number, index, data)
            row = unpack_row(data[joining.ROW_HEAD :], holdings.shared)
        except ValueError as error:
            holdings.unreadable(page.shard, page.number, index, error)
            continue
        name = name_of(row.service, row.instance_id)
        page.free.remove(index)
        holdings.put(page, name, entry, row=True)
        writes.append(Write(name, entry, None, ()))
    changing.change(holdings, writes)
    for shard in shards:
        shard.has_stale = False


def _is_newer(one: Entry, other: Entry) -> bool:
    return 0 < (one.generation - other.generation) % GENERATIONS < GENERATIONS // 2


def _end(shard: Shard) -> None:
    if shard.is_emptied and not is_restoring(shard):
        shard.is_emptied = False
        shard.has_stale = True
        shard.audit = True  # what could not be asked meanwhile is, and what is there is compared
