# SPDX-License-Identifier: MIT
"""Accepts TLS connections, for `uvicorn.Server.servers`. Handshakes have little time, and count as connections.

`loop.create_server(ssl=...)` would give each 60 s, outside all limits, and would not say which failed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from heartfelt.monitor.tasks import end_tasks
from heartfelt.monitor.web.http1.guard import RequestGuard
from heartfelt.monitor.web.http1.link import address

__all__ = ["TlsListener"]

HANDSHAKE_S = 10.0
ACCEPTS_AT_ONCE = 64
RETRY_S = 1.0
"""Accepting pauses for this long after an error, such as too few descriptors, and at the limit of connections."""
END_S = 1.0
_logger = logging.getLogger("heartfelt.monitor.http")


class TlsListener:
    """Accepts on a listening socket that does not block. Belongs to the loop's thread.

    make: makes the protocol of a connection. open_now: returns how many connections are open, beyond those whose
    handshake is not complete. most: the limit of both together; None: there is none.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        guard: RequestGuard,
        *,
        make: Callable[[], asyncio.Protocol],
        open_now: Callable[[], int],
        most: int | None,
    ) -> None:
        self._listening, self._context, self._guard = listening, context, guard
        self._make, self._open_now, self._most = make, open_now, most
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._loop.add_reader(listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if self._most is not None and len(self._handshakes) + self._open_now() >= self._most:
                self._guard.over_limit += 1
                self._pause(f"{self._most} connections are open (limits.connections)")
                return
            try:
                accepted, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._guard.accept_errors += 1
                self._pause(f"cannot accept a connection: {error}")
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._shake(accepted, peer), name="http handshake")
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _pause(self, why: str) -> None:
        _logger.warning("http: %s; accepting again in %g s", why, RETRY_S)
        self._loop.remove_reader(self._listening.fileno())
        self._retry = self._loop.call_later(RETRY_S, self._resume)

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listening.fileno(), self._accept)
        self._accept()

    async def _shake(self, accepted: socket.socket, peer: object) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make, accepted, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except (OSError, asyncio.TimeoutError) as error:  # ssl.SSLError is an OSError
            accepted.close()
            self._guard.failed_handshakes += 1
            client = address(peer)
            shown = f"{client[0]}:{client[1]}" if client else "unknown"
            self._guard.warn(shown, f"the TLS handshake failed: {type(error).__name__}: {error}")
        except BaseException:
            accepted.close()
            raise

    # -- what uvicorn calls

    def close(self) -> None:
        """Accepts nothing more. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
        else:
            self._loop.remove_reader(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Ends the handshakes. Takes at most END_S."""
        await end_tasks(self._handshakes, seconds=END_S)
