# SPDX-License-Identifier: MIT
"""The HTTP/1.1 server of `heartfelt serve`: the lane, and a protocol, for `uvicorn.Config(http=protocol_class(guard))`.

On Linux without TLS the lane accepts all connections. It serves pings and single heartbeats itself, in C and without
ASGI, in less than a third of the time of an empty application. At the first bytes that are anything else, the
connection is handed over to a ServerConnection, and stays one. So a connection in the lane is fresh or idle between
complete requests, and whatever takes time, or has limits of its own, exists once. With TLS a TlsListener accepts, on
other systems uvicorn.

uvicorn stays for what is handed over: it maintains the date header, ends requests gracefully, and knows the
connections. It costs nothing when it is idle, and `create_app()` runs under any ASGI server, this one included.

ServerConnection handles a connection, from bytes to ASGI calls. uvicorn's own class over httptools is not subclassed,
for three reasons that lie in its core:

- It parses everything that arrives and creates a request/response cycle for each request, without a bound. Through
  httptools, llhttp cannot pause within a piece of data, so the bytes must be split before they reach the parser.
- At a head with `Upgrade`, llhttp stops, skips the body and takes the following bytes for the next request.
- Trailers of a chunked body are appended to the request's headers, without a bound.

Here the parser sees complete heads only. Bodies are counted or decoded by our own code, one request at a time: the next
request on a connection is not parsed until the previous response is complete and the client reads it.

lane.py         accepts connections; serves pings and heartbeats, hands over the others
connection.py   a connection: from bytes to requests, flow control, keep-alive, refusals
link.py         its transport: clients that do not read, closing
exchange.py     one request and its response: ASGI's scope, receive and send
head.py         a request's head, and the framing of its body
chunked.py      the chunked coding
tls.py          accepts TLS connections: limits of their handshakes
guard.py        time limits and counters of all connections of a server
"""

from __future__ import annotations

from heartfelt.monitor.web.http1.connection import ServerConnection, protocol_class
from heartfelt.monitor.web.http1.guard import RequestGuard
from heartfelt.monitor.web.http1.tls import TlsListener

__all__ = ["RequestGuard", "ServerConnection", "TlsListener", "protocol_class"]
