# SPDX-License-Identifier: MIT
"""The paths that the ingest serves, as openapi.json describes them: heartbeats and pings."""

from __future__ import annotations

from typing import Any

from heartfelt.monitor.ingest.heartbeat import Heartbeat, HeartbeatsTaken
from heartfelt.monitor.ingest.ping_query import EXIT, PARAMS, WORDS, PingParam
from heartfelt.monitor.web.api.endpoint import Call, Endpoint, Param
from heartfelt.monitor.web.auth import Scope

__all__ = ["INGEST_ENDPOINTS"]

TEXT = "text/plain"
ANY = "application/octet-stream"
INGEST_ERRORS = (408, 413, 415, 429, 503)


async def _elsewhere(call: Call) -> Any:
    raise AssertionError("app.py passes this path to the ingest")


_ENCODING = Param(
    "Content-Encoding", lambda name, value: value, "gzip: the body is compressed",
    schema={"type": "string", "enum": ["gzip", "identity"]},
)  # fmt: skip
_ABOUT_BEATS = (
    "The first heartbeat of an instance registers it. The body may be compressed with gzip, of at most "
    "limits.body_bytes as it is sent and limits.gunzip_bytes as it is read; a list has at most limits.beats_in_body "
    "heartbeats. Of a list, some may be accepted and others refused: the answer names the latter. If none is accepted, "
    "the answer is a problem document. 429: the client beats too fast (limits.beats_of_client_per_s), and nothing was "
    "accepted. 503: there is no room for another instance."
)
_ONE = {"service": "shop", "instanceId": "shop-1", "hostName": "web-3", "intervalMs": 5000, "timeoutMs": 15000}
_BEATS = Endpoint(
    "POST", "/api/v1/beats", Scope.INGEST, _elsewhere, "A heartbeat, or a list of heartbeats",
    body=Heartbeat | list[Heartbeat], answer=HeartbeatsTaken, external=True, about=_ABOUT_BEATS, headers=(_ENCODING,),
    errors=INGEST_ERRORS,
    examples={
        "one": _ONE,
        "list": [_ONE, {"service": "shop", "instanceId": "shop-2", "everyMs": 60000, "graceMs": 10000}],
        "goodbye": {"service": "shop", "instanceId": "shop-1", "goodbye": True},
    },
)  # fmt: skip


def _param(one: PingParam) -> Param:
    return Param(one.name, lambda name, value: value, one.meaning, schema=one.schema)


def _all_but(*left_out: str) -> tuple[Param, ...]:
    return tuple(_param(one) for name, one in PARAMS.items() if name not in left_out)


def _only(*names: str) -> tuple[Param, ...]:
    return tuple(_param(PARAMS[name]) for name in names)


_SUMMARIES = {
    "start": "A run of a job begins",
    "ok": "A run has succeeded",
    "fail": "A run has failed",
    "log": "A text to keep; it renews nothing",
}
_WORD = _all_but("key", "event", "exit")
_STATUS = (*_WORD, Param("event", lambda name, value: value, PARAMS["event"].meaning, schema={
    "type": "string", "enum": [EXIT]}))  # fmt: skip
_PATHS: tuple[tuple[str, str, tuple[Param, ...]], ...] = (
    ("/ping/{key}", "A heartbeat for a key; with rid: progress of a run", _all_but("key")),
    *((f"/ping/{{key}}/{word}", _SUMMARIES[word], _only("rid") if word == "log" else _WORD) for word in WORDS),
    ("/ping/{key}/{status:status}", "A run has ended with this exit status", _STATUS),
    ("/ping", "Any of these, for keys with a / behind a proxy that decodes %2F", _all_but()),
)
_ABOUT_PINGS = (
    "The first ping registers its key. GET, HEAD and POST mean the same. The body, if there is one, is a text that is "
    "kept with the event, whatever its Content-Type; gzip is accepted."
)


def _ping(method: str, path: str, summary: str, params: tuple[Param, ...]) -> Endpoint:
    text: dict[str, Any] = {}
    if method == "POST":
        text = {"body": str, "body_media": (TEXT, ANY), "headers": (_ENCODING,), "examples": {"text": "disk full"}}
    return Endpoint(
        method, path, Scope.INGEST, _elsewhere, summary, params, answer=str, media=TEXT, external=True,
        about=_ABOUT_PINGS, errors=(404, *INGEST_ERRORS), **text,
    )  # fmt: skip


INGEST_ENDPOINTS: tuple[Endpoint, ...] = (
    _BEATS,
    *(_ping(method, *path) for path in _PATHS for method in ("GET", "HEAD", "POST")),
)
