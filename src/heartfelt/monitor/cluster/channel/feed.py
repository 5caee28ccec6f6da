# SPDX-License-Identifier: MIT
"""Beats and inputs that wait for one other monitor. Each batch is sent until the monitor has handled it.

They are sent in the order in which they came: what is put after an input is sent after it. A beat replaces an older
one of its instance that waits in the same batch, and batches are closed only when they can be sent, or by an input. A
connection that ends loses nothing: the next one begins with the batches that were not acknowledged.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import compress, islice
from typing import NamedTuple

from heartfelt.monitor.cluster.channel.frames import BEATS_IN_FRAME, Input, pack_beats, pack_inputs

MOST_BEATS = 1 << 20
"""How many beats wait for one monitor."""
MOST_INPUT_BYTES = 8 * 1024 * 1024
"""How many bytes of inputs wait for one monitor."""
INPUT_BYTES = 1024 * 1024
"""The longest input, and how many bytes of inputs are in a batch."""
INPUTS_IN_FRAME = 4096
_OVERHEAD = 200
"""Bytes that an input takes beside its data."""
MOST_PARTS = 64
"""How many batches are closed by inputs; with more, a beat that came before an input may be sent after it."""
WINDOW = 64
"""How many batches are on their way at a time."""
_logger = logging.getLogger("heartfelt.monitor.cluster")


class Undelivered(NamedTuple):
    """Beats and inputs that a monitor has not acknowledged. It may have handled the oldest of it."""

    beats: dict[int, int]
    """id -> when the newest one was heard."""
    inputs: list[Input]


class _ManyBeats:
    """Beats for several frames. Cut when each is sent, since that takes long for a million."""

    __slots__ = ("_items", "left")

    def __init__(self, beats: dict[int, int]) -> None:
        self._items = iter(beats.items())
        self.left = len(beats)

    def take(self) -> dict[int, int]:
        taken = dict(islice(self._items, BEATS_IN_FRAME))
        self.left -= len(taken)
        return taken

    def rest(self) -> Iterator[tuple[int, int]]:
        return self._items


class PeerFeed:
    """Belongs to the loop's thread. counts: of the channel."""

    def __init__(
        self, counts: Counter[str], *, most_beats: int = MOST_BEATS, most_input_bytes: int = MOST_INPUT_BYTES
    ) -> None:
        self._counts = counts
        self._most_beats, self._most_input_bytes = most_beats, most_input_bytes
        self._open: dict[int, int] = {}
        self._parts: deque[dict[int, int] | _ManyBeats | list[Input]] = deque()
        self._sent: deque[dict[int, int] | list[Input]] = deque()
        self._last = 0
        """The number of the last batch in `_sent`."""
        self._closed_beats = 0
        """How many beats `_parts` and `_sent` have."""
        self._input_bytes = 0
        self._tail_bytes = 0
        """The bytes of the last part, if that has inputs."""
        self._is_due = False
        self._looked_bytes = 0
        """The bytes of inputs that `take_back` has left."""

    @property
    def beats(self) -> int:
        return self._closed_beats + len(self._open)

    @property
    def input_bytes(self) -> int:
        return self._input_bytes

    @property
    def is_empty(self) -> bool:
        """Everything was acknowledged."""
        return not (self._open or self._parts or self._sent)

    @property
    def has_more(self) -> bool:
        """Something was not sent yet."""
        return bool(self._open or self._parts)

    # -- putting

    def put_beat(self, id: int, heard_ms: int) -> bool:
        """Returns False if there is no room."""
        waiting = self._open
        old = waiting.get(id)
        if old is None:
            if self._closed_beats + len(waiting) >= self._most_beats:
                self._counts["beats_refused"] += 1
                return False
            waiting[id] = heard_ms
        elif heard_ms > old:
            waiting[id] = heard_ms
        return True

    def put_beats(self, heard_ms: Mapping[int, int]) -> list[int]:
        """Puts the beats of several instances. Returns the ids of those for which there is no room."""
        if not self._open and self._closed_beats + len(heard_ms) <= self._most_beats:
            self._open.update(heard_ms)
            return []
        return [id for id, ms in heard_ms.items() if not self.put_beat(id, ms)]

    def put_input(self, item: Input) -> bool:
        """Returns False if there is no room."""
        size = _size(item)
        if size > INPUT_BYTES or self._input_bytes + size > self._most_input_bytes:
            self._counts["inputs_refused"] += 1
            return False
        if self._open and len(self._parts) < MOST_PARTS:
            self._close_beats()
        tail = self._parts[-1] if self._parts else None
        if isinstance(tail, list) and self._tail_bytes + size <= INPUT_BYTES and len(tail) < INPUTS_IN_FRAME:
            tail.append(item)
            self._tail_bytes += size
        else:
            self._parts.append([item])
            self._tail_bytes = size
        self._input_bytes += size
        return True

    def _close_beats(self) -> None:
        beats, self._open = self._open, {}
        self._closed_beats += len(beats)
        self._parts.append(beats if len(beats) <= BEATS_IN_FRAME else _ManyBeats(beats))

    # -- sending

    def release(self) -> None:
        """Lets `take` return all that waits. What is put after that has been taken waits for the next call."""
        self._is_due = True

    def take(self, now_ms: int) -> bytes | None:
        """Returns the frame to be sent next. None: nothing is due, or too many batches are on their way."""
        while self._is_due and len(self._sent) < WINDOW:
            if self._parts and not self._parts[0]:  # it was taken back
                self._parts.popleft()
                continue
            if not self._parts:
                if not self._open:
                    self._is_due = False
                    return None
                self._close_beats()
            part = self._parts.popleft()
            if isinstance(part, _ManyBeats):
                many, part = part, part.take()
                if many.left:
                    self._parts.appendleft(many)
            try:
                number = self._last + 1
                made = pack_beats(number, now_ms, part) if isinstance(part, dict) else pack_inputs(number, now_ms, part)
            except Exception:
                _logger.exception("a batch of %d cannot be sent, and is dropped", len(part))
                self._counts["unsendable"] += len(part)
                self._forget(part)
                continue
            self._last += 1
            self._sent.append(part)
            return made
        return None

    def acknowledge(self, number: int) -> bool:
        """Forgets the batches up to this one. Returns False if it was never sent."""
        if number > self._last:
            return False
        self._looked_bytes = 0
        for _ in range(number - (self._last - len(self._sent))):
            self._forget(self._sent.popleft())
        return True

    def resume(self, handled: int) -> None:
        """Begins a new connection. handled: the last batch that the other side has handled, also of an earlier feed of
        this monitor, whose numbers go on; 0: it remembers none."""
        self.acknowledge(min(handled, self._last))
        self._last = handled or self._last - len(self._sent)
        if self._sent:
            self._parts.extendleft(reversed(self._sent))
            self._counts["batches_again"] += len(self._sent)
            self._sent.clear()
        self.release()

    def take_back(self, wanted: Callable[[Input], bool]) -> list[Input]:
        """Returns inputs, which are not sent again: the other side may have handled those that were sent, or may yet.
        O(inputs) if there are new ones since the last call."""
        if self._input_bytes == self._looked_bytes:
            return []
        taken: list[Input] = []
        for part in (*self._sent, *self._parts):
            if isinstance(part, list):
                marks = [wanted(one) for one in part]
                taken += compress(part, marks)
                part[:] = [one for one, mark in zip(part, marks, strict=True) if not mark]
        tail = self._parts[-1] if self._parts else None
        self._tail_bytes = sum(map(_size, tail)) if isinstance(tail, list) else 0
        self._input_bytes -= sum(map(_size, taken))
        self._looked_bytes = self._input_bytes
        return taken

    def _forget(self, part: dict[int, int] | list[Input]) -> None:
        if isinstance(part, dict):
            self._closed_beats -= len(part)
        else:
            self._input_bytes -= sum(map(_size, part))

    def end(self) -> Undelivered:
        """Empties it, and returns what it had."""
        beats, self._open = self._open, {}
        inputs: list[Input] = []
        for part in (*self._sent, *self._parts):
            if isinstance(part, list):
                inputs += part
                continue
            for id, heard_ms in part.items() if isinstance(part, dict) else part.rest():
                if heard_ms > beats.get(id, -1):
                    beats[id] = heard_ms
        self._sent.clear()
        self._parts.clear()
        self._closed_beats = self._input_bytes = 0
        return Undelivered(beats, inputs)


def _size(item: Input) -> int:
    return len(item.data) + _OVERHEAD
