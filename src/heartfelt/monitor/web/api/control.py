# SPDX-License-Identifier: MIT
"""The monitor's own figures and settings, and what an administrator may change: the hold, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from heartfelt._version import __version__
from heartfelt.monitor.history import LatenessCounts, Rates
from heartfelt.monitor.model import HoldState
from heartfelt.monitor.problems import no_such
from heartfelt.monitor.store import Delivery
from heartfelt.monitor.web.api.endpoint import Call
from heartfelt.monitor.web.api.federated import Federated
from heartfelt.monitor.web.api.parts import FleetMonitor
from heartfelt.monitor.web.api.view import HoldView, hold_view
from heartfelt.monitor.web.auth import Scope, TokenUnknown


class Release(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    by: str = "api"
    """The person or program that asks for it, for the record."""


class NewToken(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    name: str
    """Shown in the list of tokens."""
    scopes: list[Scope] = []
    key: str | None = None
    """Makes the secret of a ping URL, for this key alone and without scopes."""


class ShownToken(msgspec.Struct, kw_only=True, frozen=True):
    id: str
    name: str
    scopes: list[Scope]
    key: str | None
    """The key that its URL pings; null: it is not bound to one."""
    created_ms: int


class MadeToken(ShownToken, kw_only=True, frozen=True):
    token: str
    """The secret. It is shown only here, once."""
    url: str | None
    """The URL that pings the key, with the secret in it."""


class Tokens(msgspec.Struct, kw_only=True, frozen=True):
    needed: bool
    """Whether the monitor requires tokens."""
    tokens: list[ShownToken]


class Setting(msgspec.Struct, kw_only=True, frozen=True):
    name: str
    value: Any
    source: str
    """File and line, environment variable, flag, or "default"."""
    default: Any
    meaning: str
    unit: str | None = None
    """ "s", "B" (bytes), or null."""


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    version: str
    settings: list[Setting]
    warnings: list[str]


class Stats(msgspec.Struct, kw_only=True, frozen=True):
    now_ms: int
    """The monitor's clock."""
    started_ms: int
    uptime_s: float
    parts: dict[str, dict[str, Any]]
    """The counters of each part of the monitor."""
    rates: Rates
    """The last 15 minutes."""
    lateness: LatenessCounts
    monitors: list[FleetMonitor]
    """Empty: this monitor is on its own."""


class Deliveries(msgspec.Struct, kw_only=True, frozen=True):
    deliveries: list[Delivery]
    before: int | None


async def stats(call: Call) -> Stats:
    parts = call.parts
    return Stats(
        now_ms=parts.wall_ms(),
        started_ms=parts.started_ms,
        uptime_s=parts.uptime_s(),
        parts=parts.stats(),
        rates=parts.rates.rates(),
        lateness=parts.lateness.counts(),
        monitors=parts.monitors(),
    )


async def _hold(call: Call) -> HoldView:
    return hold_view(call.parts.registry.hold())


async def _released(call: Call) -> HoldView:
    wanted = await call.body(Release)
    call.parts.registry.release_hold(wanted.by[:100] or "api")
    return hold_view(call.parts.registry.hold())


def worst_hold(parts: Sequence[HoldView]) -> HoldView:
    """Makes one hold of those of all monitors: each holds what it owns."""
    active = [part for part in parts if part.state is not HoldState.NONE]
    if len(active) < 2:
        return (active or parts)[0]
    shown = max(active, key=lambda part: (part.state is HoldState.HOLDING, part.held))
    return replace(
        shown,
        scope=shown.scope if len({part.scope for part in active}) == 1 else "",
        held=sum(part.held for part in active),
        since_ms=min((part.since_ms for part in active if part.since_ms is not None), default=None),
        until_ms=max((part.until_ms for part in active if part.until_ms is not None), default=None),
    )


async def _worst(call: Call, parts: Sequence[HoldView]) -> HoldView:
    return worst_hold(parts)


HOLD = Federated(_hold, HoldView, _worst)
RELEASE = Federated(_released, HoldView, _worst, on_all=True)


async def settings(call: Call) -> Settings:
    rows = msgspec.convert(call.parts.config.sources(), list[Setting])
    return Settings(version=__version__, settings=rows, warnings=[*call.parts.config.warnings, *call.parts.warnings()])


async def list_tokens(call: Call) -> Tokens:
    auth = call.parts.auth
    await auth.reload()
    return Tokens(needed=auth.needed, tokens=[ShownToken(**_shown(one.shown())) for one in auth.tokens()])


async def create_token(call: Call) -> MadeToken:
    wanted = await call.body(NewToken)
    secret, token = await call.parts.auth.create(wanted.name, [scope.value for scope in wanted.scopes], key=wanted.key)
    url = None if token.key is None else f"{_base(call)}/ping/{secret}"
    return MadeToken(token=secret, url=url, **_shown(token.shown()))


def _base(call: Call) -> str:
    """Returns the URL of the monitor: `http.public_url`, or the one that the caller used."""
    config, request = call.parts.config, call.request
    if config.http_public_url:
        return config.http_public_url.rstrip("/")
    base = f"{request.url.scheme}://{request.url.netloc}"
    return base + (config.http_base_path or request.scope.get("root_path", "")).rstrip("/")


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"scopes": list(fields["scopes"])}


async def revoke_token(call: Call) -> None:
    try:
        await call.parts.auth.revoke(call.path["id"])
    except TokenUnknown:
        raise no_such("token", call.path["id"], "take an `id` of GET /api/v1/tokens") from None
