# SPDX-License-Identifier: MIT
from typing import Any

from typing_extensions import disjoint_base  # for type checkers only: they all bring it

from heartfelt._types import EventType

@disjoint_base
class Event:
    __match_args__ = (
        "type",
        "key",
        "extra",
        "timeout",
        "disposable",
        "missed",
        "join_time",
        "beat_time",
        "deadline",
        "event_time",
    )
    @property
    def type(self) -> EventType: ...
    @property
    def key(self) -> Any: ...
    @property
    def extra(self) -> Any: ...
    @property
    def timeout(self) -> float: ...
    @property
    def disposable(self) -> bool: ...
    @property
    def missed(self) -> int: ...
    @property
    def join_time(self) -> float: ...
    @property
    def beat_time(self) -> float: ...
    @property
    def deadline(self) -> float: ...
    @property
    def event_time(self) -> float: ...
    @property
    def lateness(self) -> float: ...
    def to_dict(self) -> dict[str, Any]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def make_event(
    type: str,
    key: object,
    extra: object,
    disposable: bool,
    missed: int,
    timeout_ns: int,
    join_ns: int,
    beat_ns: int,
    deadline_ns: int,
    event_ns: int,
) -> Event: ...
