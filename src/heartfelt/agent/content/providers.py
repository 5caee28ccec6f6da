# SPDX-License-Identifier: MIT
"""Providers of extra information: users' code, which may raise, hang, or return anything, and delays no beat.

A round calls each provider on a daemon thread of its own; the refresh thread collects the results. A provider that has
not returned within the time limit has failed; while its thread still hangs, it is not called again, and what it returns
then is dropped. After a failure, beats have the last good value, and the reason of the failure.
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


class InvalidResult(Exception):
    """A provider's result that cannot be sent; the text says why."""


@dataclass(slots=True)
class _Call:
    """One call of a provider. `over` is set last, by the thread that runs it."""

    provider: Provider
    deadline: float
    late: bool = False
    value: dict[str, str] | None = None
    failure: str | None = None
    over: bool = False


@dataclass(slots=True)
class _Known:
    """The state of a plugin's provider. Guarded by the lock of Providers."""

    provider: Provider
    value: dict[str, str] | None = None
    failure: str | None = None
    call: _Call | None = None


class Providers:
    """The providers of one service, for any thread. A provider's thread calls `done` when its call is over."""

    def __init__(self, limit_s: float, most_bytes: int, done: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._most_bytes = most_bytes
        self._done = done
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()
        self._failures = 0
        self._last_failure: str | None = None

    def set(self, plugin: str, provider: Provider | None) -> None:
        """Sets the plugin's provider; None removes it. The value of the one before is forgotten."""
        with self._lock:
            if provider is None:
                self._known.pop(plugin, None)
            else:
                self._known[plugin] = _Known(provider)

    def add(self, plugin: str, provider: Provider) -> bool:
        """Sets the provider if the plugin has none; returns whether it did."""
        with self._lock:
            return self._known.setdefault(plugin, _Known(provider)).provider is provider

    def count(self, failures: Sequence[str]) -> None:
        """Counts failures to find providers, which are logged already."""
        with self._lock:
            self._failures += len(failures)
            if failures:
                self._last_failure = failures[-1]

    def begin(self) -> bool:
        """Starts a round: calls all providers that are not running. Returns whether there was any."""
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
        """Takes the results, and counts providers that are too late as failed.

        Returns the monotonic time of the next deadline, or None if no provider is running, and whether anything
        changed."""
        now = time.monotonic()
        messages: list[tuple[int, str]] = []
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
                        self._take(plugin, known, call, messages)
                elif call.late:
                    continue
                elif now >= call.deadline:
                    changed = call.late = True
                    self._fail(plugin, known, f"it did not return within {self._limit_s:g} s", messages)
                else:
                    deadlines.append(call.deadline)
        for level, text in messages:
            _logger.log(level, "%s", text)
        return min(deadlines, default=None), changed

    def _take(self, plugin: str, known: _Known, call: _Call, messages: list[tuple[int, str]]) -> None:
        if call.failure is not None:
            self._fail(plugin, known, call.failure, messages)
            return
        if known.failure is not None:
            messages.append((logging.INFO, f"the provider of extra information for {plugin} works again"))
        known.value, known.failure = call.value, None

    def _fail(self, plugin: str, known: _Known, failure: str, messages: list[tuple[int, str]]) -> None:
        self._failures += 1
        self._last_failure = f"{plugin}: {failure}"
        if known.failure != failure:  # logged once, counted each time
            messages.append((logging.WARNING, f"the provider of extra information for {plugin} failed: {failure}"))
        known.failure = failure

    def values(self) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """Returns the last good values by plugin, and the reasons of those whose last call failed."""
        with self._lock:
            values = {plugin: known.value for plugin, known in self._known.items() if known.value is not None}
            failures = {plugin: known.failure for plugin, known in self._known.items() if known.failure is not None}
        return values, failures

    def counts(self) -> tuple[int, str | None, int]:
        """Returns the failures so far, the last one with its plugin, and how many providers hang."""
        with self._lock:
            hanging = sum(known.call is not None and known.call.late for known in self._known.values())
            return self._failures, self._last_failure, hanging

    def in_child(self) -> None:
        """Called in a forked child: no call continues, and the lock may be held by a thread that does not exist."""
        self._lock = threading.Lock()
        for known in self._known.values():
            known.call = None


def _run(call: _Call, most_bytes: int, done: Callable[[], None]) -> None:
    try:
        call.value = checked_value(call.provider(), most_bytes)
    except InvalidResult as error:
        call.failure = str(error)
    except BaseException as error:  # SystemExit too: it is reported to the monitor, and ends nothing
        call.failure = reason_of(error)
    call.over = True
    done()


def checked_value(value: Any, most_bytes: int) -> dict[str, str] | None:
    """Copies a provider's result; None stays None. Raises InvalidResult."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidResult(f"it returned {_a(value)}, not a mapping of str to str")
    copied = {}
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            odd = text if isinstance(key, str) else key
            raise InvalidResult(f"it returned a mapping that contains {_a(odd)}, not one of str to str")
        copied[key] = text
    try:
        size = len(json.dumps(copied, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise InvalidResult("it returned text that is not valid Unicode: half of a surrogate pair") from None
    if size > most_bytes:
        raise InvalidResult(f"it returned {size} bytes; at most {most_bytes} are allowed (heartfelt.provider.limit)")
    return copied


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def reason_of(error: BaseException) -> str:
    """Returns an exception's type and text, cut if it is long, without characters that JSON cannot contain."""
    try:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    except Exception:
        text = type(error).__name__
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 3] + "..."
