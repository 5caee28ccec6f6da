# SPDX-License-Identifier: MIT
"""The JSON of webhooks in requests and answers, made from the fields of `Target`, which checks and stores them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from heartfelt.monitor.web.api.meanings import SOURCE
from heartfelt.monitor.webhooks.target_state import Refusal
from heartfelt.monitor.webhooks.targets import SETTABLE, Target

__all__ = ["ChangedWebhook", "NewWebhook", "ShownWebhook", "WebhookDefaults", "WebhookTried"]

_NEEDED = ("kind", "url")
_HIDDEN = "generation"
_FIELDS = {field.name: field for field in msgspec.structs.fields(Target)}


class WebhookRecord(msgspec.Struct, kw_only=True, frozen=True):
    """How the calls of a webhook went since the monitor's start."""

    breaker: Literal["closed", "open", "half-open"]
    """open: it is not called for a while, since several calls failed in a row; half-open: one call tries it out."""
    failures: int
    """Calls that failed in a row."""
    delivered: int
    failed: int
    """Calls that failed."""
    given_up: int
    refused: int
    """Messages that it refused."""
    refusing: bool
    """Whether it refused the last message."""
    last_refusal: Refusal | None
    last_answer: str
    """The result of the last call."""
    last_success_ms: int | None


class WebhookTried(msgspec.Struct, kw_only=True, frozen=True):
    """The result of a test message."""

    ok: bool
    status: int | None
    """The HTTP status; null: there was no answer."""
    error: str
    remedy: str
    excerpt: str
    """The beginning of the answer's body."""
    duration_ms: int


def _struct(name: str, fields: Iterable[Any], **options: Any) -> Any:
    return msgspec.defstruct(
        name, fields, kw_only=True, frozen=True, module=__name__, namespace={SOURCE: Target}, **options
    )


def _new(name: str) -> Any:
    field = _FIELDS[name]
    if name in _NEEDED:
        return name, field.type
    if field.default_factory is not msgspec.NODEFAULT:
        return name, field.type, msgspec.field(default_factory=field.default_factory)
    if field.default is not msgspec.NODEFAULT:
        return name, field.type, field.default
    return _optional(name)


def _optional(name: str) -> Any:
    return name, _FIELDS[name].type | msgspec.UnsetType, msgspec.UNSET


def _whole(name: str) -> Any:
    return name, _FIELDS[name].type


_SETTABLE = [name for name in _FIELDS if name in SETTABLE]
NewWebhook = _struct("NewWebhook", map(_new, _SETTABLE), forbid_unknown_fields=True)
ChangedWebhook = _struct("ChangedWebhook", map(_optional, _SETTABLE), forbid_unknown_fields=True)
WebhookDefaults = _struct("WebhookDefaults", [_whole(name) for name in _SETTABLE if name not in (*_NEEDED, "name")])
ShownWebhook = _struct("ShownWebhook", [_whole(name) for name in _FIELDS if name != _HIDDEN], bases=(WebhookRecord,))
