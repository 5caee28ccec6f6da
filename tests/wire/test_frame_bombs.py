# SPDX-License-Identifier: MIT
"""Input crafted to exhaust the frame decoder: memory and time stay bounded. And a short run of the fuzzer."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib

import pytest

from heartfelt.wire import FrameDecoder, FrameError, encode_frame, pack, unpack
from heartfelt.wire.packing import MAX_MEMBERS
from tests.fuzz import fuzz_frames

BOMB = pack(bytes(64 << 20))  # 64 kB of gzip


@pytest.fixture
def peak():
    """peak(function, ...): the most memory that was allocated in the call, beyond what there was: the least of three
    calls, since what other threads of the process allocate meanwhile counts as well."""

    def measure(function, *arguments):
        return min(measure_once(function, *arguments) for _ in range(3))

    def measure_once(function, *arguments):
        tracemalloc.start()
        try:
            function(*arguments)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


def refused(packed, most):
    with pytest.raises(FrameError) as told:
        unpack(packed, most)
    assert not told.value.fatal
    return told.value.reason


def test_a_gzip_bomb_takes_no_memory(peak):
    unpack(pack(b""), 1)
    assert peak(lambda: unpack(BOMB, 64 << 20)) > 60 << 20  # it is a bomb
    assert peak(lambda: refused(BOMB, 100_000)) < 600_000
    assert refused(BOMB, 100_000) == "gunzip_limit"


def test_a_frame_of_bombs_takes_no_memory(peak):
    frame = encode_frame([(0, pack(bytes(90_000)))] * 10)

    def run():
        items = list(FrameDecoder(max_gunzip=100_000).feed(frame))
        assert [type(item) for item in items[1:]] == [FrameError] * 9

    run()
    assert peak(run) < 700_000


def test_many_frames_are_unpacked_one_at_a_time(peak):
    stream = encode_frame([(0, pack(bytes(100_000)))]) * 500  # 50 MB of text

    def run():
        assert sum(len(item.data) for item in FrameDecoder().feed(stream)) == 50_000_000

    assert peak(run) < 5 * len(stream) + 1_000_000


def test_a_length_bomb_takes_no_memory(peak):
    def run():
        assert [item.reason for item in FrameDecoder().feed(bytes.fromhex("ffffffff07"))] == ["frame_limit"]

    run()
    assert peak(run) < 10_000


def test_a_frame_byte_by_byte_takes_the_memory_of_what_has_come(peak):
    frame = encode_frame(goodbye=bytes(20_000))

    def run():
        decoder = FrameDecoder()
        for n in range(len(frame) - 1):
            assert not list(decoder.feed(frame[n : n + 1]))
        return decoder

    assert peak(run) < 2 * len(frame)
    assert [len(item.data) for item in run().feed(frame[-1:])] == [20_000]


def test_empty_frames_and_empty_messages():
    decoder = FrameDecoder()
    assert list(decoder.feed(bytes(100_000))) == []
    assert decoder.pending == 0
    items = list(decoder.feed(encode_frame([(0, b"")] * 256)))
    assert [item.reason for item in items] == ["gzip"] * 256


# -- gzip


def test_members_one_after_the_other():
    assert unpack(pack(b"ab") + pack(b"") + pack(b"c"), 3) == b"abc"
    assert refused(pack(b"ab") + pack(b"cd"), 3) == "gunzip_limit"
    assert unpack(pack(b"x") * MAX_MEMBERS, 100) == b"x" * MAX_MEMBERS
    assert refused(pack(b"x") * (MAX_MEMBERS + 1), 100) == "gzip"


@pytest.mark.parametrize("behind", [b"\0", b"x", b"\x1f", b"\x1f\x8b", pack(b"y")[:-1], bytes(8)])
def test_nothing_but_members_may_come_behind(behind):
    assert refused(pack(b"x") + behind, 100) == "gzip"


def test_every_shortened_or_changed_gzip_is_refused():
    packed = pack(b"some text, some text")
    for n in range(len(packed)):
        assert refused(packed[:n], 100) == "gzip"
    for at, flip in ((-1, 1), (-5, 1), (12, 0x10), (0, 1)):  # length, check sum, content, magic
        changed = bytearray(packed)
        changed[at] ^= flip
        assert refused(bytes(changed), 100) == "gzip"


def test_the_limit_is_exact():
    for size in (0, 1, 1000, 100_000):
        packed = pack(bytes(size))
        assert len(unpack(packed, size)) == size
        if size:
            assert refused(packed, size - 1) == "gunzip_limit"


def test_other_writers_gzip():
    assert unpack(gzip.compress(b"text"), 4) == b"text"
    assert gzip.decompress(pack(b"text")) == b"text"
    named = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name\0" + pack(b"text")[10:]
    assert unpack(named, 4) == b"text"
    head = zlib.compressobj(wbits=-15)  # as the native sender does it: a packed head, and a block that is stored
    flushed = head.compress(b'{"a":1') + head.flush(zlib.Z_SYNC_FLUSH)
    stored = b"\x01" + struct.pack("<HH", 1, 0xFFFE) + b"}"
    trailer = struct.pack("<LL", zlib.crc32(b'{"a":1}'), 7)
    assert unpack(pack(b"")[:10] + flushed + stored + trailer, 7) == b'{"a":1}'


# -- the fuzzer


def test_mutated_streams():
    assert sum(map(fuzz_frames.trial, range(500))) > 500


def test_the_fuzzer_finds_a_planted_fault(monkeypatch):
    def unbounded(packed, most):
        return zlib.decompress(packed, 31)

    monkeypatch.setattr("heartfelt.wire.frames.unpack", unbounded)
    with pytest.raises((AssertionError, zlib.error)):
        for seed in range(500):
            fuzz_frames.trial(seed)
