# SPDX-License-Identifier: MIT
from datetime import timedelta

from typing_extensions import disjoint_base  # for type checkers only: they all bring it

from heartfelt._core import Hub
from heartfelt._hot import HotHeart
from heartfelt._types import Unset
from heartfelt.hub import HeartHub

@disjoint_base
class Heart(HotHeart):
    def __init__(self) -> None: ...  # raises: HeartHub.heart makes one
    @property
    def key(self) -> str | bytes | int: ...
    @property
    def hub(self) -> HeartHub: ...
    def _beat(self) -> None: ...

def heart_of(
    hub: Hub,
    key: str | bytes | int,
    timeout: float | timedelta | None,
    extra: object | Unset,
    disposable: bool | None,
) -> Heart: ...
