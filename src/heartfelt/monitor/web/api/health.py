# SPDX-License-Identifier: MIT
"""Health checks and metrics."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from heartfelt.monitor.web.api.endpoint import JSON, Call


async def healthz(call: Call) -> dict[str, Any]:
    return {"ok": True}


async def readyz(call: Call) -> Response:
    ready = call.parts.readiness()
    status = 200 if ready.ready else 503
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(ready), status_code=status, media_type=JSON, headers=headers)


async def metrics(call: Call) -> Response:
    body, media = await call.parts.metrics.text(call.request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media, "Cache-Control": "no-store"})
