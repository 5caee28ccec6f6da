# SPDX-License-Identifier: MIT
"""Feeds the frame decoder valid streams, mutated at random: `python -m tests.fuzz.fuzz_frames [SECONDS [SEED]]`.

Whatever comes, the decoder raises nothing, gives only items of the kinds that there are, keeps its limits, and its
state stays sane; pieces make no difference. Each trial has a seed of its own, counted up from SEED (at random without
one); that of a trial that fails is printed.
"""

from __future__ import annotations

import random
import struct
import sys
import time

from heartfelt.wire import FrameDecoder, FrameError, Message, encode_frame, pack
from heartfelt.wire.frames import EVENT, GOODBYE, HEARTBEAT, TOKEN, TRACING, VISIBILITY
from tests.fuzz import time_limit

KINDS = {HEARTBEAT, EVENT, TRACING, VISIBILITY, GOODBYE, TOKEN}
REASONS = {"length", "frame_limit", "messages", "malformed", "gzip", "gunzip_limit", "data_type"}
FATAL = {"length"}
MAX_FRAME, MAX_GUNZIP, MAX_MESSAGES = 3000, 5000, 6
MAX_SKIP = 4 * MAX_FRAME
"""Frames above MAX_FRAME are skipped up to here."""
PIECE = 1000

SPECIAL = [bytes([n]) for n in (0, 1, 8, 0x0B, 0x0C, 0x12, 0x13, 0x14, 0x1A, 0x7F, 0x80, 0xFF)]
SPECIAL += [b"\x1f\x8b\x08\x00", b"\xc2\x3e", b"\xca\x3e", b"\xff" * 5, b"\xff\xff\xff\xff\x0f", b"\x80" * 9 + b"\x01"]


def valid_stream(chance: random.Random) -> bytes:
    """Some frames, of the kinds and sizes that matter."""
    out = []
    for _ in range(chance.randint(1, 5)):
        parts = []
        for _ in range(chance.choice((0, 1, 1, 1, 2, 7))):
            size = chance.choice((0, 1, 200, 1200, MAX_GUNZIP, MAX_GUNZIP + 1))
            text = chance.randbytes(size) if chance.random() < 0.1 else bytes([chance.randrange(256)]) * size
            packed = pack(text) * chance.choice((1, 1, 1, 2, 20))
            parts.append((chance.choice((0, 0, 0, 1, 2, 3, 4, -1, 1000)), packed))
        goodbye = b'{"service":"s"}' if chance.random() < 0.2 else None
        out.append(encode_frame(parts, goodbye=goodbye, token="secret" if chance.random() < 0.2 else None))
    return b"".join(out)


def mutated(stream: bytes, chance: random.Random) -> bytes:
    data = bytearray(stream)
    for _ in range(chance.choice((0, 1, 1, 2, 5, 20))):
        at = chance.randrange(len(data) + 1)
        what = chance.randrange(6)
        if what == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif what == 1 and at < len(data):
            data[at] = chance.randrange(256)
        elif what == 2:
            del data[at : at + chance.choice((1, 2, 10, 500))]
        elif what == 3:
            data[at:at] = chance.choice(SPECIAL)
        elif what == 4:
            begin = chance.randrange(len(data) + 1)
            data[at:at] = data[begin : begin + chance.choice((1, 8, 100))]
        else:
            data[at : at + 4] = struct.pack("<L", chance.getrandbits(32))
    return bytes(data)


def pieces(data: bytes, chance: random.Random) -> list[bytes]:
    out = []
    while data:
        size = chance.choice((1, 2, 7, 100, PIECE))
        out.append(data[:size])
        data = data[size:]
    return out


def run(parts: list[bytes]) -> tuple[list[object], FrameDecoder]:
    """All that the decoder gives, checked; fatal only once, by feeding no more after it."""
    decoder = FrameDecoder(max_frame=MAX_FRAME, max_gunzip=MAX_GUNZIP, max_messages=MAX_MESSAGES, max_skip=MAX_SKIP)
    items: list[object] = []
    for part in parts:
        for item in decoder.feed(part):
            if isinstance(item, FrameError):
                assert item.reason in REASONS, item.reason
                assert item.reason == "frame_limit" or item.fatal == (item.reason in FATAL)
                assert str(item)
                items.append(item.reason)
                if item.fatal:
                    assert decoder.pending == 0
                    assert [again.reason for again in decoder.feed(b"x")] == [item.reason]
                    return items, decoder
            else:
                assert isinstance(item, Message)
                assert item.kind in KINDS, item.kind
                assert len(item.data) <= MAX_GUNZIP
                items.append(item)
        assert decoder.pending <= MAX_FRAME + 5, decoder.pending
    return items, decoder


def trial(seed: int) -> int:
    """One stream, whole and in pieces; how many items came of it."""
    chance = random.Random(seed)
    data = mutated(valid_stream(chance), chance)
    whole, decoder = run([data])
    in_pieces, other = run(pieces(data, chance))
    assert whole == in_pieces, "pieces make a difference"
    assert (decoder.pending, decoder.to_skip) == (other.pending, other.to_skip)
    return len(whole)


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    first = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().getrandbits(40)
    end = time.monotonic() + seconds
    time_limit.limit(seconds)
    seed, n_items = first, 0
    while time.monotonic() < end:
        try:
            n_items += trial(seed)
        except Exception:
            print(f"seed {seed} fails: {sys.argv[0]} 0.001 {seed}", file=sys.stderr)
            raise
        seed += 1
    print(f"{seed - first} streams from seed {first} on, {n_items} items: nothing wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
