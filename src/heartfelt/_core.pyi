# SPDX-License-Identifier: MIT
# How the counters look that hub.py unpacks is told there; they are private.
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeVar

import numpy
from typing_extensions import Buffer, disjoint_base  # for type checkers only: they all bring it

from heartfelt._event import Event
from heartfelt._hot import HotHeart, HotHub
from heartfelt._types import Unset
from heartfelt.hub import HeartHub

_HeartType = TypeVar("_HeartType", bound=Heart)

@disjoint_base
class Bell:
    def fileno(self) -> int: ...
    def wait(self, timeout_ns: int = -1) -> bool: ...

@disjoint_base
class ManualClockBase:
    def _now_ns(self) -> int: ...
    def _advance_to(self, target_ns: int, hubs: list[Any]) -> None: ...

@disjoint_base
class Hub(HotHub):
    def _heartbeat(
        self,
        key: str | bytes | int,
        *,
        timeout: float | timedelta | None = None,
        extra: object | Unset = ...,
        disposable: bool | None = None,
    ) -> None: ...
    def heartbeat_many(
        self,
        keys: Iterable[str | bytes | int],
        *,
        timeout: float | timedelta | None = None,
        extra: object | Unset = ...,
        disposable: bool | None = None,
    ) -> None: ...
    def heartbeat_ids(self, ids: Buffer | numpy.ndarray[Any, Any]) -> None: ...
    def remove(self, key: str | bytes | int, *, missing_ok: bool = False) -> None: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...
    @property
    def _bells(self) -> tuple[Bell, Bell, Bell]: ...
    def _open(
        self,
        n_shards: int,
        default_timeout_ns: int,
        disposable: bool,
        subscribed: int,
        to_callbacks: int,
        ring_limit: int,
        on_full: int,
        guard: int,
        clock: str | ManualClockBase,
    ) -> None: ...
    def _heart(
        self,
        heart_type: type[_HeartType],
        key: str | bytes | int,
        timeout: float | timedelta | None,
        extra: object | Unset,
        disposable: bool | None,
    ) -> _HeartType: ...
    def _pin(self, keys: list[str | bytes | int]) -> list[int]: ...
    def _drain(self, stream: int, most: int, into: list[Event] | None = None) -> list[Event]: ...
    def _give_back(self, events: list[Event]) -> None: ...
    def _waiting(self, stream: int) -> int: ...
    def _has_ended(self) -> bool: ...
    def _canary_beat(self) -> int: ...
    def _close(self, abandon: bool = False) -> None: ...
    def _subscribe_callbacks(self, types: int) -> None: ...
    def _shard_stats(self) -> list[dict[str, Any]]: ...
    def _stream_stats(self) -> dict[str, Any]: ...
    def _check(self) -> str | None: ...

@disjoint_base
class Heart(HotHeart):
    def __init__(self) -> None: ...  # raises: HeartHub.heart makes one
    @property
    def key(self) -> str | bytes | int: ...
    @property
    def hub(self) -> HeartHub: ...
    def _beat(self) -> None: ...
