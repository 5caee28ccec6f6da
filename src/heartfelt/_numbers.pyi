# SPDX-License-Identifier: MIT
from heartfelt._types import EventType

STATUS: tuple[str, ...]
EVENT_TYPES: tuple[EventType, ...]
ON_FULL: tuple[str, ...]
GUARDS: tuple[bool | str, ...]
STREAMS: tuple[str, ...]
MOST_SHARDS: int

def in_order(enum: str, n_numbers: int, numbers: dict[str, int]) -> tuple[str, ...]: ...
def same(what: str, in_c: object, in_python: object) -> None: ...
