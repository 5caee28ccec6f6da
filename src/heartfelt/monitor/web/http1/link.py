# SPDX-License-Identifier: MIT
"""The transport's side of a connection: writing to a client that may not read, and closing."""

from __future__ import annotations

import asyncio
from typing import Any

from heartfelt.monitor.peer import plain_address
from heartfelt.monitor.web.http1.guard import RequestGuard

CLOSE_S = 0.2
"""How long a connection that closes has for its client's answer when the server stops."""


class HttpLink(asyncio.Protocol):
    """Base of ServerConnection, which reads. `guard` is set by `protocol_class`."""

    guard: RequestGuard

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._peer = ""
        self.writable: asyncio.Event | None = None
        """None: there is room to write. Otherwise it is set when there is room again, or the connection is lost."""
        self._unsent = 0
        self._reading_paused = False
        self._stopping = False
        self.at_eof = False
        """The client has closed its side."""
        self.ending = False
        """Nothing more is read or written."""

    # -- writing

    def write(self, data: bytes) -> None:
        if not self.ending:
            self._transport.write(data)

    def pause_writing(self) -> None:
        if self.writable is None:
            self.writable = asyncio.Event()
            self._watch_sending()

    def resume_writing(self) -> None:
        if self.writable is not None:
            self.writable.set()
            self.writable = None
            if not self.ending:
                self.guard.sending.end(self)
                self._advance()

    def _advance(self) -> None:
        """Processes received data as far as possible."""
        raise NotImplementedError

    def request_timed_out(self) -> None:
        """Called when a request was not complete in time."""
        raise NotImplementedError

    def idle_timed_out(self) -> None:
        """Called when no request has begun for too long."""
        raise NotImplementedError

    def _watch_sending(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self.guard.sending.begin(self, self._loop)

    def send_timed_out(self) -> None:
        """Goes on waiting for a client that has read some of its response; disconnects one that has not."""
        if self._transport.get_write_buffer_size() < self._unsent:
            self._watch_sending()
        else:
            self.give_up()

    def give_up(self) -> None:
        """Disconnects a client that does not read its response, and drops what waits for it."""
        unsent = self._transport.get_write_buffer_size()
        self.guard.unread_answers += 1
        self.guard.warn(self._peer, f"read none of {unsent} bytes of responses for too long; the connection is closed")
        self.ending = True
        self._transport.abort()

    # -- the end

    def _end(self, *, reads_on: bool) -> None:
        """Closes the connection when everything written has been sent.

        reads_on: the client may still be sending. What it sends is read and dropped for a while: a connection that is
        closed with unread data is reset, and the client might lose the response (RFC 9112, 9.6).
        """
        self.ending = True
        if self._transport.is_closing():
            return
        self.guard.forget(self)
        if reads_on and not self.at_eof and not self._stopping:
            if self._reading_paused:
                self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self.guard.lingering.begin(self, self._loop)
        else:
            self._close()

    def _close(self) -> None:
        self._transport.close()
        self._watch_sending()
        if self._stopping:
            self._loop.call_later(CLOSE_S, self._abort_when_sent)

    def _abort_when_sent(self) -> None:
        """Ends a TLS connection when everything was sent: it would stay open until its client answers the close."""
        if self._transport.get_write_buffer_size():
            self._loop.call_later(CLOSE_S, self._abort_when_sent)
        else:
            self._transport.abort()

    def linger_timed_out(self) -> None:
        self._close()

    def _stop_lingering(self) -> None:
        if self in self.guard.lingering:
            self.guard.lingering.end(self)
            self._close()


def address(info: Any) -> tuple[str, int | None] | None:
    """Converts a socket's address to ASGI's form. An IPv4 address is written as such, also on a socket for both."""
    if isinstance(info, tuple):
        return plain_address(str(info[0])), int(info[1])
    return (info, None) if isinstance(info, str) and info else None
