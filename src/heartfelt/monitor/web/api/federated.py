# SPDX-License-Identifier: MIT
"""Answers for a fleet of many monitors: each makes its part, and the monitor that was asked merges them.

A monitor on its own has one part. What is in the store needs no parts, since all monitors share it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from heartfelt.monitor.web.api.endpoint import Call


@dataclass(frozen=True, slots=True)
class Federated:
    """part: makes this monitor's part, from what it owns. kind: the part's type, which travels as msgpack. merge: makes
    the answer from the parts, the asked monitor's own first; those of monitors that did not answer are missing. on_all:
    the part changes something, so the answer is an error if a monitor did not make its part."""

    part: Callable[[Call], Awaitable[Any]]
    kind: Any
    merge: Callable[[Call, Sequence[Any]], Awaitable[Any]]
    on_all: bool = False

    async def alone(self, call: Call) -> Any:
        """The handler of a monitor on its own."""
        return await self.merge(call, [await self.part(call)])


@dataclass(frozen=True, slots=True)
class Streamed:
    """For an answer that may have the text of all instances: no monitor has all of it in memory.

    part: yields this monitor's part of the answer. merge: makes the answer from the parts, the asked monitor's own
    first, and closes them."""

    part: Callable[[Call], AsyncGenerator[bytes, None]]
    merge: Callable[[Call, Sequence[AsyncGenerator[bytes, None]]], Response]

    async def alone(self, call: Call) -> Response:
        """The handler of a monitor on its own."""
        return self.merge(call, [self.part(call)])


def first(parts: Sequence[Any]) -> Any | None:
    """Returns the part of the monitor that has what was asked for; None if none has it."""
    return next((part for part in parts if part is not None), None)
