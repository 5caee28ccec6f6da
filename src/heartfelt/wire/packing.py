# SPDX-License-Identifier: MIT
"""gzip as beats use it: whole texts, and unpacking that never takes more memory than it was allowed."""

from __future__ import annotations

import struct
import zlib

from heartfelt.errors import FrameError

__all__ = ["MAX_MEMBERS", "pack", "unpack"]

MAX_MEMBERS = 16
"""A gzip may have so many members, one after the other; each is a copy of what follows it, so there is a limit."""

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_GZIP = 16 + zlib.MAX_WBITS


def pack(text: bytes) -> bytes:
    """The text as one gzip member, without a time, a file's name or a system's: as Java writes it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return b"".join(
        (_HEADER, packer.compress(text), packer.flush(), struct.pack("<LL", zlib.crc32(text), len(text) & 0xFFFFFFFF))
    )


def unpack(packed: bytes, most: int) -> bytes:
    """What a gzip of one or more members holds, if that is at most `most` bytes.

    Raises FrameError, of which none ends a stream: "gzip" for what is no gzip, or a damaged or shortened one, or has
    something behind it that is not a member; "gunzip_limit" for more than `most` bytes, found without unpacking them.
    """
    parts: list[bytes] = []
    left = most
    rest = packed
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(rest, left + 1)  # at 0 there would be no limit; and the check sums come after it
        except zlib.error as error:
            raise FrameError("gzip", f"damaged, or no gzip: {error}") from None
        if len(part) > left:
            raise FrameError("gunzip_limit", f"{len(packed)} bytes of gzip hold more than {most} bytes")
        if not member.eof:
            raise FrameError("gzip", f"{len(packed)} bytes are not a whole gzip: it ends too early")
        rest = member.unused_data
        if not rest:
            return part if not parts else b"".join((*parts, part))
        parts.append(part)
        left -= len(part)
    raise FrameError("gzip", f"more than {MAX_MEMBERS} members")
