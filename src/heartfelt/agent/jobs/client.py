# SPDX-License-Identifier: MIT
"""One-shot calls to a monitor: pings, and batches of beats. Each has a connection of its own, and blocks.

What fails is tried again a few times if another try may help. What is given up is counted and logged: once when it
begins, once when it is over, and at DEBUG in between, so that a monitor that is away does not fill a log.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import quote, urlencode

from heartfelt._checks import duration_ns, shown
from heartfelt._net.post import Answer, Where, post, where_of
from heartfelt._version import __version__
from heartfelt.errors import ConfigError, HeartfeltError

DEFAULT_URL = "http://127.0.0.1:8900"
MOST_TEXT = 10_000  # bytes of a ping's text
MOST_KEY = 512  # bytes of a key
MOST_STATUS = 2**32 - 1  # of a process; Windows has such
EVENTS = ("start", "ok", "fail")
PACK_FROM = 1400  # bytes of a batch from which it is compressed
FIRST_BACKOFF_S = 0.2

Event = str | int | None


class MonitorError(HeartfeltError):
    """The monitor did not take it; the text says why, and what to do. `reached`: it answered."""

    def __init__(self, text: str, *, reached: bool) -> None:
        super().__init__(text)
        self.reached = reached


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """sent: calls that were taken; retries: further tries; failed: calls that were given up."""

    sent: int
    retries: int
    failed: int
    last_error: str | None


class Client:
    """A way to one monitor, for any number of threads.

    timeout_s limits one try: connecting, sending and the answer. Up to `tries` are made, `backoff_s`, twice that, ...
    apart, each with jitter. `ca` is a file of CA certificates for https, beside which none is trusted; without it the
    system's are. With raise_errors a call that failed raises MonitorError, otherwise it returns False.

    Raises ConfigError or TypeError for a url, a token or a timeout that cannot be.
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
        self.where = where_of(url)
        self.raise_errors = raise_errors
        self._headers = {"User-Agent": f"heartfelt/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {checked_token(token)}"
        self._ca = ca
        self._context: ssl.SSLContext | None = None
        self._timeout_s = duration_ns(timeout_s, "timeout_s") / 1e9
        self._tries = tries
        self._backoff_s = backoff_s
        self._logger = logger or logging.getLogger("heartfelt.agent")
        self._sleep = sleep
        self._sent = self._retries = self._failed = 0
        self._failing = 0  # calls given up in a row
        self._last_error: str | None = None
        self._lock = threading.Lock()  # of the counters

    def ping(
        self,
        key: str,
        event: Event = None,
        text: str | None = None,
        *,
        duration_ms: int | None = None,
        timeout_ms: int | None = None,
        rid: str | None = None,
    ) -> bool:
        """Tells of a beat (event None), of "start", "ok" or "fail", or of the exit status of a process (an int).

        True if the monitor took it. Text beyond MOST_TEXT bytes is cut. timeout_ms: how long until the next ping of
        this key must be there; rid: which run it belongs to. Raises ConfigError or TypeError for a key or an event
        that cannot be, and MonitorError with raise_errors.
        """
        path = f"/ping/{quote(checked_key(key), safe='')}"
        if event is not None:
            path += f"/{checked_event(event)}"
        given = {"rid": rid, "duration_ms": duration_ms, "timeout_ms": timeout_ms}
        if query := urlencode({name: value for name, value in given.items() if value is not None}):
            path += f"?{query}"
        return self._call(path, cut(text or ""), {"Content-Type": "text/plain; charset=utf-8"})

    def post_beats(self, beats: Sequence[Mapping[str, object]]) -> bool:
        """Sends heartbeats, as one JSON array. True if the monitor took it, or if there are none."""
        if not beats:
            return True
        body = json.dumps(list(beats), separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json"}
        if len(body) >= PACK_FROM:
            body = gzip.compress(body, 6)
            headers["Content-Encoding"] = "gzip"
        return self._call("/api/v1/beats", body, headers)

    def stats(self) -> ClientStats:
        with self._lock:
            return ClientStats(sent=self._sent, retries=self._retries, failed=self._failed, last_error=self._last_error)

    def after_fork(self) -> None:
        """In a child: another thread of the parent may have held the lock, and is not there."""
        self._lock = threading.Lock()

    def _call(self, path: str, body: bytes, headers: Mapping[str, str]) -> bool:
        backoff_s = self._backoff_s
        for left in reversed(range(self._tries)):
            problem, again = self._try(path, body, headers)
            if problem is None:
                self._took()
                return True
            if not (left and again):
                break
            with self._lock:
                self._retries += 1
            self._sleep(backoff_s * random.uniform(0.5, 1))
            backoff_s *= 2
        assert problem is not None
        self._gave_up(path, problem)
        if self.raise_errors:
            raise problem
        return False

    def _try(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[MonitorError | None, bool]:
        """One try: what went wrong, and whether another one may help."""
        try:
            context = self._tls()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            return MonitorError(f"the CA file {shown(self._ca)} cannot be used: {error}", reached=False), False
        try:
            answer = post(
                self.where, path, body, {**self._headers, **headers}, timeout_s=self._timeout_s, context=context
            )
        except (OSError, HTTPException, UnicodeError) as error:
            return MonitorError(explained(self.where, error, self._timeout_s), reached=False), True
        if 200 <= answer.status < 300:
            return None, False
        again = answer.status in (408, 425, 429) or answer.status >= 500
        return MonitorError(refused(self.where, answer), reached=True), again

    def _tls(self) -> ssl.SSLContext | None:
        if self.where.scheme != "https":
            return None
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca)
        return self._context

    def _took(self) -> None:
        with self._lock:
            self._sent += 1
            failing, self._failing = self._failing, 0
        if failing:
            self._logger.info("the monitor at %s takes what is sent again; lost meanwhile: %d", self.where, failing)

    def _gave_up(self, path: str, problem: MonitorError) -> None:
        with self._lock:
            self._failed += 1
            self._failing += 1
            first = self._failing == 1
            self._last_error = str(problem)
        if not self.raise_errors:
            what = path.partition("?")[0]
            self._logger.log(logging.WARNING if first else logging.DEBUG, "not sent, %s: %s", what, problem)


def checked_key(key: str) -> str:
    """The key; TypeError or ConfigError if it cannot stand in a URL."""
    if not isinstance(key, str):
        raise TypeError(f"a key must be str, not {type(key).__name__}: {shown(key)}")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ConfigError(f"the key {shown(key)} is no valid Unicode; give one without lone surrogates") from None
    if not key or key in (".", ".."):
        raise ConfigError(f"{shown(key)} cannot be a key; give a name, for example nightly-backup")
    if size > MOST_KEY:
        raise ConfigError(f"the key {shown(key)} has {size} bytes; give one of at most {MOST_KEY}")
    return key


def checked_event(event: object) -> str | int:
    if isinstance(event, str) and event in EVENTS:
        return event
    if isinstance(event, int) and not isinstance(event, bool) and 0 <= event <= MOST_STATUS:
        return event
    raise ConfigError(
        f"{shown(event)} is no event; give 'start', 'ok', 'fail', an exit status from 0, or None for a beat"
    )


def checked_token(token: str) -> str:
    """The token; the errors do not show it."""
    if not isinstance(token, str):
        raise TypeError(f"a token must be str, not {type(token).__name__}")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError("the token has characters that a header cannot have; it is visible ASCII without spaces")
    return token


def cut(text: str, most: int = MOST_TEXT) -> bytes:
    """UTF-8 of at most so many bytes, whole characters; what is cut is told at the end."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= most:
        return raw
    note = f"... ({len(raw)} bytes)".encode()
    return raw[: most - len(note)].decode("utf-8", "ignore").encode() + note


def explained(where: Where, error: Exception, timeout_s: float) -> str:
    """Why nothing came of a try, and what to do."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"the host {where.host!r} is not known ({error}): check the monitor's URL, {where}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not trusted ({error.verify_message}): give the file of its CA"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection to {where} ({error}): does it speak https at this port?"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}: start the monitor, or give its URL (HEARTFELT_URL)"
    if isinstance(error, TimeoutError):
        return f"{where} did not answer within {timeout_s:g} s: is it reachable from here, and well?"
    if isinstance(error, HTTPException):
        return f"what answers at {where} is no HTTP server ({error!r}): check the monitor's URL"
    return f"no connection to {where}: {error}"


def refused(where: Where, answer: Answer) -> str:
    """What an answer other than 2xx means, and what to do."""
    remedies = {
        401: "it wants another token: set HEARTFELT_TOKEN",
        403: "this token may not do that: set another one, HEARTFELT_TOKEN",
        404: "it knows no such key or path: is this a heartfelt monitor's URL?",
        413: "the text is too long for it: send less",
        429: "it is asked too often: send less often",
    }
    remedy = remedies.get(answer.status, "see its log" if answer.status >= 500 else "")
    if 300 <= answer.status < 400:
        remedy = f"redirects are not followed: give the URL it names, {answer.location}"
    parts = [f"{where} answered {answer.status}", remedy, f"it says: {answer.text}" if answer.text else ""]
    return "; ".join(part for part in parts if part)
