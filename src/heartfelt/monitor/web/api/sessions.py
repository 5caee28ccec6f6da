# SPDX-License-Identifier: MIT
"""Sessions of Sermant's paged queries: the filter of a query, and where each of its pages begins."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from heartfelt.monitor.store import EventCursor, EventFilter

MOST_SESSIONS = 1000


@dataclass(slots=True)
class Session:
    """One paged query. Its filter leaves out events that arrive later, so they shift no page."""

    which: EventFilter
    ends_ms: int
    pages: int
    starts: list[EventCursor | None] = field(default_factory=lambda: [None])
    """Entry n is the place before page n + 1. None: it starts at the newest event."""


class Sessions:
    """Sessions by name, at most MOST_SESSIONS; the least recently used ends first.

    A session ends when it was not used for `expire_s`. Belongs to the loop's thread.
    """

    def __init__(self, expire_s: float, wall_ms: Callable[[], int]) -> None:
        self._expire_ms = int(expire_s * 1000)
        self._wall_ms = wall_ms
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self.evicted = 0
        """Sessions that ended before their time, to stay within MOST_SESSIONS."""

    def begin(self, which: EventFilter, pages: int) -> str:
        """Returns the name of the new session."""
        now_ms = self._wall_ms()
        while self._sessions:  # ordered by last use, so the first one ends first
            oldest = next(iter(self._sessions.values()))
            if oldest.ends_ms > now_ms and len(self._sessions) < MOST_SESSIONS:
                break
            self.evicted += oldest.ends_ms > now_ms
            self._sessions.popitem(last=False)
        name = secrets.token_urlsafe(16)
        self._sessions[name] = Session(which, now_ms + self._expire_ms, pages)
        return name

    def find(self, name: str | None) -> Session | None:
        """Returns the session and extends it. None: it has ended, or is not this monitor's."""
        session = self._sessions.get(name or "")
        now_ms = self._wall_ms()
        if name is None or session is None or session.ends_ms <= now_ms:
            return None
        session.ends_ms = now_ms + self._expire_ms
        self._sessions.move_to_end(name)
        return session
