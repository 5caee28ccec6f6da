# SPDX-License-Identifier: MIT
"""A connection of the test server's that carries Sermant's frames."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from heartfelt.wire import FrameDecoder, FrameError
from heartfelt.wire.frames import EVENT, GOODBYE, HEARTBEAT, TOKEN

if TYPE_CHECKING:
    from tests.agent.server import Server


class SermantConnection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._decoder = FrameDecoder()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.opened_one(transport)

    def data_received(self, data: bytes) -> None:
        server = self._server
        for item in self._decoder.feed(data):
            if isinstance(item, FrameError):
                server.take(("errors", f"{item.reason}: {item}"))
                if item.fatal:
                    self._transport.abort()
            elif item.kind == HEARTBEAT:
                server.beat(item.data)
            elif item.kind == GOODBYE:
                server.beat(item.data, "goodbyes")
            elif item.kind == EVENT:
                server.beat(item.data, "events")
            elif item.kind == TOKEN:
                server.take(("tokens", item.data.decode()))

    def connection_lost(self, error: Exception | None) -> None:
        self._server.closed_one(self._transport)
