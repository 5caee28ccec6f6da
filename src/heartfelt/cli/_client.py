# SPDX-License-Identifier: MIT
"""Calls to a monitor's HTTP interface, for commands: with the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from heartfelt._version import __version__
from heartfelt.cli import Failed

MOST_ANSWER = 256 << 20


class Client:
    """One connection, kept open. Blocks. Raises Failed, which says what is wrong."""

    def __init__(
        self,
        url: str,
        *,
        token_file: str | None = None,
        token_env: str | None = None,
        ca: str | None = None,
        timeout_s: float = 30,
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._url = url
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._token = _token(token_file, token_env)
        self._socket: socket.socket | None = None
        self._answer: http.client.HTTPResponse | None = None
        self._is_cut = False
        if parts.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=ca)
            except OSError as error:
                raise Failed(f"--ca {ca}: cannot be used: {error.strerror or error}") from None
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """The answer, which is to be read before the next request; a problem is raised."""
        text = urlencode({name: value for name, value in (query or {}).items() if value is not None}, doseq=True)
        headers = {"User-Agent": f"heartfelt/{__version__}", "Accept": "application/json", **(more_headers or {})}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        target = f"{self._prefix}{path}{'?' + text if text else ''}"
        try:
            try:
                answer = self._ask(method, target, body, headers)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                if self._is_cut:
                    raise
                self.close()  # an idle connection that the monitor has ended
                answer = self._ask(method, target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Failed(
                f"{self._url} cannot be reached: {_words(error)}; is `heartfelt serve` running there?"
            ) from None
        if answer.status >= 400:
            self._raise(answer)
        return answer

    def _ask(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request(method, target, body, headers)
        self._socket = self._connection.sock  # if the answer is the last on it, the connection lets go of it
        self._answer = self._connection.getresponse()
        return self._answer

    def json(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        text = self.read(self.request(method, path, query, data))
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise Failed(f"{self._url}{path} answered something else than JSON: is that a monitor?") from None

    def read(self, answer: http.client.HTTPResponse, most: int = MOST_ANSWER) -> bytes:
        """What the answer says. Raises Failed if it does not come whole."""
        try:
            text = answer.read(most)
            if answer.length and len(text) < most:
                raise http.client.IncompleteRead(text, answer.length)
            return text
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Failed(f"the answer of {self._url} did not come whole: {_words(error)}") from None

    def events(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[tuple[str, Any]]:
        """Server-sent events as (name, data), until the monitor ends them."""
        for _, name, data in self.stream(path, query):
            yield name, data

    def stream(
        self, path: str, query: Mapping[str, Any] | None = None, last_id: str | None = None
    ) -> Iterator[tuple[str | None, str, Any]]:
        """The same as (id, name, data); begins after `last_id`, if given. Once this returns, the stream is open."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        return self._messages(self.request("GET", path, query, None, headers))

    def _messages(self, answer: http.client.HTTPResponse) -> Iterator[tuple[str | None, str, Any]]:
        id_: str | None = None
        name, data = "", ""
        while line := self._line(answer):
            field, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
            elif field == "id":
                id_ = value
            elif not field and not value and data:
                try:
                    value_of_data = json.loads(data)
                except ValueError:
                    raise Failed(f"{self._url} sent something else than JSON: is that a monitor?") from None
                yield id_, name, value_of_data
                name, data = "", ""

    def _line(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.readline(1 << 24)
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"the connection to {self._url} is lost: {_words(error)}") from None

    def _raise(self, answer: http.client.HTTPResponse) -> None:
        text = b""
        with contextlib.suppress(Failed):  # the status says enough
            text = self.read(answer, 1 << 20)
        try:
            detail = json.loads(text)["detail"]
        except (ValueError, TypeError, KeyError):
            detail = text.decode("utf-8", "replace")[:500] or answer.reason
        raise Failed(f"the monitor answered {answer.status}: {detail}", status=answer.status)

    def cut(self) -> None:
        """From any thread, and its end: who waits for the monitor in a call of this gets Failed at once."""
        self._is_cut = True
        connected = self._socket
        if connected is not None:
            with contextlib.suppress(OSError):  # it has ended already
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # of TLS, too, without its own end

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _token(file: str | None, variable: str | None) -> str | None:
    if variable is not None:
        token = os.environ.get(variable, "").strip()
        if not token:
            raise Failed(f"--token-env {variable}: there is no such variable, or it is empty; set it to a token")
        return token
    if file is None:
        return os.environ.get("HEARTFELT_TOKEN", "").strip() or None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"--token-file {file} cannot be read: {error}") from None


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
