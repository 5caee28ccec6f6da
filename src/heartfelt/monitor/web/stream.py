# SPDX-License-Identifier: MIT
"""Server-sent events. Each message is encoded once for all viewers.

Each message has a topic and a number. The newest are kept in a ring, so that a viewer that reconnects with its last
number continues from there. A viewer that is too slow, or comes back too late, gets `resync` instead of the messages it
missed, and must read everything again. So a viewer costs the monitor a bounded queue, and the monitor never waits. All
queues together are bounded, too: beyond that, those of the slowest viewers are emptied.

| topic | data |
|---|---|
| change | a change of state of an instance |
| event | an event of an agent |
| hold | the hold, when it changes |
| held | [id, ...]: instances whose loss is held from now on, until their next change; at most 4 times a second |
| acks | [{id, ack}, ...]: instances with a new acknowledgement, or none any more (null); at most 4 times a second |
| counts | instances by state, in total and of each service that changed; at most 4 times a second |
| beats | [[id, last_beat_ms], ...]: instances that have beaten since the last message; at most 2 times a second |
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.web.viewers import COMMENT, Backlogs, Queued, Viewer, nothing_unsent

__all__ = ["COMMENT", "TOPICS", "Stream", "TooManyViewers", "Viewer"]

TOPICS = ("change", "event", "hold", "held", "acks", "counts", "beats")
FIGURES: Figures = {
    "viewers": gauge("heartfelt_stream_viewers", "Event streams that are open now, one for each viewer"),
    "messages": counter("heartfelt_stream_messages", "Messages that were published"),
    "bytes_published": counter("heartfelt_stream_published_bytes", "Size of the published messages", unit="bytes"),
    "kept": gauge("heartfelt_stream_kept", "Messages that are kept for viewers who reconnect"),
    "waiting_bytes": gauge(
        "heartfelt_stream_waiting_bytes", "Memory taken by what viewers have not read yet", unit="bytes"
    ),
    "emptied": counter(
        "heartfelt_stream_emptied", "Viewers whose backlog was dropped since all together were above http.viewers_bytes"
    ),
    "resyncs": counter("heartfelt_stream_resyncs", "Times that a viewer had to load everything again"),
    "refused": counter("heartfelt_stream_refused", "Streams that were refused because too many were open"),
    "token_revoked": counter("heartfelt_stream_token_revoked", "Streams that ended because their token was revoked"),
}
WARN_EVERY_S = 60.0
_logger = logging.getLogger("heartfelt.monitor")


class TooManyViewers(Exception):
    """The limit of open streams, or of all viewers' backlogs together, is reached."""


class StreamMessage(NamedTuple):
    number: int
    topic: str
    queued: Queued


