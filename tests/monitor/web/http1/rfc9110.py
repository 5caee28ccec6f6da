# SPDX-License-Identifier: MIT
"""RFC 9110 as a table, with the forms of targets (RFC 9112, 3.2): methods, Host, Expect, Upgrade."""

from __future__ import annotations

from tests.monitor.web.http1.rows import SMUGGLED, ask, ends, keeps
from tests.monitor.web.http1.wire import HOST, chunked, get, post

H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
WEBSOCKET = (b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAA")

# 9: methods
METHODS = {
    "HEAD": keeps(ask(b"HEAD /healthz HTTP/1.1") + get(b"/ping/a"), 200, 200, methods=("HEAD",)),
    "HEAD of a ping": keeps(ask(b"HEAD /ping/a HTTP/1.1") + get(b"/ping/a"), 200, 200, methods=("HEAD",)),
    "HEAD of nothing": keeps(ask(b"HEAD /nowhere HTTP/1.1") + get(b"/ping/a"), 404, 200, methods=("HEAD",)),
    "HEAD that is refused": keeps(ask(b"HEAD /api/v1/beats HTTP/1.1") + get(b"/ping/a"), 405, 200, methods=("HEAD",)),
    "PUT where it is not allowed": keeps(
        b"PUT /ping/a HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, 405
    ),
    "TRACE": keeps(ask(b"TRACE /ping/a HTTP/1.1"), 405),
    "PROPFIND": keeps(ask(b"PROPFIND /healthz HTTP/1.1"), 405),
    "an unknown method": ends(ask(b"SMUGGLE /ping/a HTTP/1.1"), 501),
    "an unknown method with a body": ends(
        b"SMUGGLE /ping/a HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, 501
    ),
    "a method in small letters": ends(ask(b"get /ping/a HTTP/1.1"), 501),
    "a method that is no token": ends(ask(b"G[]T /ping/a HTTP/1.1"), 400),
    "a method of another protocol": ends(ask(b"SOURCE /ping/a HTTP/1.1"), 501),
    "CONNECT": ends(ask(b"CONNECT example.com:443 HTTP/1.1"), 501),
    "CONNECT with a body": ends(
        b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, 501
    ),
}

# 7.1, and RFC 9112, 3.2: the target
TARGETS = {
    "a query without a value": keeps(get(b"/healthz"), 200),
    "a percent-encoded letter": keeps(get(b"/%68ealthz"), 200),
    "percent-encoded slashes": keeps(get(b"/%2fhealthz"), 404),
    "a wrong percent-encoding": keeps(get(b"/healthz%zz"), 404),
    "dot segments": keeps(get(b"/api/../healthz"), 404),
    "percent-encoded dot segments": keeps(get(b"/api/%2e%2e/healthz"), 404),
    "dot segments above the root": keeps(get(b"/../../etc/passwd"), 404),
    "two slashes": keeps(get(b"//healthz"), 404),
    "a backslash": keeps(get(b"/\\healthz"), 404),
    "a fragment": ends(get(b"/healthz#x"), 400),
    "no slash": ends(get(b"healthz"), 400),
    "an absolute URL": keeps(get(b"http://localhost/healthz"), 200),
    "an absolute URL with a query": keeps(get(b"http://localhost/ping?key=a"), 200),
    "an absolute URL without a path": keeps(get(b"http://localhost"), 200),
    "an absolute URL in capitals": keeps(get(b"HTTP://LOCALHOST/healthz"), 200),
    "an absolute URL with an address": keeps(get(b"http://[::1]:80/healthz"), 200),
    "an absolute URL of another host": keeps(get(b"http://evil.example/ping/a"), 421),
    "an absolute URL of another host, which may ask for this": keeps(get(b"http://evil.example/healthz"), 200),
    "an absolute URL, and the Host of another": keeps(
        ask(b"GET http://localhost/healthz HTTP/1.1", host=b"Host: evil.example\r\n"), 200
    ),
    "an absolute URL without Host": ends(ask(b"GET http://localhost/healthz HTTP/1.1", host=b""), 400),
    "an absolute URL in HTTP/1.0 without Host": ends(ask(b"GET http://localhost/healthz HTTP/1.0", host=b""), 200),
    "an absolute URL without a host": ends(get(b"http:///healthz"), 400),
    "an absolute URL with a user": ends(get(b"http://localhost@evil.example/healthz"), 400),
    "an absolute URL of another scheme": ends(get(b"ftp://localhost/healthz"), 400),
    "an authority": ends(get(b"localhost:80"), 400),
    "OPTIONS *": keeps(ask(b"OPTIONS * HTTP/1.1"), 200),
    "OPTIONS of the server by its URL": keeps(ask(b"OPTIONS http://localhost HTTP/1.1"), 200),
    "GET *": ends(ask(b"GET * HTTP/1.1"), 400),
    "OPTIONS of a path": keeps(ask(b"OPTIONS /healthz HTTP/1.1"), 405),
}

# 7.2: Host
HOSTS = {
    "an address with a port": keeps(ask(b"GET /healthz HTTP/1.1", host=b"Host: 127.0.0.1:8900\r\n"), 200),
    "an IPv6 address": keeps(ask(b"GET /healthz HTTP/1.1", host=b"Host: [::1]:8900\r\n"), 200),
    "an empty port": keeps(ask(b"GET /healthz HTTP/1.1", host=b"Host: localhost:\r\n"), 200),
    "no Host": ends(ask(b"GET /healthz HTTP/1.1", host=b""), 400),
    "two Hosts": ends(ask(b"GET /healthz HTTP/1.1", host=HOST + b"Host: evil.example\r\n"), 400),
    "two equal Hosts": ends(ask(b"GET /healthz HTTP/1.1", host=HOST + HOST), 400),
    "two Hosts in HTTP/1.0": ends(ask(b"GET /healthz HTTP/1.0", host=HOST + HOST), 400),
    "a Host with a user": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: localhost@evil\r\n"), 400),
    "a Host with a path": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: localhost/x\r\n"), 400),
    "a Host with a scheme": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: http://localhost\r\n"), 400),
    "a Host with a space": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: local host\r\n"), 400),
    "a list of Hosts": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: localhost, evil\r\n"), 400),
    "a Host with a wrong port": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: localhost:x\r\n"), 400),
    "a Host with two ports": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: localhost:80:80\r\n"), 400),
    "a Host that is not ASCII": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: \xc3\xa9\r\n"), 400),
    "half a bracket": ends(ask(b"GET /healthz HTTP/1.1", host=b"Host: [::1\r\n"), 400),
    "the Host of another": keeps(ask(b"GET /api/v1/stats HTTP/1.1", host=b"Host: evil.example\r\n"), 421),
}

# 10.1.1: Expect
EXPECTATIONS = {
    "continue": keeps(post(b"/ping/a", b"xyz", b"Expect: 100-continue"), 200),
    "continue, in capitals": keeps(post(b"/ping/a", b"xyz", b"Expect: 100-Continue"), 200),
    "continue, chunked": keeps(
        post(b"/ping/a", chunked(b"xyz"), b"Expect: 100-continue", b"Transfer-Encoding: chunked", length=False), 200
    ),
    "continue without a body": keeps(get(b"/ping/a", b"Expect: 100-continue"), 200),
    "an empty expectation": keeps(get(b"/ping/a", b"Expect:"), 200),
    "an unknown expectation": ends(post(b"/ping/a", b"xyz", b"Expect: 200-ok"), 417),
    "an unknown expectation in a list": ends(post(b"/ping/a", b"xyz", b"Expect: 100-continue, x=y"), 417),
    "two expectations": ends(post(b"/ping/a", b"xyz", b"Expect: 100-continue", b"Expect: x"), 417),
    "an expectation in HTTP/1.0": ends(ask(b"GET /ping/a HTTP/1.0", b"Expect: 100-continue"), 200),
}

# 7.8: Upgrade, which a server may ignore
UPGRADES = {
    "h2c with a body": keeps(post(b"/ping/a", SMUGGLED, *H2C), 200),
    "h2c, chunked": keeps(post(b"/ping/a", chunked(SMUGGLED), *H2C, b"Transfer-Encoding: chunked", length=False), 200),
    "h2c, and a request behind it": keeps(post(b"/ping/a", SMUGGLED, *H2C) + get(b"/nowhere"), 200, 404),
    "h2c with odd framing": ends(post(b"/ping/a", SMUGGLED, *H2C, b"Content-Length: 3"), 400),
    "h2c without Host": ends(ask(b"GET /ping/a HTTP/1.1", *H2C, host=b""), 400),
    "a websocket": keeps(get(b"/ping/a", *WEBSOCKET), 200),
    "a websocket with a body": keeps(post(b"/ping/a", SMUGGLED, *WEBSOCKET) + get(b"/ping/a"), 200, 200),
}

ROWS = METHODS | TARGETS | HOSTS | EXPECTATIONS | UPGRADES
