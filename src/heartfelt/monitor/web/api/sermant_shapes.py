# SPDX-License-Identifier: MIT
"""The JSON of Sermant's backend, for openapi.json: sermant.py answers in these shapes."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from heartfelt.monitor.ingest.heartbeat import HeartbeatPart

__all__ = [
    "SermantEventPage",
    "SermantEvents",
    "SermantInstance",
    "SermantWebhooks",
]


class SermantInstance(msgspec.Struct, kw_only=True, frozen=True):
    """An instance: the fields of its heartbeat, others than these included, and whether it is alive."""

    service: str
    instanceId: str  # noqa: N815
    health: bool
    """Whether it beats."""
    heartbeatTime: int  # noqa: N815
    """ms since the epoch, by the agent's clock."""
    lastHeartbeatTime: int  # noqa: N815
    pluginInfoMap: list[HeartbeatPart]  # noqa: N815
    externalAgentInfoMap: dict[str, HeartbeatPart | None]  # noqa: N815
    dynamicInstall: bool  # noqa: N815
    hostName: str | UnsetType = UNSET  # noqa: N815
    ip: list[str] | UnsetType = UNSET
    appType: str | UnsetType = UNSET  # noqa: N815
    appName: str | UnsetType = UNSET  # noqa: N815
    artifact: str | UnsetType = UNSET
    processId: str | int | UnsetType = UNSET  # noqa: N815
    version: str | UnsetType = UNSET
    extInfoFailures: dict[str, str] | UnsetType = UNSET  # noqa: N815


class SermantEventSource(msgspec.Struct, kw_only=True, frozen=True):
    service: str
    ip: str
    instanceId: str  # noqa: N815


class SermantEvent(msgspec.Struct, kw_only=True, frozen=True):
    meta: SermantEventSource
    time: int
    """ms since the epoch."""
    scope: str | None
    level: Literal["emergency", "important", "normal"]
    type: str
    """operation, governance or log."""
    info: dict[str, Any]


class SermantEventCount(msgspec.Struct, kw_only=True, frozen=True):
    emergency: int
    important: int
    normal: int


class SermantEventPage(msgspec.Struct, kw_only=True, frozen=True):
    events: list[SermantEvent]


class SermantEvents(SermantEventPage, kw_only=True, frozen=True):
    totalPage: int  # noqa: N815
    eventCount: SermantEventCount  # noqa: N815


class SermantWebhook(msgspec.Struct, kw_only=True, frozen=True):
    id: int
    """0 is Feishu, 1 is DingDing."""
    url: str
    name: str
    enable: bool


class SermantWebhooks(msgspec.Struct, kw_only=True, frozen=True):
    total: int
    webhooks: list[SermantWebhook]