class Stream:
    """Belongs to the loop's thread. `publish` costs one encoding, and an append for each viewer who wants the topic."""

    def __init__(
        self,
        *,
        most_viewers: int = 500,
        ring_messages: int = 20_000,
        ring_bytes: int = 16 << 20,
        viewer_bytes: int = 4 << 20,
        viewers_bytes: int = 64 << 20,
        comment_s: float = 15.0,
    ) -> None:
        self.epoch = secrets.token_hex(4)
        self._number = 0
        self._ring: deque[StreamMessage] = deque()
        self._ring_bytes = 0
        self._dropped = 0  # number of the newest message that has left the ring
        self._most_messages, self._most_bytes = ring_messages, ring_bytes
        self._most_viewers, self._viewer_bytes, self._comment_s = most_viewers, viewer_bytes, comment_s
        self._viewers: set[Viewer] = set()
        self._backlogs = Backlogs()
        self._most_backlogs = viewers_bytes
        self._emptied = 0
        self._warn_from_s = 0.0
        self._encode = msgspec.json.Encoder().encode
        self._closed = False
        self._resyncs = 0
        self._refused = 0
        self._revoked = 0
        self._bytes_published = 0

    @property
    def last_id(self) -> str:
        """The id of the newest message."""
        return f"{self.epoch}-{self._number}"

    @property
    def watched(self) -> bool:
        """Whether there is a viewer. If not, data that only viewers need is not worth making."""
        return bool(self._viewers)

    def publish(self, topic: str, value: Any) -> None:
        if self._closed:
            return
        self._number += 1
        text = self._encode(value)
        data = b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (self.epoch.encode(), self._number, topic.encode(), text)
        self._bytes_published += len(data)
        message = Queued(data)
        if topic != "beats":  # the next ones replace them
            self._keep(StreamMessage(self._number, topic, message))
        for viewer in self._viewers:
            if topic in viewer.topics and not viewer.offer(message):
                self._resyncs += 1
                viewer.offer(self._resync("you did not keep up"))
        if self._backlogs.n_bytes > self._most_backlogs:
            self._empty_slowest()

    def resync(self, reason: str) -> None:
        """Makes all viewers load everything again."""
        message = self._resync(reason)
        for viewer in self._viewers:
            self._resyncs += 1
            viewer.offer(message)

    def _empty_slowest(self) -> None:
        """Drops the largest backlogs until all together are at half of their limit. O(viewers log viewers)."""
        resync = self._resync("all viewers together did not keep up")
        for viewer in sorted(self._viewers, key=lambda one: one.waiting, reverse=True):
            if self._backlogs.n_bytes <= self._most_backlogs // 2 or not viewer.waiting:
                break
            viewer.clear()
            viewer.offer(resync)
            self._emptied += 1
            self._resyncs += 1
        now_s = time.monotonic()
        if now_s >= self._warn_from_s:
            self._warn_from_s = now_s + WARN_EVERY_S
            _logger.warning("stream: viewers did not read %d bytes (http.viewers_bytes)", self._most_backlogs)

    def _keep(self, message: StreamMessage) -> None:
        self._ring.append(message)
        self._ring_bytes += len(message.queued.data)
        while len(self._ring) > self._most_messages or self._ring_bytes > self._most_bytes:
            oldest = self._ring.popleft()
            self._ring_bytes -= len(oldest.queued.data)
            self._dropped = oldest.number

    def _resync(self, reason: str) -> Queued:
        text = self._encode({"reason": reason, "epoch": self.epoch, "seq": self._number})
        return Queued(b"id: %s\nevent: resync\ndata: %s\n\n" % (self.last_id.encode(), text))

    def _since(self, last_id: str | None, topics: frozenset[str]) -> list[Queued]:
        """Returns the first messages for a viewer that comes with this id."""
        if last_id is None:
            return [self._resync("welcome")]
        epoch, _, number_text = last_id.partition("-")
        number = int(number_text) if number_text.isascii() and number_text.isdigit() and len(number_text) < 19 else -1
        if epoch != self.epoch or number > self._number or number < 0:
            return [self._resync("the monitor has restarted")]
        if number < self._dropped:
            return [self._resync("you were away for too long")]
        missed: list[Queued] = []
        for message in reversed(self._ring):
            if message.number <= number:
                break
            if message.topic in topics:
                missed.append(message.queued)
        return missed[::-1]

    def open(
        self,
        topics: frozenset[str],
        last_id: str | None,
        allowed: Callable[[], bool] | None = None,
        unsent: Callable[[], int] = nothing_unsent,
    ) -> Viewer:
        """Adds a viewer. It gets the messages it missed since `last_id`, then all new ones. Raises TooManyViewers.

        allowed: called when a token was revoked (`ask_again`); False ends the viewer. None: it may stay.
        unsent: returns how many bytes of what the viewer was given wait in its connection's buffer.
        """
        is_full = len(self._viewers) >= self._most_viewers or self._backlogs.n_bytes > self._most_backlogs
        if is_full or self._closed:
            self._refused += 1
            raise TooManyViewers
        viewer = Viewer(topics, self._viewer_bytes, self._backlogs, allowed, unsent)
        for message in self._since(last_id, topics):
            if not viewer.offer(message):
                viewer.offer(self._resync("you were away for too long"))
                break
        self._viewers.add(viewer)
        return viewer

    async def read(self, viewer: Viewer) -> AsyncIterator[bytes]:
        """Yields the viewer's messages until the stream is closed, then removes the viewer."""
        try:
            yield b"retry: 2000\n\n"
            while data := await viewer.take(self._comment_s):
                yield data
        finally:
            self._forget(viewer)

    def discard(self, viewer: Viewer) -> None:
        viewer.close()
        self._forget(viewer)

    def _forget(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        viewer.end()

    def ask_again(self) -> None:
        """Ends the viewers that are no longer allowed, and drops their queues. O(viewers)."""
        ended = [viewer for viewer in self._viewers if viewer.allowed is not None and not viewer.allowed()]
        for viewer in ended:
            self.discard(viewer)
        self._revoked += len(ended)
        if ended:
            _logger.warning("token revoked: %d streams opened with it have ended", len(ended))

    def close(self) -> None:
        """Ends all viewers, after their queues have been sent."""
        self._closed = True
        for viewer in self._viewers:
            viewer.close()

    def stats(self) -> dict[str, int]:
        return {
            "viewers": len(self._viewers),
            "messages": self._number,
            "bytes_published": self._bytes_published,
            "kept": len(self._ring),
            "waiting_bytes": self._backlogs.n_bytes,
            "emptied": self._emptied,
            "resyncs": self._resyncs,
            "refused": self._refused,
            "token_revoked": self._revoked,
        }

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
