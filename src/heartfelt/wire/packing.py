# SPDX-License-Identifier: MIT
"""gzip for beats: packing whole texts, and unpacking within a limit of memory."""

from __future__ import annotations

import struct
import zlib

from heartfelt.errors import FrameError

__all__ = ["MAX_MEMBERS", "pack", "unpack"]

MAX_MEMBERS = 16
"""The most members that a gzip may have. Unpacking a member copies all that follows it, hence the limit."""

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_GZIP = 16 + zlib.MAX_WBITS


def pack(text: bytes) -> bytes:
    """Packs the text as one gzip member, without time, file name and operating system, as Java does."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return b"".join(
        (_HEADER, packer.compress(text), packer.flush(), struct.pack("<LL", zlib.crc32(text), len(text) & 0xFFFFFFFF))
    )


def unpack(packed: bytes, most: int) -> bytes:
    """Unpacks a gzip of one or more members, to at most `most` bytes.

    Raises FrameError, never a fatal one: "gzip" if it is not gzip, is damaged or truncated, or is followed by something
    else; "gunzip_limit" if it holds more than `most` bytes, detected without unpacking them all.
    """
    parts: list[bytes] = []
    left = most
    rest = packed
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(rest, left + 1)  # 0 would mean no limit; the checksum comes after the data
        except zlib.error as error:
            raise FrameError("gzip", f"damaged, or not gzip: {error}") from None
        if len(part) > left:
            raise FrameError("gunzip_limit", f"{len(packed)} bytes of gzip hold more than {most} bytes")
        if not member.eof:
            raise FrameError("gzip", f"{len(packed)} bytes of gzip end too early")
        rest = member.unused_data
        if not rest:
            return part if not parts else b"".join((*parts, part))
        parts.append(part)
        left -= len(part)
    raise FrameError("gzip", f"more than {MAX_MEMBERS} members")
