# SPDX-License-Identifier: MIT
"""The chunked coding, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartfelt.monitor.web.http1.chunked import MOST_LINE, Chunks
from heartfelt.monitor.web.http1.head import BadRequest

NEXT = b"GET / HTTP/1.1\r\n\r\n"
EXTENSIONS = st.sampled_from([b"", b";a", b" ;a=b", b';a="b;c";d', b";" + b"e" * 100])
TRAILERS = st.lists(st.sampled_from([b"X-A: b\r\n", b"Content-Length: 5\r\n", b"X-Empty:\r\n"]), max_size=3)


@st.composite
def bodies(draw):
    """A body, and one of its encodings."""
    body = encoded = b""
    for part in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=8)):
        zeros = draw(st.sampled_from([b"", b"0", b"000"]))
        size = zeros + draw(st.sampled_from([b"%x", b"%X"])) % len(part)
        encoded += size + draw(EXTENSIONS) + b"\r\n" + part + b"\r\n"
        body += part
    return body, encoded + b"0" + draw(EXTENSIONS) + b"\r\n" + b"".join(draw(TRAILERS)) + b"\r\n"


def take(data, sizes, most_framing=1 << 20):
    """The body, and what is left, when `data` comes in pieces of these sizes, of which the last one repeats."""
    chunks = Chunks(most_framing)
    waiting = bytearray()
    body = b""
    at = n = 0
    while at < len(data):
        size = sizes[min(n, len(sizes) - 1)]
        waiting += data[at : at + size]
        at, n = at + size, n + 1
        if not chunks.done:
            body += chunks.take(waiting)
            assert chunks.done or len(waiting) < MOST_LINE
    return chunks.done, body, bytes(waiting)


@given(bodies(), st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_every_encoding_is_decoded_to_the_body_and_nothing_behind_it_is_touched(case, sizes):
    body, encoded = case
    assert take(encoded + NEXT, sizes) == (True, body, NEXT)
    done, _, _ = take(encoded[:-1], sizes)
    assert not done


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_any_bytes_are_decoded_alike_however_they_are_cut(data, sizes):
    def outcome(sizes):
        try:
            return take(data, sizes)
        except BadRequest as error:
            return error.status

    whole = outcome([1000])
    cut = outcome(sizes)
    if 400 in (whole, cut):
        assert whole == cut
    else:
        assert whole[:2] == cut[:2]


@pytest.mark.parametrize(
    "data",
    [b"\r\n", b" 3\r\n", b"3 \r\n", b"3\n", b"3\ra", b"g\r\n", b"-1\r\n", b"0x1\r\n", b"3;\0\r\n", b"3;a\rb\r\n",
     b"_3\r\n", b"1" * 16 + b"\r\n",
     b"1\r\nab\r\n", b"1\r\na\n", b"1\r\na\rb", b"0\r\n\n", b"0\r\n X: y\r\n", b"0\r\nX\r\n",
     b"0\r\nX: a\rb\r\n", b"0\r\n: a\r\n", b"0\r\nX : a\r\n", b"\xb2\r\n"],
)  # fmt: skip
def test_what_is_not_the_chunked_coding_is_refused(data):
    with pytest.raises(BadRequest):
        take(data + b"\n", [1000])
    with pytest.raises(BadRequest):
        take(data + b"\n", [1])


def test_lines_have_a_bound():
    for begin in (b"1;", b"0\r\nX: ", b"1" * 2000):
        with pytest.raises(BadRequest, match=f"longer than {MOST_LINE} bytes"):
            take(begin + b"a" * 2 * MOST_LINE, [100])


def test_framing_has_a_bound_that_data_pays_for():
    assert take(b"5\r\nhello\r\n" * 10_000 + b"0\r\n\r\n", [4096], most_framing=100)[0]
    with pytest.raises(BadRequest, match="larger chunks"):
        take(b"1\r\nh\r\n" * 10_000, [4096], most_framing=1000)
    with pytest.raises(BadRequest, match="the framing of the chunked body exceeds"):
        take(b"0\r\n" + b"X: y\r\n" * 10_000, [4096], most_framing=1000)
