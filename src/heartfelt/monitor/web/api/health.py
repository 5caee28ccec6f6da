# SPDX-License-Identifier: MIT
"""Health, metrics, and the description of the interface itself."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from heartfelt.monitor.web.api.endpoint import JSON, Call


class Ready(msgspec.Struct, kw_only=True, frozen=True):
    ready: bool
    store: str
    """"ok", or what is wrong with it."""
    listeners: dict[str, bool]


async def healthz(call: Call) -> dict[str, Any]:
    return {"ok": True}


async def readyz(call: Call) -> Response:
    ready = call.monitor.readiness()
    status = 200 if ready.ready else 503
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(ready), status_code=status, media_type=JSON, headers=headers)


async def metrics(call: Call) -> Response:
    body, media = await call.monitor.metrics.text(call.request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media, "Cache-Control": "no-store"})


async def openapi(call: Call) -> Response:
    from heartfelt.monitor.web.api.openapi import document

    return Response(document(), media_type=JSON)
