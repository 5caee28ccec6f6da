# SPDX-License-Identifier: MIT
"""The JSON of a heartbeat: the types that the decoder reads with, and from which openapi.json describes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, get_args, get_type_hints

import msgspec

__all__ = ["BOUNDS", "LAST_TIME_MS", "LONGEST_MS", "Heartbeat", "HeartbeatPart", "HeartbeatRefused", "HeartbeatsTaken"]

LONGEST_MS = 366 * 86_400_000
LAST_TIME_MS = 1 << 53


def _from(least: int, most: int) -> msgspec.Meta:
    """Describes a range. The decoder checks it itself (BOUNDS), since its message names the value."""
    return msgspec.Meta(extra_json_schema={"minimum": least, "maximum": most})


_Name = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1})]
_Moment = Annotated[int, _from(0, LAST_TIME_MS)]
_Duration = Annotated[int, _from(0, LONGEST_MS)]
_Period = Annotated[int, _from(1, LONGEST_MS)]


class HeartbeatPart(msgspec.Struct, omit_defaults=True):
    """A plugin, or another agent."""

    name: str | None = None
    version: str | None = None
    extInfo: dict[str, str | None] | None = None  # noqa: N815
    """Information that the plugin gives about itself."""


class Heartbeat(msgspec.Struct):
    """A heartbeat. Other fields than these are kept as metadata, too."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("service", "instanceId")
    """They may be absent for the decoder, which has its own words for that."""
    KEEPS_OTHERS: ClassVar[bool] = True

    service: _Name | None = None
    """The service's name, of printable characters; at most `limits.key_bytes` bytes."""
    instanceId: _Name | None = None  # noqa: N815
    """The instance's id, which is unique within the service; at most `limits.key_bytes` bytes."""
    hostName: str | None = None  # noqa: N815
    """The host's name."""
    ip: list[str] | None = None
    """The host's addresses."""
    appType: str | None = None  # noqa: N815
    """The application's type."""
    appName: str | None = None  # noqa: N815
    """The application's name."""
    artifact: str | None = None
    """The file that the application was started from."""
    processId: str | int | None = None  # noqa: N815
    """The process's number, or any other name of it."""
    version: str | None = None
    """The agent's version."""
    dynamicInstall: bool | None = None  # noqa: N815
    """Whether the agent was loaded into a running process."""
    heartbeatTime: _Moment | None = None  # noqa: N815
    """The sender's clock at this heartbeat, in ms since the epoch. It is only shown."""
    lastHeartbeatTime: _Moment | None = None  # noqa: N815
    """The sender's clock at the heartbeat before, in ms since the epoch."""
    pluginInfoMap: dict[str, HeartbeatPart | None] | None = None  # noqa: N815
    """Plugins by name."""
    externalAgentInfoMap: dict[str, HeartbeatPart | None] | None = None  # noqa: N815
    """Other agents in the same process by name."""
    intervalMs: _Duration | None = None  # noqa: N815
    """Time until the next heartbeat, in ms."""
    timeoutMs: _Period | None = None  # noqa: N815
    """Time without a heartbeat after which the instance is lost, in ms; null: the monitor decides."""
    everyMs: _Period | None = None  # noqa: N815
    """The period of the heartbeats, in ms: together with graceMs instead of timeoutMs."""
    graceMs: _Duration | None = None  # noqa: N815
    """How much later than its period a heartbeat may come, in ms."""
    expected: bool | None = None
    """true: once lost, it stays LOST until it beats or is removed by hand; false: it is removed later."""
    minDurationMs: _Duration | None = None  # noqa: N815
    """A run that is shorter has failed, in ms."""
    maxDurationMs: _Duration | None = None  # noqa: N815
    """A run that takes longer has failed, in ms."""
    lagMs: _Moment | None = None  # noqa: N815
    """Time since the sender's interpreter last ran, in ms: an instance may be alive, but stuck."""
    beat: _Moment | None = None
    """The number of this heartbeat since the sender's start, from 1."""
    extInfoFailures: dict[str, str] | None = None  # noqa: N815
    """Plugins whose extInfo could not be determined, and why."""
    goodbye: bool | None = None
    """true: the instance ends normally. It becomes LEFT, which is no loss."""


class HeartbeatRefused(msgspec.Struct, kw_only=True, frozen=True):
    index: int
    """Place in the list, from 0."""
    reason: str
    """A short name of the error, for programs."""
    detail: str
    field: str | None
    """The field at fault; null: no single one is."""


class HeartbeatsTaken(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    taken: int
    """Number of heartbeats that were accepted."""
    refused: list[HeartbeatRefused] = []
    """The first 20 that were refused; absent if none was."""
    refused_total: int = 0
    """Number of heartbeats that were refused; absent if none was."""


def _bounds() -> Iterator[tuple[str, int, int]]:
    for name, kind in get_type_hints(Heartbeat, include_extras=True).items():
        for one in get_args(kind):
            for meta in getattr(one, "__metadata__", ()):
                found: dict[str, Any] = meta.extra_json_schema
                if "minimum" in found:
                    yield name, found["minimum"], found["maximum"]


BOUNDS: tuple[tuple[str, int, int], ...] = tuple(_bounds())
"""Each number of a heartbeat: its name, the least and the most that it may be."""
