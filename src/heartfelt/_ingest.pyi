# SPDX-License-Identifier: MIT
from collections.abc import Mapping
from typing import Any, final

from heartfelt._known import Hot, Texts

WHOLE_FIRST: int
WHOLE_EVERY: int

@final
class Scan:
    n: int
    rest: int
    at: int
    whole: bool
    def __init__(self, body: bytes, texts: Texts, is_list: bool, most: int) -> None: ...
    def first(self) -> Any: ...
    def renew(
        self, slice_: int, via: str, peer: str, now_ms: int, dirty: dict[int, int]
    ) -> tuple[int, list[tuple[Any, int, int | None, int | None, int | None]]]: ...

def renew_names(
    data: bytes, names: Mapping[bytes, Hot], via: str, peer: str, now_ms: int, dirty: dict[int, int]
) -> tuple[int, list[bytes]]: ...
