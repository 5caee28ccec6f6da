# SPDX-License-Identifier: MIT
"""Providers of extra information: foreign code that may raise, hang, or return anything, and that no beat waits for.

A round starts each provider on a daemon thread of its own, and its end is noticed by the refresh thread. A provider
that has not answered within the time limit has failed; while its thread still hangs it is not called again. What it
says afterwards is dropped. A failure keeps the last good value, and says why.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Provider: TypeAlias = Callable[[], "Mapping[str, str] | None"]

LONGEST_REASON = 200
_logger = logging.getLogger("heartfelt.agent")


class Refused(Exception):
    """What a provider returned cannot be sent; the text says why."""


@dataclass(slots=True)
class _Call:
    """One run of a provider. `over` is set last, by the thread that runs it."""

    provider: Provider
    deadline: float
    late: bool = False
    value: dict[str, str] | None = None
    failure: str | None = None
    over: bool = False


@dataclass(slots=True)
class _Known:
    """What is known of a plugin's provider. Its owner's lock is held to read and to change it."""

    provider: Provider
    value: dict[str, str] | None = None
    failure: str | None = None
    call: _Call | None = None


class Providers:
    """One service's providers, for any thread. `done` is called, by a provider's thread, when its call is over."""

    def __init__(self, limit_s: float, most_bytes: int, done: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._most_bytes = most_bytes
        self._done = done
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()
        self._failures = 0
        self._last_failure: str | None = None

    def set(self, plugin: str, provider: Provider | None) -> None:
        """The plugin's provider from now on; None: it has none. The value of another one is forgotten."""
        with self._lock:
            if provider is None:
                self._known.pop(plugin, None)
            else:
                self._known[plugin] = _Known(provider)

    def add(self, plugin: str, provider: Provider) -> bool:
        """Sets it if the plugin has none; whether it did."""
        with self._lock:
            return self._known.setdefault(plugin, _Known(provider)).provider is provider

    def count(self, failures: Sequence[str]) -> None:
        """Failures to find providers; they are logged already."""
        with self._lock:
            self._failures += len(failures)
            if failures:
                self._last_failure = failures[-1]

    def begin(self) -> bool:
        """Starts a round: all providers that do not run. Whether any was started."""
        with self._lock:
            calls = []
            for plugin, known in self._known.items():
                if known.call is None:
                    known.call = _Call(known.provider, time.monotonic() + self._limit_s)
                    calls.append((plugin, known.call))
        for plugin, call in calls:
            self._start(plugin, call)
        return bool(calls)

    def _start(self, plugin: str, call: _Call) -> None:
        thread = threading.Thread(
            target=_run, args=(call, self._most_bytes, self._done), name=f"heartfelt-provider-{plugin}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            call.failure = reason_of(error)
            call.over = True

    def collect(self) -> tuple[float | None, bool]:
        """Takes what has come, and fails who is too late. The monotonic time of the next deadline, None if nobody is
        waited for; and whether anything was taken or failed."""
        now = time.monotonic()
        told: list[tuple[int, str]] = []
        deadlines = []
        changed = False
        with self._lock:
            for plugin, known in self._known.items():
                call = known.call
                if call is None:
                    continue
                if call.over:
                    known.call = None
                    if not call.late:
                        changed = True
                        self._take(plugin, known, call, told)
                elif call.late:
                    continue
                elif now >= call.deadline:
                    changed = call.late = True
                    self._fail(plugin, known, f"no answer within {self._limit_s:g} s", told)
                else:
                    deadlines.append(call.deadline)
        for level, text in told:
            _logger.log(level, "%s", text)
        return min(deadlines, default=None), changed

    def _take(self, plugin: str, known: _Known, call: _Call, told: list[tuple[int, str]]) -> None:
        if call.failure is not None:
            self._fail(plugin, known, call.failure, told)
            return
        if known.failure is not None:
            told.append((logging.INFO, f"the provider of extra information of {plugin} answers again"))
        known.value, known.failure = call.value, None

    def _fail(self, plugin: str, known: _Known, failure: str, told: list[tuple[int, str]]) -> None:
        self._failures += 1
        self._last_failure = f"{plugin}: {failure}"
        if known.failure != failure:  # told once, counted each time
            told.append((logging.WARNING, f"the provider of extra information of {plugin} failed: {failure}"))
        known.failure = failure

    def values(self) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """The last good values by plugin, and why those failed that did at their last call."""
        with self._lock:
            values = {plugin: known.value for plugin, known in self._known.items() if known.value is not None}
            failures = {plugin: known.failure for plugin, known in self._known.items() if known.failure is not None}
        return values, failures

    def counts(self) -> tuple[int, str | None, int]:
        """Failures so far; the last, with its plugin; how many providers hang."""
        with self._lock:
            hanging = sum(known.call is not None and known.call.late for known in self._known.values())
            return self._failures, self._last_failure, hanging

    def in_child(self) -> None:
        """After a fork: no call goes on here, and the lock may have been held by a thread that is not here."""
        self._lock = threading.Lock()
        for known in self._known.values():
            known.call = None


def _run(call: _Call, most_bytes: int, done: Callable[[], None]) -> None:
    try:
        call.value = checked_value(call.provider(), most_bytes)
    except Refused as refused:
        call.failure = str(refused)
    except BaseException as error:  # SystemExit, too: it is told to the monitor, and ends nothing
        call.failure = reason_of(error)
    call.over = True
    done()


def checked_value(value: Any, most_bytes: int) -> dict[str, str] | None:
    """A provider's answer as a dict of its own; None for nothing. Raises Refused."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise Refused(f"it returned {_a(value)}, not a mapping of str to str")
    copied = {}
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            odd = text if isinstance(key, str) else key
            raise Refused(f"it returned a mapping with {_a(odd)} in it, not one of str to str")
        copied[key] = text
    try:
        size = len(json.dumps(copied, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise Refused("it returned text that is no Unicode: half of a surrogate pair") from None
    if size > most_bytes:
        raise Refused(f"it returned {size} bytes, and at most {most_bytes} are taken (heartfelt.provider.limit)")
    return copied


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def reason_of(error: BaseException) -> str:
    """An exception's type and text, without what JSON cannot carry, cut where it is long."""
    try:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    except Exception:
        text = type(error).__name__
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 3] + "..."
