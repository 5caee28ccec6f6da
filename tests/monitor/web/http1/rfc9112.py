# SPDX-License-Identifier: MIT
"""RFC 9112 as a table: framing, syntax and connections. `rows.py` says what a row is and sends it."""

from __future__ import annotations

from tests.monitor.web.http1.rows import SMUGGLED, ask, coded, ends, keeps, sized
from tests.monitor.web.http1.wire import HOST, chunked, get, post

# 2, 3: the message and its first line
MESSAGE = {
    "plain": keeps(post(b"/ping/a", b"xyz"), 200),
    "blank lines before a request": keeps(b"\r\n\r\n" + post(b"/ping/a", b"xyz") + b"\r\n\r\n\r\n", 200),
    "lines that end with LF": ends(b"GET /ping/a HTTP/1.1\nHost: localhost\n\n", 400),
    "one line that ends with LF": ends(b"GET /ping/a HTTP/1.1\r\nHost: localhost\nX-A: b\r\n\r\n", 400),
    "a blank line that ends with LF": ends(b"GET /ping/a HTTP/1.1\r\nHost: localhost\r\n\n", 400),
    "a bare CR": ends(b"GET /ping/a HTTP/1.1\r\nHost: localhost\rX-A: b\r\n\r\n", 400),
    "a bare CR before a line": ends(b"GET /ping/a HTTP/1.1\r\nHost: localhost\r\n\rX-A: b\r\n\r\n", 400),
    "a bare CR in the first line": ends(b"GET /ping/a\r HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no version": ends(b"GET /ping/a\r\n\r\n", 400),
    "no version, and a header": ends(b"GET /ping/a\r\n" + HOST + b"\r\n", 400),
    "a space for the version": ends(b"GET / \r\n\r\n", 400),
    "a line alone": ends(b"GET\r\n\r\n", 400),
    "HTTP/0.9": ends(b"GET /ping/a HTTP/0.9\r\n\r\n", 505),
    "HTTP/1.2": keeps(ask(b"GET /ping/a HTTP/1.2"), 200),
    "HTTP/1.9 with a body": keeps(
        b"POST /ping/a HTTP/1.9\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, 200
    ),
    "HTTP/1.10": ends(ask(b"GET /ping/a HTTP/1.10"), 505),
    "HTTP/01.1": ends(ask(b"GET /ping/a HTTP/01.1"), 505),
    "HTTP/2.0": ends(ask(b"GET /ping/a HTTP/2.0"), 505),
    "HTTP/9.9": ends(ask(b"GET /ping/a HTTP/9.9"), 505),
    "HTTP/1": ends(ask(b"GET /ping/a HTTP/1"), 505),
    "http/1.1": ends(ask(b"GET /ping/a http/1.1"), 400),
    "HTTP/2's preface": ends(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505),
    "TLS": ends(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32, 400),
    "another protocol": ends(b"SOURCE /ping/a ICE/1.0\r\n\r\n", 400),
    "text before the method": ends(ask(b"Extra lineGET / HTTP/1.1"), 501),
    "a space before the method": ends(ask(b" GET /ping/a HTTP/1.1"), 400),
    "a space in the path": ends(ask(b"GET /ping/a b HTTP/1.1"), 400),
    "a tab for a space": ends(ask(b"GET\t/ping/a HTTP/1.1"), 400),
    "a NUL in the path": ends(ask(b"GET /ping/\0a HTTP/1.1"), 400),
    "a path of 70,000 bytes": ends(ask(b"GET /ping/" + b"a" * 70_000 + b" HTTP/1.1"), 414),
    "a header of 70,000 bytes": ends(get(b"/ping/a", b"X-A: " + b"a" * 70_000), 431),
    "7,000 headers": ends(get(b"/ping/a", *[b"X-%d: a" % n for n in range(7000)]), 431),
}

# 5: fields
FIELDS = {
    "an empty header, then a length": keeps(post(b"/ping/a", b"xyz", b"X-Empty:"), 200),
    "tabs around a value": keeps(get(b"/ping/a", b"X-A:\t b \t"), 200),
    "bytes above 0x7f in a value": keeps(get(b"/ping/a", b"X-A: \xc3\xa9\xff"), 200),
    "a folded header": ends(get(b"/ping/a", b"X-A: b\r\n c"), 400),
    "a header folded with a tab": ends(get(b"/ping/a", b"X-A: b\r\n\tc"), 400),
    "a folded coding": ends(coded(chunked(b"x"), b"\r\n chunked"), 400),
    "a folded length": ends(sized(b"\r\n 3"), 400),
    "space before the colon": ends(post(b"/ping/a", SMUGGLED, b"Content-Length : 4", length=False), 400),
    "tab before the colon": ends(post(b"/ping/a", SMUGGLED, b"Transfer-Encoding\t: chunked", length=False), 400),
    "a header that begins with a space": ends(b"GET /ping/a HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
    "a NUL in a value": ends(get(b"/ping/a", b"X-A: \0"), 400),
    "a control character in a value": ends(get(b"/ping/a", b"X-A: b\x07"), 400),
    "DEL in a value": ends(get(b"/ping/a", b"X-A: b\x7f"), 400),
    "a NUL in a name": ends(get(b"/ping/a", b"X-\0A: b"), 400),
    "brackets in a name": ends(get(b"/ping/a", b"X-A[]: b"), 400),
    "a name that is not ASCII": ends(get(b"/ping/a", b"X-\xc3\xa9: b"), 400),
    "a header without a name": ends(get(b"/ping/a", b": 3"), 400),
    "a header without a colon": ends(get(b"/ping/a", b"X-A"), 400),
}

# 6: the body and its length
LENGTHS = {
    "length of zero": keeps(post(b"/ping/a", b""), 200),
    "length with leading zeros": keeps(sized(b"0003"), 200),
    "length behind a tab": keeps(sized(b"\t3"), 200),
    "length before a space": keeps(sized(b"3 "), 200),
    "a body of GET": keeps(
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, 200
    ),
    "a body that nobody reads": keeps(post(b"/healthz", SMUGGLED), 405),
    "chunks that nobody reads": keeps(
        post(b"/healthz", chunked(SMUGGLED), b"Transfer-Encoding: chunked", length=False), 405
    ),
    "two lengths": ends(sized(b"0", b"5", body=SMUGGLED), 400),
    "two equal lengths": ends(sized(b"3", b"3"), 400),
    "a list of lengths": ends(sized(b"3, 3"), 400),
    "a list of different lengths": ends(sized(b"3, 4"), 400),
    "a list with nothing": ends(sized(b"3,"), 400),
    "length with a sign": ends(sized(b"+3"), 400),
    "a negative length": ends(sized(b"-3"), 400),
    "a long negative length": ends(sized(b"-123456789123456789123456789"), 400),
    "hexadecimal length": ends(sized(b"0x3"), 400),
    "length with a space": ends(sized(b"3 3"), 400),
    "length with an underscore": ends(sized(b"0_3"), 400),
    "length with a point": ends(sized(b"3.0"), 400),
    "length with an exponent": ends(sized(b"3e0"), 400),
    "length in quotes": ends(sized(b'"3"'), 400),
    "length in digits that are not ASCII": ends(sized("٣".encode()), 400),
    "empty length": ends(sized(b"", body=SMUGGLED), 400),
    "length of 5,000 digits": ends(sized(b"9" * 5000), 400),
    "length of 5,000 zeros": ends(sized(b"0" * 4999 + b"1"), 400),
    "length of 2**64 + 3": ends(sized(b"18446744073709551619"), 400),
    "length of 2**63": ends(sized(b"9223372036854775808"), 400),
}

CODINGS = {
    "chunked": keeps(coded(chunked(b"xyz", b"a" * 300)), 200),
    "CHUNKED": keeps(coded(chunked(b"xyz"), b"CHUNKED"), 200),
    "chunked before a tab": keeps(coded(chunked(b"xyz"), b"chunked\t"), 200),
    "chunks of requests": keeps(coded(chunked(SMUGGLED, SMUGGLED)), 200),
    "length, then chunked": ends(
        post(b"/ping/a", chunked(b"x"), b"Content-Length: 6", b"Transfer-Encoding: chunked", length=False), 400
    ),
    "chunked, then length": ends(
        post(b"/ping/a", chunked(b"x"), b"Transfer-Encoding: chunked", b"Content-Length: 6", length=False), 400
    ),
    "chunked, and a length of zero": ends(
        post(b"/ping/a", chunked(b"x"), b"Transfer-Encoding: chunked", b"Content-Length: 0", length=False), 400
    ),
    "chunked, identity": ends(coded(chunked(b"x"), b"chunked, identity"), 400),
    "identity, chunked": ends(coded(chunked(b"x"), b"identity, chunked"), 501),
    "identity": ends(coded(SMUGGLED, b"identity"), 400),
    "identity, and a length": ends(post(b"/ping/a", SMUGGLED, b"Transfer-Encoding: identity"), 400),
    "gzip, chunked": ends(coded(chunked(b"x"), b"gzip, chunked"), 501),
    "gzip": ends(coded(SMUGGLED, b"gzip"), 400),
    "chunked twice": ends(coded(chunked(b"x"), b"chunked", b"chunked"), 400),
    "chunked, chunked": ends(coded(chunked(b"x"), b"chunked, chunked"), 400),
    "chunked, then gzip": ends(coded(chunked(b"x"), b"chunked", b"gzip"), 400),
    "xchunked": ends(coded(chunked(b"x"), b"xchunked"), 400),
    "chunkedx": ends(coded(chunked(b"x"), b"chunkedx"), 400),
    "chunked with a parameter": ends(coded(chunked(b"x"), b"chunked;q=1"), 400),
    "chunked in quotes": ends(coded(chunked(b"x"), b'"chunked"'), 400),
    "chunked behind a vertical tab": ends(coded(chunked(b"x"), b"\x0bchunked"), 400),
    "chunked behind a comma": ends(coded(chunked(b"x"), b", chunked"), 501),
    "empty coding": ends(post(b"/ping/a", SMUGGLED, b"Transfer-Encoding:"), 400),
    "chunked in HTTP/1.0": ends(
        b"POST /ping/a HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x"), 400
    ),
}

# 7: the chunked coding
CHUNKS = {
    "extensions and trailers": keeps(
        coded(b'3;a=b;c="d \\" e"\r\nxyz\r\n0;end\r\nX-Sum: 1\r\nContent-Length: 70\r\n\r\n'), 200
    ),
    "a space before an extension": keeps(coded(b"3 ;a\r\nxyz\r\n0\r\n\r\n"), 200),
    "sizes with leading zeros": keeps(coded(b"0003\r\nxyz\r\n000\r\n\r\n"), 200),
    "sizes in both cases": keeps(coded(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), 200),
    "a trailer that is a header of framing": keeps(
        coded(b"0\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n\r\n"), 200
    ),
    "a size with 0x": ends(coded(b"0x3\r\nxyz\r\n0\r\n\r\n"), 400),
    "a size with a sign": ends(coded(b"+3\r\nxyz\r\n0\r\n\r\n"), 400),
    "a negative size": ends(coded(b"-3\r\nxyz\r\n0\r\n\r\n"), 400),
    "a size with a space": ends(coded(b"3 \r\nxyz\r\n0\r\n\r\n"), 400),
    "a space before a size": ends(coded(b" 3\r\nxyz\r\n0\r\n\r\n"), 400),
    "a size with an underscore": ends(coded(b"0_3\r\nxyz\r\n0\r\n\r\n"), 400),
    "a size of 20 digits": ends(coded(b"1" * 20 + b"\r\nxyz\r\n0\r\n\r\n"), 400),
    "a size of 5,000 digits": ends(coded(b"0" * 5000 + b"3\r\nxyz\r\n0\r\n\r\n"), 400),
    "no size": ends(coded(b"\r\nxyz\r\n0\r\n\r\n"), 400),
    "a size ended by LF": ends(coded(b"3\nxyz\r\n0\r\n\r\n"), 400),
    "a size ended by CR": ends(coded(b"3\rxyz\r\n0\r\n\r\n"), 400),
    "LF in an extension": ends(coded(b"3;a\nxyz\r\n0\r\n\r\n"), 400),
    "CR in an extension": ends(coded(b"3;a\rb\r\nxyz\r\n0\r\n\r\n"), 400),
    "NUL in an extension": ends(coded(b"3;a\0\r\nxyz\r\n0\r\n\r\n"), 400),
    "an extension of 2,000 bytes": ends(coded(b"3;" + b"a" * 2000 + b"\r\nxyz\r\n0\r\n\r\n"), 400),
    "a chunk that is too long": ends(coded(b"3\r\nxyzz\r\n0\r\n\r\n"), 400),
    "a chunk that is too short": ends(coded(b"5\r\nxyz\r\n0\r\n\r\n"), 400),
    "a chunk ended by LF": ends(coded(b"3\r\nxyz\n0\r\n\r\n"), 400),
    "a chunk ended by CR": ends(coded(b"3\r\nxyz\r0\r\n\r\n"), 400),
    "the last chunk ended by LF": ends(coded(b"3\r\nxyz\r\n0\n\n"), 400),
    "trailers ended by LF": ends(coded(b"0\r\nX-A: b\r\n\n"), 400),
    "a trailer without a colon": ends(coded(b"0\r\nGET / HTTP/1.1\r\n\r\n"), 400),
    "a folded trailer": ends(coded(b"0\r\nX-A: b\r\n c\r\n\r\n"), 400),
    "space before a trailer's colon": ends(coded(b"0\r\nX-A : b\r\n\r\n"), 400),
    "trailers of 70,000 bytes": ends(coded(b"0\r\n" + (b"X-A: " + b"b" * 900 + b"\r\n") * 77 + b"\r\n"), 400),
}

# 9: the connection
CONNECTIONS = {
    "close, and a request behind it": ends(get(b"/ping/a", close=True) + SMUGGLED, 200),
    "close in a list": ends(get(b"/ping/a", b"Connection: x-a, Close") + SMUGGLED, 200),
    "keep-alive and close": ends(get(b"/ping/a", b"Connection: keep-alive", b"Connection: close") + SMUGGLED, 200),
    "keep-alive": keeps(get(b"/ping/a", b"Connection: keep-alive"), 200),
    "HTTP/1.0, and a request behind it": ends(ask(b"GET /ping/a HTTP/1.0") + SMUGGLED, 200),
    "HTTP/1.0 with keep-alive": ends(ask(b"GET /ping/a HTTP/1.0", b"Connection: keep-alive") + SMUGGLED, 200),
    "HTTP/1.0 without Host": ends(b"GET /ping/a HTTP/1.0\r\n\r\n" + SMUGGLED, 200),
    "HTTP/1.0 with a body": ends(b"POST /ping/a HTTP/1.0\r\n" + HOST + b"Content-Length: 3\r\n\r\nxyz" + SMUGGLED, 200),
    "answers come in the order of the requests": keeps(
        get(b"/ping/a") + get(b"/nowhere") + post(b"/healthz", b"x") + get(b"/healthz") + post(b"/ping/a", b"x"),
        200, 404, 405, 200, 200,
    ),
    "a refusal ends a pipeline": ends(get(b"/ping/a") + sized(b"+3") + SMUGGLED, 200, 400),
    "20 requests at once": keeps(post(b"/ping/a", b"x") * 20, *[200] * 20),
}  # fmt: skip

ROWS = MESSAGE | FIELDS | LENGTHS | CODINGS | CHUNKS | CONNECTIONS
