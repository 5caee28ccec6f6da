# SPDX-License-Identifier: MIT
"""Feeds HeartHub.restore files whose digest is right and whose rows are not: fuzz_snapshot.py [SECONDS] [SEED]

A snapshot's rows are what the core's compiled part parses byte by byte. A file is refused by SnapshotError, or restored
to a hub whose invariants hold and that can be saved again; anything else ends this with the seed that shows it.
`make fuzz` runs it under AddressSanitizer and UBSan.
"""

from __future__ import annotations

import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

from heartfelt import HeartHub, SnapshotError
from heartfelt._snapshot import DIGEST_BYTES, FIELDS, HEADER_BYTES
from heartfelt.testing import ManualClock
from tests.fuzz import time_limit

TRICKY = [0, 1, 0x7F, 0x80, 0xFF]


def saved(chance: random.Random, path: Path) -> bytes:
    hub = HeartHub(10, clock=ManualClock())
    for n in range(chance.randrange(1, 30)):
        key = chance.choice([n, f"key/{n}", f"key/{n}".encode(), "\u00e9\ud800" * n, b""])
        hub.heartbeat(key, timeout=chance.choice([0.001, 1, 1e6]), disposable=chance.random() < 0.5)
        if chance.random() < 0.3:
            hub._clock.advance(chance.random())
    hub.save(path)
    hub.close()
    return path.read_bytes()


def mutated(chance: random.Random, rows: bytearray) -> bytearray:
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(rows)) if rows else 0
        match chance.randrange(5):
            case 0 if rows:
                rows[at] = chance.choice(TRICKY)
            case 1 if rows:
                rows[at] ^= 1 << chance.randrange(8)
            case 2:
                rows[at:at] = bytes(chance.choices(TRICKY, k=chance.randrange(1, 50)))
            case 3:
                del rows[at : at + chance.randrange(1, 50)]
            case 4:
                rows[at:at] = rows[: chance.randrange(200)]
    return rows


def once(seed: int, path: Path) -> bool:
    """Whether the file was restored."""
    chance = random.Random(seed)
    data = saved(chance, path)
    magic, version, flags, zeros, n_rows, _, n_extras, wall_ns = FIELDS.unpack(data[: FIELDS.size])
    rows = mutated(chance, bytearray(data[HEADER_BYTES:]))
    n_rows = max(0, n_rows + chance.choice([0, 0, 0, 1, -1, 1 << 40]))
    fields = FIELDS.pack(magic, version, flags, zeros, n_rows, len(rows), n_extras, wall_ns)
    digest = hashlib.blake2b(bytes(rows) + fields, digest_size=DIGEST_BYTES).digest()
    path.write_bytes(fields + digest + rows)
    try:
        hub = HeartHub.restore(path, clock=ManualClock())
    except SnapshotError:
        return False
    broken = hub._check()
    hub.save(path)
    hub.close()
    if broken:
        raise AssertionError(broken)
    return True


def main(seconds: float = 60, first_seed: int | None = None) -> None:
    seed = random.SystemRandom().randrange(1 << 32) if first_seed is None else first_seed
    time_limit.limit(seconds)
    give_up, n, n_restored = time.monotonic() + seconds, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < give_up:
            try:
                n_restored += once(seed + n, Path(folder, "hub"))
            except BaseException:
                print(f"fuzz_snapshot.py: seed {seed + n} shows it", file=sys.stderr)
                raise
            n += 1
    print(f"{n} snapshots from seed {seed} on: {n_restored} restored, {n - n_restored} refused")


if __name__ == "__main__":
    main(*(kind(argument) for kind, argument in zip((float, int), sys.argv[1:], strict=False)))
