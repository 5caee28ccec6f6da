# SPDX-License-Identifier: MIT
"""Calls to a monitor's HTTP interface, for commands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from heartfelt._net.connection import Cancelled, Waker
from heartfelt._net.explain import explain
from heartfelt._net.http import HttpResponse
from heartfelt._net.http_client import HttpClient
from heartfelt._net.tls import client_context
from heartfelt._net.token import checked_token, read_token
from heartfelt._net.url import parse_url
from heartfelt.cli import Failed
from heartfelt.errors import ConfigError

MOST_ANSWER = 256 << 20  # bytes
MOST_MESSAGE = 16 << 20  # bytes of one server-sent event
MOST_PROBLEM = 1 << 20
TOTAL_WAITS = 20  # a whole request may take this many times as long as one wait


class ApiClient:
    """Requests to one monitor, over a connection that is kept open. Blocks. Raises Failed, which says what is wrong.

    timeout_s bounds each wait for the monitor. One thread at a time; only `cut` may be called by another.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: str | None = None,
        token_env: str | None = None,
        ca: str | None = None,
        timeout_s: float = 30,
    ) -> None:
        headers = {"Accept": "application/json"}
        try:
            self._url = parse_url(url)
            if token := _token(token_file, token_env):
                headers["Authorization"] = f"Bearer {token}"
            tls = client_context(ca) if self._url.scheme == "https" else None
        except ConfigError as error:
            raise Failed(str(error)) from None
        self.missing = ""
        """Monitors of the fleet whose part the last incomplete answer did not have."""
        self._timeout_s = timeout_s
        self._waker = Waker()
        self._http = HttpClient(self._url, wait_s=timeout_s, tls=tls, headers=headers, waker=self._waker)

    def json(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """Sends a request and returns its answer's JSON; None if the answer is empty."""
        text = self.send(method, path, query, None if body is None else json.dumps(body).encode())
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise Failed(f"the answer of {self._url} to {path} is not JSON: check that this is a monitor") from None

    def send(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: bytes | None = None) -> bytes:
        """Sends a request and returns its answer."""
        answer = self._request(method, path, query, body, {}, self._timeout_s * TOTAL_WAITS)
        try:
            return answer.read(MOST_ANSWER)
        except (OSError, Cancelled) as error:
            self._http.drop()
            raise Failed(f"the answer of {self._url} did not arrive completely: {_words(error)}") from None

    def stream(
        self, path: str, query: Mapping[str, Any] | None = None, last_id: str | None = None
    ) -> Iterator[tuple[str | None, str, Any]]:
        """Server-sent events as (id, name, data), from the one after `last_id`, if given, until the monitor ends them.

        The stream is open when this returns.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        return self._messages(self._request("GET", path, query, None, headers, None))

    def cut(self) -> None:
        """Ends the client, from any thread: a call that waits for the monitor raises Failed at once."""
        self._waker.cancel()

    def close(self) -> None:
        self._http.drop()
        self._waker.close()

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: bytes | None,
        headers: dict[str, str],
        total_s: float | None,
    ) -> HttpResponse:
        """Sends a request; returns an answer whose body is still to be read. Raises Failed for a status from 400."""
        text = urlencode({name: value for name, value in (query or {}).items() if value is not None}, doseq=True)
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            answer = self._http.request(method, f"{path}?{text}" if text else path, body, headers, total_s=total_s)
        except Cancelled:
            raise Failed("the request was cancelled") from None
        except (OSError, ValueError) as error:
            raise Failed(explain(self._url, error, self._timeout_s)) from None
        self.missing = answer.headers.get("heartfelt-missing", self.missing)
        if answer.status >= 400:
            raise Failed(f"the monitor answered {answer.status}: {self._detail(answer)}", status=answer.status)
        return answer

    def _detail(self, answer: HttpResponse) -> str:
        """The answer's explanation: of a problem document its detail; its text otherwise, or the status's name."""
        try:
            text = answer.read_beginning(MOST_PROBLEM)
        except (OSError, Cancelled):  # the status says enough
            return answer.reason
        finally:
            if not answer.keeps:
                self._http.drop()
        try:
            return str(json.loads(text)["detail"])
        except (ValueError, TypeError, KeyError):
            return text.decode("utf-8", "replace")[:500] or answer.reason

    def _messages(self, answer: HttpResponse) -> Iterator[tuple[str | None, str, Any]]:
        id_: str | None = None
        name, data = "", ""
        for line in self._lines(answer):
            field, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
                if len(data) > MOST_MESSAGE:
                    raise Failed(f"{self._url} sent a message of more than {MOST_MESSAGE} bytes")
            elif field == "id":
                id_ = value
            elif not field and not value and data:
                try:
                    value_of_data = json.loads(data)
                except ValueError:
                    text = f"{self._url} sent a message that is not JSON: check that this is a monitor"
                    raise Failed(text) from None
                yield id_, name, value_of_data
                name, data = "", ""

    def _lines(self, answer: HttpResponse) -> Iterator[bytes]:
        try:
            yield from answer.lines(MOST_MESSAGE)
        except (OSError, Cancelled) as error:
            self._http.drop()
            raise Failed(f"lost the connection to {self._url}: {_words(error)}") from None


def _token(file: str | None, variable: str | None) -> str | None:
    if variable is not None:
        token = os.environ.get(variable, "").strip()
        if not token:
            raise Failed(f"--token-env {variable}: there is no such variable, or it is empty; set it to a token")
        return checked_token(token, f"--token-env {variable}: the token")
    if file is not None:
        return read_token(file, "--token-file")
    token = os.environ.get("HEARTFELT_TOKEN", "").strip()
    return checked_token(token, "HEARTFELT_TOKEN: the token") if token else None


def _words(error: Exception) -> str:
    if isinstance(error, Cancelled):
        return "it was cancelled"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
