# SPDX-License-Identifier: MIT
"""Reads what a ping says: its key, the word after it, and its query.

    /ping/KEY                    a heartbeat
    /ping/KEY/start              a run begins
    /ping/KEY/ok  /ping/KEY/0    a run has succeeded
    /ping/KEY/fail  /ping/KEY/3  a run has failed; 3: its exit status
    /ping/KEY/log                a text to keep, nothing else
    /ping?key=KEY                the same, with event=start, ok, fail or log, or exit=3

Words are taken in any letter case, and one "/" at the end means nothing. A word is always a word: a key that ends with
one is written with %2F before it, or in the query, which also survives a proxy that decodes %2F.

A number is an exit status unless the path as a whole is a known key, as svc/1 that beats by UDP: then it is a beat of
that key. If svc has reported runs, too, the ping is refused, since it can mean either. It is also refused if there are
other such keys, as svc/2, and svc has reported no run: then svc/1 may be a new one. With a duration, which only an end
has, or with event=exit, it is an exit status whatever is known. Any other last part belongs to the key; if the part
before it is a known key and the whole is not, it is refused as a word that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import msgspec

from heartfelt.monitor.ingest.decode import BadInput, parse_duration_ms
from heartfelt.monitor.ingest.ping_query import DURATIONS, EXIT, KNOWN, MAY_BE_ZERO, MOST_MS, MOST_RID, STATUS, WORDS

__all__ = ["NO_SUCH_WORD", "PATH", "PingReport", "PingWords"]

PATH = "/ping"
NO_SUCH_WORD = "word"
"""The reason of a refusal that is answered with 404."""
MOST_QUERY = 4096
_WORDS = frozenset(word.encode() for word in WORDS)
_NAMES = ", ".join(sorted(WORDS))
_EXIT = (EXIT, None)
_STATUS = re.compile(STATUS.encode())
_MS = re.compile(r"[0-9]{1,20}", re.ASCII)
_SPECIAL = re.compile(rb"/(?:start|ok|fail|log|-?\d{1,10})?/?\Z", re.IGNORECASE)


class PingReport(msgspec.Struct, kw_only=True):
    """The content of a ping."""

    key: str
    word: str = ""
    """"start", "ok", "fail" or "log"; "" for a heartbeat."""
    status: int | None = None
    """The exit status, if the end was reported by one."""
    rid: str = ""
    timeout_ms: int | None = None
    duration_ms: int | None = None
    terms: dict[str, int] = {}
    """every_ms, grace_ms, max_duration_ms, min_duration_ms: those that it asks for."""


class PingWords:
    """`key_of`: decodes and checks a key, or raises BadInput. `is_here`, `is_job`: by the key, as far as this monitor
    knows. `is_known`: any monitor knows the key; may raise if it must be asked first. `has_numbered`: there is a key
    that is this one, "/" and a number."""

    def __init__(
        self,
        key_of: Callable[[bytes], str],
        is_here: Callable[[str], bool],
        is_known: Callable[[str], bool],
        is_job: Callable[[str], bool],
        has_numbered: Callable[[str], bool],
    ) -> None:
        self._key_of = key_of
        self._is_here = is_here
        self._is_known = is_known
        self._is_job = is_job
        self._has_numbered = has_numbered

    @staticmethod
    def plain_key(path: bytes, *, encoded: bool) -> bytes | None:
        """Returns the key if the path, from its "/" after /ping on, can be nothing but a key: the fast path."""
        if _SPECIAL.search(path, 1) is not None:
            return None
        key = path[1:]
        return unquote_to_bytes(key) if encoded and b"%" in key else key

    def read(self, path: bytes, query: bytes, *, encoded: bool) -> PingReport:
        """Raises BadInput. `path`: what follows /ping. `encoded`: it is percent-encoded, as it was sent."""
        asked = _asked(query)
        says = _event_of(asked)
        if "key" in asked:
            if path.strip(b"/"):
                shown = path.decode("latin-1")[:60]
                raise BadInput(
                    "query", f"the key is given twice: in the path {shown!r} and as key=; leave one out", "key"
                )
            key = self._checked(asked["key"].encode())
            if says == _EXIT:
                raise _no_status(path)
            word, status = says or ("", None)
        else:
            is_end = "duration_ms" in asked or "duration" in asked
            key, word, status = self._from_path(path, says, is_end=is_end, encoded=encoded)
        report = PingReport(key=key, word=word, status=status, rid=_rid(asked), **_times(asked))
        if word == "log" and (report.timeout_ms is not None or report.duration_ms is not None or report.terms):
            raise BadInput("query", "log only keeps a text: leave out durations, or send them with another ping")
        return report

    def _from_path(
        self, path: bytes, says: tuple[str, int | None] | None, *, is_end: bool, encoded: bool
    ) -> tuple[str, str, int | None]:
        raw = path.removeprefix(b"/").removesuffix(b"/")
        if not raw:
            raise BadInput("key", "the key is missing; write /ping/KEY, or /ping?key=KEY", "key")
        parts = [unquote_to_bytes(part) for part in raw.split(b"/")] if encoded else raw.split(b"/")
        for part in parts:
            if not part:
                raise BadInput(
                    "key", f"{_shown(path)} has an empty part; leave out the second /, or write it as %2F", "key"
                )
            _check_blanks(part)
        last = parts[-1].lower() if len(parts) > 1 else b""
        name = b"/".join(parts[:-1])
        whole = b"/".join(parts)
        if last in _WORDS:
            if says is not None:
                raise BadInput("query", f"{_shown(path)} and the query both say what happened; leave one out", "event")
            key = self._key_of(name)
            self._check_new(key, parts[:-1])
            return key, last.decode(), None
        key = self._key_of(whole)
        if says == _EXIT and not (last and _STATUS.fullmatch(last)):
            raise _no_status(path)
        if says is not None and says != _EXIT:
            return key, *says
        if last and _STATUS.fullmatch(last):
            job, status = self._key_of(name), int(last)
            if not (is_end or says == _EXIT):
                if self._is_job(job):
                    if self._is_here(key):
                        what = f"{key[:60]!r} is a key, and {job[:60]!r} is a job that may end"
                        raise _ambiguous(what, key, job, status)
                elif self._is_here(key):
                    return key, "", None
                elif self._has_numbered(job):
                    what = f"{key[:60]!r} may be a new key, as there are others like it, or {job[:60]!r} a job"
                    raise _ambiguous(f"{what} that ended", key, job, status)
                elif self._is_known(key):
                    return key, "", None
            self._check_new(job, parts[:-1])
            return job, _ended(status), status
        if not self._is_here(key):
            self._check_new(key, parts)
            for n in range(1, len(parts)):
                known = b"/".join(parts[:n]).decode()
                if self._is_here(known) and not self._is_known(key):
                    raise _no_such_word(known, key)
        return key, "", None

    def _check_new(self, key: str, parts: list[bytes]) -> None:
        """Refuses an unknown key with a word in it, as /ping/fail and /ping/KEY/fail/now."""
        for part in parts:
            if part.lower() in _WORDS and not self._is_known(key):
                raise BadInput(
                    "key",
                    f"{part.decode()!r} follows a key and ends the path, as in /ping/KEY/{part.decode()}; to have it "
                    f"in the key, write /ping?key={quote(key[:60], safe='')}",
                    "key",
                )

    def _checked(self, name: bytes) -> str:
        if not name:
            raise BadInput("key", "the key is missing; write /ping?key=KEY", "key")
        _check_blanks(name)
        return self._key_of(name)


def _ended(status: int) -> str:
    return "fail" if status else "ok"


def _check_blanks(part: bytes) -> None:
    if part.strip() != part:
        raise BadInput(
            "key", f"{part[:60].decode(errors='replace')!r} begins or ends with a blank; leave the blank out", "key"
        )


def _no_status(path: bytes) -> BadInput:
    return BadInput(
        "query", f"event=exit needs an exit status at the end of the path {_shown(path)}; or write exit=3", "event"
    )


def _ambiguous(what: str, key: str, job: str, status: int) -> BadInput:
    remedy = f"write {_path(key)} for the key, or ?exit={status} after {_path(job)} for the job"
    return BadInput("key", f"{what} with this exit status; {remedy}", "key")


def _no_such_word(known: str, key: str) -> BadInput:
    rest = key[len(known) + 1 :]
    return BadInput(
        NO_SUCH_WORD,
        f"{known[:60]!r} is known, and {rest[:60]!r} is not a word that may follow it: {_NAMES}, or an exit status; if "
        f"{key[:60]!r} is a new key, write {_path(key)}",
        "key",
    )


def _path(key: str) -> str:
    """Returns the path that means this key and nothing else."""
    return f"/ping/{quote(key[:60], safe='+')}"


def _shown(path: bytes) -> str:
    return repr("/ping" + path[:60].decode("latin-1"))


def _asked(query: bytes) -> dict[str, str]:
    if not query:
        return {}
    if len(query) > MOST_QUERY:
        raise BadInput("query", f"the query has {len(query)} bytes; the limit is {MOST_QUERY}")
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, max_num_fields=20, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise BadInput("query", f"the query cannot be read: {error}") from None
    asked: dict[str, str] = {}
    for name, value in pairs:
        if name not in KNOWN:
            raise BadInput("query", f"unknown parameter {name[:40]!r}; a ping takes {', '.join(KNOWN)}", name)
        if name in asked:
            raise BadInput("query", f"{name} is given twice; leave one out", name)
        asked[name] = value
    return asked


def _rid(asked: dict[str, str]) -> str:
    rid = asked.get("rid", "")
    if len(rid) > MOST_RID or not rid.isprintable():
        raise BadInput("query", f"rid must be at most {MOST_RID} printable characters; got {rid[:40]!r}", "rid")
    return rid


def _event_of(asked: dict[str, str]) -> tuple[str, int | None] | None:
    """Returns the word and the exit status that the query has instead of the path; None: neither."""
    if "event" in asked and "exit" in asked:
        raise BadInput("query", "event and exit both say what happened; leave one out", "event")
    if "event" in asked:
        word = asked["event"].lower()
        if word == _EXIT[0]:
            return _EXIT
        if word.encode() not in _WORDS:
            raise BadInput("query", f"event must be one of {_NAMES}, {EXIT}; got {asked['event'][:40]!r}", "event")
        return word, None
    if "exit" in asked:
        if not _STATUS.fullmatch(asked["exit"].encode()):
            raise BadInput("query", f"exit must be an exit status such as 0 or 3; got {asked['exit'][:40]!r}", "exit")
        status = int(asked["exit"])
        return _ended(status), status
    return None


def _times(asked: dict[str, str]) -> dict[str, Any]:
    found: dict[str, int] = {}
    for name in DURATIONS:
        in_ms = f"{name}_ms"
        if name in asked and in_ms in asked:
            raise BadInput("query", f"{name} and {in_ms} are the same; leave one out", name)
        if name in asked:
            is_zero = name in MAY_BE_ZERO and asked[name] == "0"
            found[in_ms] = 0 if is_zero else parse_duration_ms(name, asked[name])
        elif in_ms in asked:
            found[in_ms] = _whole(in_ms, asked[in_ms], 0 if name in MAY_BE_ZERO else 1)
    least, most = found.get("min_duration_ms"), found.get("max_duration_ms")
    if least is not None and most is not None and least > most:
        raise BadInput("field", f"min_duration {least} ms is above max_duration {most} ms; swap them", "min_duration")
    timeout_ms, duration_ms = found.pop("timeout_ms", None), found.pop("duration_ms", None)
    return {"timeout_ms": timeout_ms, "duration_ms": duration_ms, "terms": found}


def _whole(name: str, text: str, least: int) -> int:
    if _MS.fullmatch(text) is None or not least <= int(text) <= MOST_MS:
        remedy = f"must be a whole number of ms, from {least} to {MOST_MS}"
        raise BadInput("field", f"{name} {remedy}; got {text[:40]!r}", name)
    return int(text)
