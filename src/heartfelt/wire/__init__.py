# SPDX-License-Identifier: MIT
"""The wire format between agents and the monitor: Sermant's TCP frames, gzip, and the JSON of a beat."""

from __future__ import annotations

from heartfelt.errors import FrameError
from heartfelt.wire.fields import whole_beat
from heartfelt.wire.frames import FrameDecoder, FrameParts, Message, encode_frame, split_frame
from heartfelt.wire.packing import pack, unpack

__all__ = [
    "FrameDecoder",
    "FrameError",
    "FrameParts",
    "Message",
    "encode_frame",
    "pack",
    "split_frame",
    "unpack",
    "whole_beat",
]
