# SPDX-License-Identifier: MIT
from collections.abc import Mapping
from typing import Any, final

from typing_extensions import disjoint_base  # for type checkers only: they all bring it

WHOLE_FIRST: int
WHOLE_EVERY: int

@disjoint_base
class Hot:
    lease: Any
    late: Any
    id: int
    via: str
    peer: str
    last_beat_ms: int
    beats: int
    plain: bool
    lag_to_tell_ms: int
    @property
    def lag_ms(self) -> int | None: ...
    @property
    def skew_ms(self) -> int | None: ...
    @property
    def agent_time_ms(self) -> int | None: ...
    @property
    def agent_last_time_ms(self) -> int | None: ...
    def note_times(self, time_ms: int | None, last_time_ms: int | None, lag_ms: int | None, now_ms: int) -> None: ...
    def restore_times(self, skew_ms: int | None, lag_ms: int | None) -> None: ...
    def gap_at(self, n: int) -> tuple[int, bool]: ...
    def note_gap(self, n: int, gap_ms: int) -> None: ...
    def note_missed(self, n: int) -> None: ...
    def set_head(self, head: bytes | None) -> None: ...

@final
class Scan:
    n: int
    rest: int
    at: int
    whole: bool
    def __init__(self, body: bytes, texts: Mapping[bytes, Hot], is_list: bool, most: int) -> None: ...
    def first(self) -> Any: ...
    def renew(
        self, slice_: int, via: str, peer: str, now_ms: int, dirty: dict[int, int]
    ) -> tuple[int, list[tuple[Any, int, int | None, int | None, int | None]]]: ...

def renew_names(
    data: bytes, names: Mapping[bytes, Hot], via: str, peer: str, now_ms: int, dirty: dict[int, int]
) -> tuple[int, list[bytes]]: ...
