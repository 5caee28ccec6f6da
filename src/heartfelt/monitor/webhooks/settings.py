# SPDX-License-Identifier: MIT
"""The settings that all targets share, and the error for a target that does not exist."""

from __future__ import annotations

import msgspec

from heartfelt.monitor.model import Level
from heartfelt.monitor.webhooks.caller import CallLimits
from heartfelt.monitor.webhooks.damping import Damping
from heartfelt.monitor.webhooks.outbox import StopLimits
from heartfelt.monitor.webhooks.proxy import OutboundProxies
from heartfelt.monitor.webhooks.target_state import Retry

__all__ = ["UnknownTarget", "WebhookSettings"]


class UnknownTarget(KeyError):
    """No webhook has this id."""

    def __str__(self) -> str:
        return f"there is no webhook {self.args[0]!r}"


class WebhookSettings(msgspec.Struct, kw_only=True, frozen=True):
    """Settings for all targets."""

    allow_private: bool = False
    """Every target may call private networks, whatever its own setting."""
    levels: tuple[Level, ...] = ()
    """Levels for targets whose filter names none; empty: all."""
    proxies: OutboundProxies = OutboundProxies()
    """Proxies that targets are called through."""
    damping: Damping = Damping()
    retry: Retry = Retry()
    public_url: str | None = None
    """The monitor's URL, for links in messages; None: no links."""
    limits: CallLimits = CallLimits()
    stop: StopLimits = StopLimits()
