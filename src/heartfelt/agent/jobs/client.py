# SPDX-License-Identifier: MIT
"""Single calls to a monitor: pings, and batches of beats. Each blocks, and uses a connection of its own.

A call that fails is tried again a few times if another try may help. A call that is given up is counted and logged: as
a warning when the failures begin, at INFO when they end, and at DEBUG in between, so that an unreachable monitor does
not fill a log.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, urlencode

from heartfelt._checks import duration_ns, shown
from heartfelt._net.explain import explain
from heartfelt._net.http import HttpResponse
from heartfelt._net.http_client import HttpClient
from heartfelt._net.resolver import Resolver
from heartfelt._net.tls import client_context
from heartfelt._net.token import checked_token
from heartfelt._net.url import DEFAULT_URL, BaseUrl, parse_url
from heartfelt.errors import ConfigError, HeartfeltError

__all__ = ["MOST_KEY", "MOST_TEXT", "ClientStats", "Event", "MonitorError", "PingClient", "checked_key", "truncated"]

MOST_TEXT = 10_000  # bytes of a ping's text
MOST_KEY = 512  # bytes of a key
MOST_STATUS = 2**32 - 1  # of a process; Windows has such
EVENTS = ("start", "ok", "fail")
WORDS = (*EVENTS, "log")
COMPRESS_FROM = 1400  # bytes of a batch from which it is compressed
FIRST_BACKOFF_S = 0.2
MOST_ANSWER_TEXT = 2000  # bytes that are read of an answer

Event: TypeAlias = str | int | None


class MonitorError(HeartfeltError):
    """The monitor did not take the call; the text says why, and what to do. `reached`: the monitor answered."""

    def __init__(self, text: str, *, reached: bool) -> None:
        super().__init__(text)
        self.reached = reached


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """sent: calls that the monitor took; retries: further tries; failed: calls that were given up."""

    sent: int
    retries: int
    failed: int
    last_error: str | None


class PingClient:
    """Calls to one monitor, from any number of threads.

    timeout_s limits one try: looking the host up, connecting, sending and the answer. Up to `tries` are made, with
    waits of `backoff_s`, twice that, ... between them, each with jitter. `ca` is a file of CA certificates for https,
    trusted instead of the system's. With raise_errors, a call that failed raises MonitorError; otherwise it returns
    False.

    Raises ConfigError or TypeError for an invalid url, token or timeout.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        timeout_s: float = 5.0,
        *,
        tries: int = 3,
        backoff_s: float = FIRST_BACKOFF_S,
        raise_errors: bool = False,
        logger: logging.Logger | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = parse_url(url)
        self.raise_errors = raise_errors
        self._headers = {"Connection": "close"}
        if token:
            self._headers["Authorization"] = f"Bearer {checked_token(token)}"
        self._ca = ca
        self._context: ssl.SSLContext | None = None
        self._resolver = Resolver(self.url.host, self.url.port)
        self._timeout_s = duration_ns(timeout_s, "timeout_s") / 1e9
        self._tries = tries
        self._backoff_s = backoff_s
        self._logger = logger or logging.getLogger("heartfelt.agent")
        self._sleep = sleep
        self._sent = self._retries = self._failed = 0
        self._failing = 0  # calls given up in a row
        self._last_error: str | None = None
        self._lock = threading.Lock()  # guards the counters

    def ping(
        self,
        key: str,
        event: Event = None,
        text: str | None = None,
        *,
        duration_ms: int | None = None,
        timeout_ms: int | None = None,
        rid: str | None = None,
        more: Mapping[str, object] | None = None,
    ) -> bool:
        """Reports a beat (event None), "start", "ok" or "fail", or the exit status of a process (an int).

        True if the monitor took it. Text longer than MOST_TEXT bytes is cut. timeout_ms: time until the next ping of
        this key is due, or of this run if there is a rid, which is the run that it belongs to; more: further
        parameters of the query, such as every_ms, grace_ms, max_duration_ms and min_duration_ms of the key. Raises
        ConfigError or TypeError for an invalid key or event, and MonitorError with raise_errors.
        """
        given: dict[str, object] = {"rid": rid, "duration_ms": duration_ms, "timeout_ms": timeout_ms, **(more or {})}
        word = None if event is None else checked_event(event)
        is_word = checked_key(key).lower() in WORDS  # in the path it would be taken for what happened
        if is_word or (word is None and "/" in key):  # so would its last part, behind a proxy that decodes %2F
            path = "/ping"
            is_status = isinstance(word, int)
            given |= {"key": key, "event": None if is_status else word, "exit": word if is_status else None}
        else:
            path = f"/ping/{quote(key, safe='')}" + ("" if word is None else f"/{word}")
        if query := urlencode({name: value for name, value in given.items() if value is not None}):
            path += f"?{query}"
        return self._call(path, truncated(text or ""), {"Content-Type": "text/plain; charset=utf-8"})

    def post_beats(self, beats: Sequence[Mapping[str, object]]) -> bool:
        """Sends heartbeats, as one JSON array. True if the monitor took it, or if there are none."""
        if not beats:
            return True
        body = json.dumps(list(beats), separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json"}
        if len(body) >= COMPRESS_FROM:
            body = gzip.compress(body, 6)
            headers["Content-Encoding"] = "gzip"
        return self._call("/api/v1/beats", body, headers)

    def stats(self) -> ClientStats:
        with self._lock:
            return ClientStats(sent=self._sent, retries=self._retries, failed=self._failed, last_error=self._last_error)

    def after_fork(self) -> None:
        """Called in a forked child, where locks may be held by threads that do not exist there."""
        self._lock = threading.Lock()
        self._resolver = Resolver(self.url.host, self.url.port)

    def _call(self, path: str, body: bytes, headers: Mapping[str, str]) -> bool:
        backoff_s = self._backoff_s
        for left in reversed(range(self._tries)):
            problem, may_help = self._try(path, body, headers)
            if problem is None:
                self._count_success()
                return True
            if not (left and may_help):
                break
            with self._lock:
                self._retries += 1
            self._sleep(backoff_s * random.uniform(0.5, 1))
            backoff_s *= 2
        assert problem is not None
        self._count_failure(path, problem)
        if self.raise_errors:
            raise problem
        return False

    def _try(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[MonitorError | None, bool]:
        """Tries once: returns what went wrong, and whether another try may help."""
        try:
            http = HttpClient(
                self.url,
                wait_s=self._timeout_s,
                tls=self._tls(),
                headers=self._headers,
                resolver=self._resolver,
            )
        except ConfigError as error:
            return MonitorError(f"ca: {error}", reached=False), False
        with http:
            try:
                answer = http.request("POST", path, body, headers, total_s=self._timeout_s)
            except (OSError, ValueError) as error:  # ValueError: a host name that TLS refuses
                return MonitorError(explain(self.url, error, self._timeout_s), reached=False), True
            if 200 <= answer.status < 300:
                return None, False
            may_help = answer.status in (408, 425, 429) or answer.status >= 500
            return MonitorError(refusal(self.url, answer), reached=True), may_help

    def _tls(self) -> ssl.SSLContext | None:
        if self.url.scheme != "https":
            return None
        if self._context is None:
            self._context = client_context(self._ca)
        return self._context

    def _count_success(self) -> None:
        with self._lock:
            self._sent += 1
            failing, self._failing = self._failing, 0
        if failing:
            self._logger.info("the monitor at %s accepts pings again; lost meanwhile: %d", self.url, failing)

    def _count_failure(self, path: str, problem: MonitorError) -> None:
        with self._lock:
            self._failed += 1
            self._failing += 1
            first = self._failing == 1
            self._last_error = str(problem)
        if not self.raise_errors:
            what = path.partition("?")[0]
            self._logger.log(logging.WARNING if first else logging.DEBUG, "could not send %s: %s", what, problem)


def checked_key(key: str) -> str:
    """Returns the key. Raises TypeError or ConfigError if it cannot be part of a URL."""
    if not isinstance(key, str):
        raise TypeError(f"a key must be str, not {type(key).__name__}: {shown(key)}")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ConfigError(f"the key {shown(key)} is not valid Unicode; give one without lone surrogates") from None
    if not key or key in (".", ".."):
        raise ConfigError(f"{shown(key)} cannot be a key; give a name, for example nightly-backup")
    if key.strip(" ") != key:
        raise ConfigError(f"the key {shown(key)} begins or ends with a blank; leave the blank out")
    if size > MOST_KEY:
        raise ConfigError(f"the key {shown(key)} has {size} bytes; give one of at most {MOST_KEY}")
    return key


def checked_event(event: object) -> str | int:
    if isinstance(event, str) and event in EVENTS:
        return event
    if isinstance(event, int) and not isinstance(event, bool) and 0 <= event <= MOST_STATUS:
        return event
    raise ConfigError(
        f"{shown(event)} is not an event; give 'start', 'ok', 'fail', an exit status from 0, or None for a beat"
    )


def truncated(text: str, most: int = MOST_TEXT) -> bytes:
    """UTF-8 of at most `most` bytes, in whole characters; if something was cut off, the end says so."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= most:
        return raw
    note = f"... ({len(raw)} bytes)".encode()
    return raw[: most - len(note)].decode("utf-8", "ignore").encode() + note


def refusal(url: BaseUrl, answer: HttpResponse) -> str:
    """Explains an answer other than 2xx, and what to do."""
    remedies = {
        401: "it requires a valid token: set HEARTFELT_TOKEN",
        403: "this token does not allow that: set another one in HEARTFELT_TOKEN",
        404: "it does not know the key or the path: check that this is the URL of a heartfelt monitor",
        413: "the text is too long: send less",
        429: "there are too many requests: send fewer",
    }
    remedy = remedies.get(answer.status, "see its log" if answer.status >= 500 else "")
    if 300 <= answer.status < 400:
        remedy = f"redirects are not followed: use the URL that it names, {answer.headers.get('location')}"
    try:
        text = " ".join(answer.read_beginning(MOST_ANSWER_TEXT).decode("utf-8", "replace").split())
    except OSError as error:
        text = f"(the answer broke off: {error})"
    parts = [f"{url} answered {answer.status}", remedy, f"its answer: {text}" if text else ""]
    return "; ".join(part for part in parts if part)
