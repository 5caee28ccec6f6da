# SPDX-License-Identifier: MIT
"""Names of keys, and the layout of what they contain. monitor/cluster/README.md has the table of all keys."""

from __future__ import annotations

import struct
import zlib
from hashlib import blake2b
from typing import NamedTuple

FORMAT = 1
"""The version of this layout. Monitors with another one do not share a Redis."""
SLOTS = 512
SLOT_BYTES = 8
PAGE_BYTES = SLOTS * SLOT_BYTES
MOST_SHARDS = 64
SEQ_EPOCH_MS = 1_704_067_200_000
"""2024-01-01, from which `seq` counts."""
SEQ_PER_MS = 128
_ENTRY = struct.Struct("<IHHIH")
ENTRY_BYTES = _ENTRY.size
FIELD_BYTES = 14
"""With these two, an entry takes 72 bytes of Redis' memory with any allocator: strings of 14 bytes fit into 16."""


class Entry(NamedTuple):
    """Where an instance is. `generation` grows with each move, and begins again at 0 after 65,535."""

    page: int
    index: int  # type: ignore[assignment]
    generation: int
    id: int

    def pack(self) -> bytes:
        return _ENTRY.pack(self[0], self[1], self[2], self.id & 0xFFFFFFFF, self.id >> 32)

    @classmethod
    def unpack(cls, data: bytes) -> Entry:
        page, index, generation, low, high = _ENTRY.unpack(data)
        return cls(page, index, generation, high << 32 | low)


def name_of(service: str, instance_id: str) -> bytes:
    """Returns the name of an instance, which no other instance has."""
    text = service.encode("utf-8", "surrogatepass")
    return b"%d:%b%b" % (len(text), text, instance_id.encode("utf-8", "surrogatepass"))


def field_of(name: bytes) -> bytes:
    """Returns what stands for a name in `slot`: its length does not depend on the name's."""
    return blake2b(name, digest_size=FIELD_BYTES).digest()


def parts_of(name: bytes) -> tuple[str, str]:
    """Returns the service and the instance id of a name."""
    length, _, rest = name.partition(b":")
    at = int(length)
    return rest[:at].decode("utf-8", "surrogatepass"), rest[at:].decode("utf-8", "surrogatepass")


class Keys:
    """The keys of one fleet. prefix: fleets with different ones share a Redis. Stateless; any thread."""

    def __init__(self, prefix: str, shards: int) -> None:
        self.prefix = prefix
        self.shards = shards

    def shard_of(self, name: bytes) -> int:
        return zlib.crc32(name) % self.shards

    @staticmethod
    def shard_of_id(id: int) -> int:
        return id % MOST_SHARDS

    def fleet(self, *parts: str) -> str:
        """Returns a key of the whole fleet: `hf:{f}:cfg`."""
        return ":".join((self.prefix, "{f}", *parts))

    def shard(self, shard: int, *parts: str | int) -> str:
        """Returns a key of a shard: `hf:{7}:page:3:12`."""
        return ":".join((self.prefix, f"{{{shard}}}", *map(str, parts)))
