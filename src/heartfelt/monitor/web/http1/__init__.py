# SPDX-License-Identifier: MIT
"""The HTTP/1.1 protocol of `heartfelt serve`, for `uvicorn.Config(http=protocol_class(guard))`.

uvicorn accepts connections, keeps the date header and shuts down; a connection is ours, from the bytes to the ASGI
calls. uvicorn's own class over httptools is not subclassed, for three reasons that lie in its core:

- It parses all that arrives and makes a request/response cycle for each request, without a bound. llhttp cannot pause
  in the middle of a piece of data through httptools, so the bytes must be cut before they reach the parser.
- At a head with `Upgrade`, llhttp stops, skips the body and takes the bytes that follow it for the next request.
- Trailers of a chunked body are appended to the request's headers, without a bound.

Here the parser sees complete heads only. Bodies are counted or decoded by our own code, one request at a time: the next
request on a connection is not looked at before the answer to the one before is complete and the client reads.

connection.py   a connection: from bytes to requests, flow control, keep-alive, refusals
link.py         its transport: clients that do not read, the end
exchange.py     one request and its response: ASGI's scope, receive and send
head.py         a request's head, and how its body is framed
chunked.py      the chunked coding
guard.py        time limits and counters of all connections of a server
"""

from __future__ import annotations

from heartfelt.monitor.web.http1.connection import Connection, protocol_class
from heartfelt.monitor.web.http1.guard import RequestGuard

__all__ = ["Connection", "RequestGuard", "protocol_class"]
