# SPDX-License-Identifier: MIT
from datetime import timedelta

from typing_extensions import disjoint_base  # for type checkers only: they all bring it

from heartfelt._types import Unset

def own_hot_methods(type: type) -> None: ...

@disjoint_base
class HotHub:
    def heartbeat(
        self,
        key: str | bytes | int,
        *,
        timeout: float | timedelta | None = None,
        extra: object | Unset = ...,
        disposable: bool | None = None,
    ) -> None: ...

@disjoint_base
class HotHeart:
    def beat(self) -> None: ...
    def __call__(self) -> None: ...
