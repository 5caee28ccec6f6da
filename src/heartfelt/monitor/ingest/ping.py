# SPDX-License-Identifier: MIT
"""Pings: `/ping/<key>[/start|/ok|/fail|/<exit status>]`, as curl and cron send them.

The key is the rest of the path, percent-decoded. A "/" of the key itself that stands before one of those words must be
written as %2F. A plain ping, /ok and an exit status of 0 renew the key. /fail and any other exit status renew it, too,
and report an EMERGENCY event. /start reports that a run began and renews nothing, since only the end of a run shows
that the job works. The query: `rid` names the run, `duration_ms` is its length (by default the time since its /start),
`timeout_ms` or `timeout` (90, 5m, 1d12h) is the timeout that this key has from now on. The body is the event's text.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from heartfelt.monitor.ingest.decode import BadInput, parse_duration_ms
from heartfelt.monitor.ingest.intake import Intake, service_of
from heartfelt.monitor.model import AgentEvent, Level
from heartfelt.monitor.reasons import Reason, english, make

__all__ = ["PREFIX", "Pings"]

PREFIX = "/ping/"
VIA = "ping"
MOST_RUNS = 10_000
MOST_QUERY = 4096
MOST_RID = 100
_WORDS = frozenset((b"start", b"ok", b"fail"))
_STATUS = re.compile(rb"-?\d{1,10}")
_NAMES = {"": "ping", "start": "started", "ok": "succeeded", "0": "succeeded", "fail": "failed"}
_KNOWN = ("rid", "duration_ms", "timeout_ms", "timeout")


class Pings:
    """Belongs to the loop's thread. Remembers the last MOST_RUNS runs that began and did not end."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._runs: dict[tuple[str, str], int] = {}  # (key, rid) -> start time in ms

    def __len__(self) -> int:
        return len(self._runs)

    def take(self, raw_path: bytes | None, path: str, query: bytes, body: bytes, peer: str) -> None:
        """Accepts a ping. Raises BadInput or Refused."""
        raw = path.encode() if raw_path is None else raw_path
        raw = raw[raw.find(b"/ping/") + len(PREFIX) :]
        name, _, word = raw.rpartition(b"/")
        if name and (word in _WORDS or _STATUS.fullmatch(word)):
            action = word.decode() if word in _WORDS else str(int(word))
        else:
            name, action = raw, ""
        plain = name if raw_path is None or b"%" not in name else unquote_to_bytes(name)
        if not action and not query and not body:
            self._intake.take_name(plain, VIA, peer)
            return
        key = self._intake.key_of(plain)
        asked = _query(query)
        timeout_ms = _timeout_ms(asked)
        info = self._info(key, action, asked)
        if action != "start":
            self._intake.take_key(key, VIA, peer, timeout_ms)
        if action or body:
            self._report(key, info, body, peer)

    def _info(self, key: str, action: str, asked: dict[str, str]) -> dict[str, Any]:
        now_ms = self._intake.wall_ms()
        rid = asked.get("rid", "")
        duration_ms = _whole("duration_ms", asked["duration_ms"], 0) if "duration_ms" in asked else None
        info: dict[str, Any] = {"name": _NAMES.get(action, "failed")}
        if rid:
            info["rid"] = rid
        if (action and action not in _NAMES) or action == "0":
            info["exit_status"] = int(action)
        if action == "start":
            self._began(key, rid, now_ms)
        elif action:
            began = self._runs.pop((key, rid), None)
            if duration_ms is None and began is not None:
                duration_ms = max(now_ms - began, 0)
            if duration_ms is not None:
                info["duration_ms"] = duration_ms
        if (reason := _ended(info)) is not None:
            info |= {"description": english(reason), **reason.fields()}
        return info

    def _report(self, key: str, info: dict[str, Any], body: bytes, peer: str) -> None:
        now_ms = self._intake.wall_ms()
        if body:
            most = self._intake.limits.event_bytes
            info["text"] = body[:most].decode(errors="replace")
            if len(body) > most:
                info["cut_from_bytes"] = len(body)
        self._intake.event(
            AgentEvent(
                time_ms=now_ms,
                received_ms=now_ms,
                service=service_of(key),
                instance_id=key,
                ip=peer,
                scope="job",
                level=Level.EMERGENCY if info["name"] == "failed" else Level.NORMAL,
                type="PING",
                info=info,
            ),
            VIA,
        )

    def _began(self, key: str, rid: str, now_ms: int) -> None:
        self._runs.pop((key, rid), None)
        if len(self._runs) >= MOST_RUNS:
            del self._runs[next(iter(self._runs))]
        self._runs[(key, rid)] = now_ms


def _ended(info: dict[str, Any]) -> Reason | None:
    """How a run ended, as far as that was said."""
    status, duration_ms = info.get("exit_status"), info.get("duration_ms")
    if status:
        return make("exit_status", status=status, duration_ms=duration_ms)
    return None if duration_ms is None else make("run_took", duration_ms=duration_ms)


def _query(query: bytes) -> dict[str, str]:
    if len(query) > MOST_QUERY:
        raise BadInput("query", f"the query has {len(query)} bytes; the limit is {MOST_QUERY}")
    try:
        asked = dict(parse_qsl(query.decode(), keep_blank_values=True, max_num_fields=20))
    except (UnicodeDecodeError, ValueError) as error:
        raise BadInput("query", f"the query cannot be read: {error}") from None
    for name in asked:
        if name not in _KNOWN:
            raise BadInput("query", f"unknown parameter {name[:40]!r}; a ping takes {', '.join(_KNOWN)}", name)
    rid = asked.get("rid", "")
    if len(rid) > MOST_RID or not rid.isprintable():
        raise BadInput("query", f"rid must be at most {MOST_RID} printable characters; got {rid[:40]!r}", "rid")
    return asked


def _timeout_ms(asked: dict[str, str]) -> int | None:
    if "timeout" in asked:
        return parse_duration_ms("timeout", asked["timeout"])
    if "timeout_ms" in asked:
        return _whole("timeout_ms", asked["timeout_ms"], 1)
    return None


def _whole(name: str, text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 11 or int(text) < least:
        raise BadInput("field", f"{name} must be a whole number of ms, {least} or more; got {text[:40]!r}", name)
    return int(text)
