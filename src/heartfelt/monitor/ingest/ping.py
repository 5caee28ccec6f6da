# SPDX-License-Identifier: MIT
"""Pings, as curl and cron send them; ping_words.py has what they can say.

A plain ping renews its key, and ends the run that has no id. With `rid` it is progress of that run: it renews the key,
and its `timeout` is how long the run may be without progress from now on. /start registers its key, and renews nothing
otherwise, since only the end of a run shows that the job works; its `timeout` is the run's. An end renews the key; any
other `timeout` is the key's from now on. /log neither renews nor registers.

The query besides that: `rid` names the run, `duration` is its length (by default the time since its start), `every`
and `grace` are the key's period, `max_duration` and `min_duration` bounds on its runs. Durations are written as 90, 5m
or 1d12h, or in ms as `timeout_ms` and the like. The body is the event's text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt.monitor.fleet.jobs import PING
from heartfelt.monitor.fleet.owners import Elsewhere, Raw, RawKind
from heartfelt.monitor.ingest.intake import Intake, service_of
from heartfelt.monitor.ingest.ping_words import PATH, PingReport, PingWords
from heartfelt.monitor.model import AgentEvent, Level, Run
from heartfelt.monitor.reasons import Reason, english, make

__all__ = ["Pings"]

_BEFORE_KEY = PATH.encode() + b"/"
_NAMES = {"": "ping", "start": "started", "ok": "succeeded", "fail": "failed", "log": "logged"}


class Pings:
    """Belongs to the loop's thread."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._jobs = intake.registry.jobs
        self._words = PingWords(intake.key_of, self._is_here, self._is_known, self._is_job, self._has_numbered)
        intake.pings = self._take_again

    def take(self, raw_path: bytes | None, path: str, query: bytes, body: bytes, peer: str) -> None:
        """Accepts a ping. Raises BadInput or InputRefused."""
        raw = path.encode() if raw_path is None else raw_path
        at = raw.find(_BEFORE_KEY)
        rest = raw[at + len(PATH) :] if at >= 0 else b""
        encoded = raw_path is not None
        if not query and not body:
            name = self._words.plain_key(rest, encoded=encoded)
            if name is not None and name in self._intake.known.names:
                self._intake.take_name(name, PING, peer)
                return
        try:
            report = self._words.read(rest, query, encoded=encoded)
            run = self._tell(report, body, peer)
        except Elsewhere as found:
            service, key = found.name
            data = msgspec.msgpack.encode((raw_path, path, query, body))
            said = Raw(kind=RawKind.PING, service=service, instance_id=key, data=data, via=PING, peer=peer)
            self._intake.elsewhere(found, said)
            return
        if report.word or body:
            self._log(report, run, body, peer)

    def _take_again(self, raw: Raw) -> None:
        """Takes a ping that was kept or forwarded."""
        raw_path, path, query, body = msgspec.msgpack.decode(raw.data, type=tuple[bytes | None, str, bytes, bytes])
        self.take(raw_path, path, query, body, raw.peer)

    # -- what is known of keys: by this monitor, and by all

    def _is_here(self, key: str) -> bool:
        name, foreign = (service_of(key), key), self._intake.foreign
        return self._intake.registry.find(*name) is not None or (foreign is not None and foreign.is_here(name))

    def _is_known(self, key: str) -> bool:
        name, foreign = (service_of(key), key), self._intake.foreign
        return self._intake.registry.find(*name) is not None or (foreign is not None and foreign.is_known(name))

    def _is_job(self, key: str) -> bool:
        name, foreign = (service_of(key), key), self._intake.foreign
        instance = self._intake.registry.find(*name)
        if instance is not None:
            return instance.is_job
        return foreign is not None and foreign.is_job(name)

    def _has_numbered(self, service: str) -> bool:
        foreign = self._intake.foreign
        here = self._intake.registry.has_numbered(service)
        return here or (foreign is not None and foreign.shadows.numbered.has(service))

    def _tell(self, report: PingReport, body: bytes, peer: str) -> Run | None:
        """Tells the registry. Returns the run that the ping is about, if it is about one."""
        intake, jobs, word, rid = self._intake, self._jobs, report.word, report.rid
        if word == "log":
            return None
        text = body[: intake.limits.event_bytes].decode(errors="replace")
        if word == "start":
            beat = intake.beat_of_key(report.key, PING, peer, **report.terms)
            return jobs.begins(beat, rid, timeout_ms=report.timeout_ms, text=text)
        run: Run | None
        if word:
            beat = intake.beat_of_key(report.key, PING, peer, timeout_ms=report.timeout_ms, **report.terms)
            run = jobs.ends(
                beat, rid, failed=word == "fail", status=report.status, duration_ms=report.duration_ms, text=text
            )
        elif rid:
            beat = intake.beat_of_key(report.key, PING, peer, **report.terms)
            run = jobs.progresses(beat, rid, timeout_ms=report.timeout_ms, text=text)
        else:
            intake.take_key(report.key, PING, peer, timeout_ms=report.timeout_ms, **report.terms)
            return None
        intake.counters.beats[PING] += 1
        return run

    def _log(self, report: PingReport, run: Run | None, body: bytes, peer: str) -> None:
        now_ms = self._intake.wall_ms()
        info: dict[str, Any] = {"name": _NAMES[report.word]}
        if report.rid:
            info["rid"] = report.rid
        if report.status is not None:
            info["exit_status"] = report.status
        if report.word in ("ok", "fail") and run is not None:
            if run.duration_ms is not None:
                info["duration_ms"] = run.duration_ms
            info["result"] = run.result.value
            if (reason := _ended(run)) is not None:
                info |= {"description": english(reason), **reason.fields()}
        if body:
            most = self._intake.limits.event_bytes
            info["text"] = body[:most].decode(errors="replace")
            if len(body) > most:
                info["cut_from_bytes"] = len(body)
        self._intake.event(
            AgentEvent(
                time_ms=now_ms,
                received_ms=now_ms,
                service=service_of(report.key),
                instance_id=report.key,
                ip=peer,
                scope="job",
                level=Level.EMERGENCY if report.word == "fail" else Level.NORMAL,
                type="PING",
                info=info,
            ),
            PING,
        )


def _ended(run: Run) -> Reason | None:
    """How a run ended, as far as that was said."""
    if run.status:
        return make("exit_status", status=run.status, duration_ms=run.duration_ms)
    return None if run.duration_ms is None else make("run_took", duration_ms=run.duration_ms)
