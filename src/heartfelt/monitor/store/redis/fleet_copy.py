# SPDX-License-Identifier: MIT
"""A copy of what is in Redis once for the whole fleet and cannot be found out again: tokens, webhooks, the layout. If
Redis was emptied, the first monitor that sees it writes all of it again, at once: no read ever finds the gap.

`born`, a field of `cfg`, is the mark of the fleet's data; `whole` is the same mark once they are complete. So what is
deleted afterwards is not written again by a monitor that finds out later.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.store.redis.keys import FORMAT, SLOTS, Keys
from heartfelt.monitor.store.redis.link import FLEET, Command, Link
from heartfelt.monitor.store.redis.packing import pack_words
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.values import pairs_of

KINDS = ("token", "webhook")
RESTORE_FLEET = load("restore_fleet")


class FleetCopy:
    """Any thread; every method but `numbered` blocks."""

    def __init__(self, link: Link, keys: Keys, logger: logging.Logger) -> None:
        self._link, self._keys, self._logger = link, keys, logger
        self._lock = threading.Lock()
        self._born: bytes | None = None
        self._documents: dict[str, dict[bytes, bytes]] = {}
        self._numbers = 0
        self._whole_ms = 0
        self.emptied = 0
        """How often Redis has lost what is here."""
        self.emptied_s = float("-inf")
        """When that was seen last, by the monotonic clock."""
        self.lost_after_ms: int | None = None
        """When all was there before that, by the primary's clock: what is in Redis has happened later."""

    def numbered(self, number: int) -> None:
        """Notes how many monitors have started."""
        self._numbers = number

    def put(self, kind: str, name: bytes, value: bytes | None) -> None:
        """Notes a document that is in Redis now; None: it was deleted. Blocks while it looks."""
        with self._lock:
            of_kind = self._documents.setdefault(kind, {})
            if value is None:
                of_kind.pop(name, None)
            else:
                of_kind[name] = value

    def look(self, kind: str = "") -> dict[bytes, bytes]:
        """Reads all of it, and writes it again if it is gone. Returns the documents of this kind. Raises StoreError."""
        with self._lock:
            now_ms = self._link.now_ms(FLEET)
            born, *found = self._read(kind)
            if born is None or (self._born is not None and born != self._born):
                self._restore()
                born, *found = self._read(kind)
            self._born, self._whole_ms = born, now_ms
            self._documents = dict(zip(self._kinds(kind), found, strict=True))
            return self._documents.get(kind, {})

    def _kinds(self, kind: str) -> tuple[str, ...]:
        return KINDS if kind in ("", *KINDS) else (*KINDS, kind)

    def _read(self, kind: str) -> list[Any]:
        commands = [Command(FLEET, ("HGET", self._keys.fleet("cfg"), "born"))]
        commands += [Command(FLEET, ("HGETALL", self._keys.fleet("doc", one))) for one in self._kinds(kind)]
        replies = self._link.execute(commands)
        for reply in replies:
            if isinstance(reply, StoreError):
                raise reply
            if isinstance(reply, Exception):
                raise StoreError(f"Redis: {reply}") from reply
        return [replies[0], *(dict(pairs_of(reply)) for reply in replies[1:])]

    def _restore(self) -> None:
        is_known = self._born is not None
        layout = ("version", str(FORMAT), "shards", str(self._keys.shards), "page", str(SLOTS))
        words = [word.encode() for word in layout]
        for at, kind in enumerate(KINDS, 1):
            for name, value in self._documents.get(kind, {}).items() if is_known else ():
                words += (b"%d" % at, name, value)
        head = len(layout) // 2
        keys = [self._keys.fleet("cfg"), self._keys.fleet("numbers"), *(self._keys.fleet("doc", one) for one in KINDS)]
        n = self._link.call(
            FLEET, RESTORE_FLEET, secrets.token_hex(8), int(is_known), self._numbers, head, pack_words(words), keys=keys
        )
        if is_known:
            self.emptied += 1
            self.emptied_s, self.lost_after_ms = time.monotonic(), self._whole_ms
            who = "another monitor has written the" if n < 0 else f"this monitor has written {n}"
            self._logger.warning("Redis was emptied: %s documents (tokens, webhooks) again", who)
