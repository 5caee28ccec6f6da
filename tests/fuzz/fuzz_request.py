# SPDX-License-Identifier: MIT
"""Compares the two readers of HTTP requests: `python -m tests.fuzz.fuzz_request [SECONDS [SEED]]`.

The door's splitter in C takes a few forms only, and the general server all others. Bytes that the door takes must mean
the same to the general server, to the last byte: otherwise a request could be smuggled past one of them.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import time

from tests.fuzz import time_limit

if missing := [name for name in ("heartfelt._door", "httptools", "msgspec") if importlib.util.find_spec(name) is None]:
    print(f"0 requests: {missing[0]} is not installed")
    sys.exit(0)

import httptools

from heartfelt._door import split
from heartfelt.monitor.ingest.ping_words import PingWords
from heartfelt.monitor.web.http1.head import BadRequest, HeadParser

MOST_HEAD, MOST_BODY = 8192, 4000
_TARGETS = [
    b"/ping/a", b"/ping/shop/7", b"/ping/a/start", b"/ping/START", b"/ping/a/ok?rid=3", b"/ping?key=a", b"/ping",
    b"/ping/a%2Fb", b"/api/v1/beats", b"/api/v1/beats?x", b"/api/v1/beat", b"/pings", b"http://h/ping/a", b"*",
    b"/ping/a/", b"/ping/a/-3", b"/ping/a/12345678901", b"/ping//a", b"/ping/?", b"/ping/a#b", b"/ping/\xc3\xa9",
]  # fmt: skip
_LINES = [
    b"Host: localhost", b"host:localhost:8900", b"HOST: \t[::1] ", b"Host: a b", b"Host:", b"Host: a/b", b"Host: u@a",
    b"Host: a%2Eb:80", b"Host: a%zz", b"Host: [::1", b"Host: []", b"Host: [::1]:", b"Host: [::1]80", b"Host: a:8x",
    b"Host: a:80:80", b"Host: (a)", b"Content-Length: 3",
    b"content-length:0", b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length: 003",
    b"Content-Length: 0x3",
    b"Content-Length: 99999999999999999999", b"Content-Length:\t3\t", b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",    b"Connection: close", b"Connection: Keep-Alive", b"connection: close, x",
    b"Connection: upgrade", b"Upgrade: h2c",
    b"Proxy-Connection: close", b"Authorization: Bearer x", b"Accept: */*", b"User-Agent: curl/8", b"X-Own: 1",
    b" folded",    b"Content-Type: application/json", b"Content-Encoding: gzip", b"Origin: http://evil",
    b"Cookie: a=b", b"No colon",
    b"Content-Length : 3", b"Accept:", b"Accept: \x80", b"Accept: a\0b", b"Accept: a\rb", b"Accept: a\nb", b": x",
    b"Traceparent: 00-1-2-01", b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=1", b"X-Real-IP: 9.9.9.9",
    b"Trailer: x",
]  # fmt: skip
_PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET ",
    b"%00",
    b"Content-Length: 1\r\n",
]


def made(chance: random.Random) -> bytes:
    """Makes a request, good or bad, perhaps with another one behind it."""
    parts = []
    for _ in range(chance.choice((1, 1, 2))):
        method = chance.choice((b"GET", b"POST", b"POST", b"HEAD", b"PUT", b"get", b"GE"))
        version = chance.choice((b"HTTP/1.1",) * 9 + (b"HTTP/1.0",))
        lines = [b" ".join((method, chance.choice(_TARGETS), version))]
        if chance.random() < 0.9:
            lines.append(chance.choice(_LINES[:16] if chance.random() < 0.2 else _LINES[:3]))
        lines += chance.choices(_LINES, k=chance.randrange(4))
        parts.append(b"\r\n".join(lines) + b"\r\n\r\n" + b"{}x"[: chance.randrange(4)])
    data = bytearray(b"".join(parts))
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        at = chance.randrange(len(data))
        if chance.random() < 0.4:
            data[at] = chance.randrange(256)
        elif chance.random() < 0.5:
            del data[at : at + chance.randrange(1, 4)]
        else:
            data[at:at] = chance.choice(_PIECES)
        if not data:
            return b"x"
    return bytes(data)


def check(data: bytes) -> bool:
    """Compares the readings. Returns whether the door takes the request at the start of the data."""
    found = split(data, MOST_HEAD, MOST_BODY)
    if found is None:
        return False
    method, path, query, host, authorization, body, key, must_close, length = found
    end = data.find(b"\r\n\r\n") + 4
    parser = HeadParser()
    try:
        parser.parse(data[:end])
        text, raw_path, sent_query = parser.target
    except (BadRequest, httptools.HttpParserError) as error:
        raise AssertionError(f"the general server refuses {data!r}: {error}") from None
    headers = parser.headers
    assert (parser.method, raw_path, sent_query) == (method, path, query or b""), data
    assert parser.version == "1.1" and parser.keep_alive == (not must_close) and not parser.expects_continue, data
    assert (parser.length, end + parser.length) == (len(body), length), data
    assert data[end:length] == body, data
    assert [value for name, value in headers if name == b"host"] == [host], data
    assert [value for name, value in headers if name == b"authorization"] == (
        [] if authorization is None else [authorization]
    )
    for name, _ in headers:
        assert not name.startswith((b"x-forwarded", b"proxy", b"sec-", b"forwarded", b"origin", b"transfer")), data
    if text.startswith("/ping/") and not query and not body and b"%" not in path and query is None:
        assert key == PingWords.plain_key(path[5:], encoded=True) or (key is None and path == b"/ping/"), data
    else:
        assert key is None, data
    assert split(data[:length], MOST_HEAD, MOST_BODY) == found, data
    for n in range(0, length, 7):
        assert split(data[:n], MOST_HEAD, MOST_BODY) is None, (n, data)
    return True


def run(n: int, seed: int) -> int:
    """Checks n requests. Returns how many the door took."""
    chance = random.Random(seed)
    return sum(check(made(chance)) for _ in range(n))


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    first = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().getrandbits(40)
    end = time.monotonic() + seconds
    time_limit.limit(seconds)
    seed, taken = first, 0
    while time.monotonic() < end:
        try:
            taken += run(1000, seed)
        except Exception:
            print(f"seed {seed} fails: {sys.argv[0]} 5 {seed}", file=sys.stderr)
            raise
        seed += 1
    print(f"{1000 * (seed - first)} requests from seed {first} on, {taken} taken by the door: nothing wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
