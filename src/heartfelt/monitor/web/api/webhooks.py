# SPDX-License-Identifier: MIT
"""Webhooks: list, create, change, delete, test; and their deliveries. Secrets are never shown again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from heartfelt.monitor.problems import no_such
from heartfelt.monitor.web.api.control import Deliveries
from heartfelt.monitor.web.api.endpoint import Call
from heartfelt.monitor.webhooks import UnknownTarget

if TYPE_CHECKING:
    ShownWebhook: TypeAlias = dict[str, Any]
    WebhookDefaults: TypeAlias = dict[str, Any]
else:
    from heartfelt.monitor.web.api.webhook_shapes import ShownWebhook, WebhookDefaults


class Webhooks(msgspec.Struct, kw_only=True, frozen=True):
    webhooks: list[ShownWebhook]
    defaults: WebhookDefaults
    """The fields that a new webhook may omit, with their defaults."""


@contextlib.contextmanager
def _known(call: Call) -> Iterator[str]:
    """Yields the webhook's id. Wraps all work with a webhook: if it is deleted meanwhile, that is a 404."""
    try:
        yield call.path["id"]
    except UnknownTarget:
        raise no_such("webhook", call.path["id"], "take an `id` of GET /api/v1/webhooks") from None


async def list_webhooks(call: Call) -> Webhooks:
    webhooks = call.parts.webhooks
    return Webhooks(webhooks=webhooks.targets(), defaults=webhooks.defaults())


async def create_webhook(call: Call) -> dict[str, Any]:
    return await call.parts.webhooks.create(await call.body(dict[str, Any]))


async def get_webhook(call: Call) -> dict[str, Any]:
    with _known(call) as id_:
        return call.parts.webhooks.get(id_)


async def update_webhook(call: Call) -> dict[str, Any]:
    fields: dict[str, Any] = await call.body(dict[str, Any])
    with _known(call) as id_:
        return await call.parts.webhooks.update(id_, fields)


async def delete_webhook(call: Call) -> None:
    with _known(call) as id_:
        await call.parts.webhooks.delete(id_)


async def test_webhook(call: Call) -> Any:
    with _known(call) as id_:
        return await call.parts.webhooks.test(id_)


async def list_deliveries(call: Call) -> Deliveries:
    limit = call["limit"]
    found = await call.parts.store.deliveries(call["webhook"], call["before"], limit)
    return Deliveries(deliveries=found, before=found[-1].number if len(found) == limit else None)
