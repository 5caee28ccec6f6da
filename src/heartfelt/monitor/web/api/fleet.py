# SPDX-License-Identifier: MIT
"""All instances in short, for who draws every one of them: a tenth of what the list of instances would send."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from heartfelt.monitor.model import State
from heartfelt.monitor.web.api.endpoint import JSON, Call
from heartfelt.monitor.web.api.listing import in_slices

_STATES = tuple(State)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}


class Fleet(msgspec.Struct, kw_only=True, frozen=True):
    stream_id: str
    """The number of the stream's newest message when this was begun: to follow from there."""
    states: list[State]
    services: list[str]
    rows: list[tuple[int, int, int, int, int]]
    """Of each instance: its id, its service and its state as their places in the lists above, its last beat in ms since
    the epoch, its lease in ms."""
    held: list[int]
    """Ids of those LATE ones whose loss is held. Of others the stream tells by `held`; a change ends it."""


async def get_fleet(call: Call) -> Response:
    """Encoded a slice at a time: 100,000 instances must not stop the loop."""
    after = call["after"]
    monitor = call.monitor
    encode = msgspec.json.Encoder().encode
    stream_id = monitor.stream.last_id
    services: dict[str, int] = {}
    parts: list[bytes] = []
    held: list[int] = []
    async for some in in_slices(monitor.registry.instances()):
        rows = [
            (
                one.id,
                services.setdefault(one.service, len(services)),
                _NUMBERS[one.state],
                one.last_beat_ms,
                one.lease_ms,
            )
            for one in some
            if one.id > after
        ]
        held += [one.id for one in some if one.held and one.id > after]
        if rows:
            parts.append(encode(rows)[1:-1])
    head = encode({"stream_id": stream_id, "states": _STATES, "services": list(services)})[:-1]
    body = b'%s,"rows":[%s],"held":%s}' % (head, b",".join(parts), encode(held))
    return Response(body, media_type=JSON, headers={"Cache-Control": "no-store"})
