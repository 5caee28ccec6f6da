# SPDX-License-Identifier: MIT
"""What the monitor tells of itself, and what an administrator may do: hold, tokens, webhooks, settings."""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt.monitor.history import LatenessCounts, Rates
from heartfelt.monitor.problems import no_such
from heartfelt.monitor.store import Delivery
from heartfelt.monitor.web.api.endpoint import Call
from heartfelt.monitor.web.api.view import HoldView, hold_view
from heartfelt.monitor.web.auth import Scope, TokenUnknown


class Release(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    by: str = "api"
    """Who asks for it, for the record."""


class NewToken(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    name: str
    scopes: list[Scope]


class ShownToken(msgspec.Struct, kw_only=True, frozen=True):
    id: str
    name: str
    scopes: list[Scope]
    created_ms: int


class MadeToken(ShownToken, kw_only=True, frozen=True):
    token: str
    """The secret itself. It is shown this once."""


class Tokens(msgspec.Struct, kw_only=True, frozen=True):
    needed: bool
    """Whether tokens are asked for at all."""
    tokens: list[ShownToken]


class Setting(msgspec.Struct, kw_only=True, frozen=True):
    name: str
    value: Any
    source: str
    """File and line, variable, flag, or "default"."""
    default: Any
    meaning: str
    unit: str | None = None
    """ "s", "B" (bytes), or none."""


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    version: str
    settings: list[Setting]
    warnings: list[str]


class Stats(msgspec.Struct, kw_only=True, frozen=True):
    now_ms: int
    """By the monitor's clock."""
    started_ms: int
    uptime_s: float
    parts: dict[str, dict[str, Any]]
    """Of each part of the monitor its counters."""
    rates: Rates
    """The last 15 minutes."""
    lateness: LatenessCounts


class Deliveries(msgspec.Struct, kw_only=True, frozen=True):
    deliveries: list[Delivery]
    before: int | None


async def stats(call: Call) -> Stats:
    monitor = call.monitor
    return Stats(
        now_ms=monitor.wall_ms(),
        started_ms=monitor.started_ms,
        uptime_s=monitor.uptime_s(),
        parts=monitor.stats(),
        rates=monitor.rates.rates(),
        lateness=monitor.lateness.counts(),
    )


async def get_hold(call: Call) -> HoldView:
    return hold_view(call.monitor.registry.hold())


async def release_hold(call: Call) -> HoldView:
    wanted = await call.body(Release)
    call.monitor.registry.release_hold(wanted.by[:100] or "api")
    return hold_view(call.monitor.registry.hold())


async def settings(call: Call) -> Settings:
    from heartfelt import __version__

    rows = msgspec.convert(call.monitor.config.sources(), list[Setting])
    return Settings(version=__version__, settings=rows, warnings=list(call.monitor.config.warnings))


async def list_tokens(call: Call) -> Tokens:
    auth = call.monitor.auth
    await auth.reload()
    return Tokens(needed=auth.needed, tokens=[ShownToken(**_shown(one.shown())) for one in auth.tokens()])


async def create_token(call: Call) -> MadeToken:
    wanted = await call.body(NewToken)
    secret, token = await call.monitor.auth.create(wanted.name, [scope.value for scope in wanted.scopes])
    return MadeToken(token=secret, **_shown(token.shown()))


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"scopes": list(fields["scopes"])}


async def revoke_token(call: Call) -> None:
    try:
        await call.monitor.auth.revoke(call.path["id"])
    except TokenUnknown:
        raise no_such("token", call.path["id"], "take an `id` of GET /api/v1/tokens") from None
