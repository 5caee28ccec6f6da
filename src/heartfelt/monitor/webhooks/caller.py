# SPDX-License-Identifier: MIT
"""Calls a webhook: bounded in time and size, to an address that may be called, and reported without secrets."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import aiohttp
import msgspec
from yarl import URL

from heartfelt.monitor.tasks import within
from heartfelt.monitor.webhooks.guard import Blocked, GuardedResolver, Lookup, lookup, socket_factory
from heartfelt.monitor.webhooks.notices import Notice
from heartfelt.monitor.webhooks.payloads import Request, make_request
from heartfelt.monitor.webhooks.proxy import OutboundProxies, Proxy, ProxyFailed, ProxyResolver, check_name, failure_of
from heartfelt.monitor.webhooks.targets import Target
from heartfelt.monitor.webhooks.template import TemplateError
from heartfelt.monitor.webhooks.verdicts import judge

__all__ = ["Answer", "CallLimits", "Caller"]

_EXCERPT = 500
_MAX_RETRY_AFTER_S = 3600.0


class CallLimits(msgspec.Struct, kw_only=True, frozen=True):
    connect_s: float = 5.0
    """Name lookup, connection and TLS together."""
    total_s: float = 10.0
    answer_bytes: int = 64 << 10


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """The result of a call. Nothing in it is confidential: the target's secret and address are removed."""

    ok: bool
    status: int | None = None
    error: str = ""
    excerpt: str = ""
    duration_ms: int = 0
    reached: bool = True
    """False: no answer, or one from a server in trouble. Several of these in a row open the breaker."""
    refused: bool = False
    """This message will never be taken."""
    all_refused: bool = False
    """Nor will others."""
    remedy: str = ""
    """For a refusal, or a proxy that fails: what a person should do."""
    limited: bool = False
    """The target asks to be called less often."""
    blocked: bool = False
    retry_after_s: float | None = None

    def view(self) -> dict[str, Any]:
        """Returns what a person who tries a target out is shown."""
        names = ("ok", "status", "error", "remedy", "excerpt", "duration_ms")
        return {name: getattr(self, name) for name in names}

    def text(self) -> str:
        parts = [f"{self.status}" if self.status is not None else "no answer", f"in {self.duration_ms} ms"]
        if self.error:
            parts.append(f"- {self.error}")
        if self.excerpt and not self.ok:
            parts.append(f"- {self.excerpt[:200]}")
        return " ".join(parts)


class Caller:
    """Belongs to the loop. Call `close()` at the end."""

    def __init__(
        self,
        limits: CallLimits,
        *,
        wall_ms: Callable[[], int],
        allow_private: bool = False,
        public_url: str | None = None,
        proxies: OutboundProxies | None = None,
        look_up: Lookup = lookup,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._wall_ms = wall_ms
        self._allow_private = allow_private
        self._public_url = public_url
        self._proxies = proxies or OutboundProxies()
        self._look_up = look_up
        self._tls = tls
        self._sessions: dict[tuple[bool, bool], aiohttp.ClientSession] = {}

    async def close(self) -> None:
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions))

    async def call(self, target: Target, notice: Notice) -> Answer:
        """Calls the target. Raises only when cancelled; takes at most `total_s`."""
        start = time.monotonic()
        try:
            answer = await within(self._limits.total_s, self._call(target, notice))
        except aiohttp.ServerTimeoutError as error:  # it is a TimeoutError too
            answer = _failure(error)
        except asyncio.TimeoutError:
            answer = Answer(ok=False, reached=False, error=f"no complete answer within {self._limits.total_s:g} s")
        except TemplateError as error:
            answer = Answer(ok=False, refused=True, error=f"the template {error}", remedy="mend the webhook's template")
        except ProxyFailed as error:
            answer = Answer(ok=False, reached=False, error=str(error), remedy=error.remedy)
        except Exception as error:  # nothing may end the worker; the text is not used, as it may contain the address
            answer = _failure(error)
        duration_ms = round((time.monotonic() - start) * 1000)
        return msgspec.structs.replace(answer, duration_ms=duration_ms, error=scrub(answer.error, target))

    async def _call(self, target: Target, notice: Notice) -> Answer:
        request = make_request(target, notice, self._wall_ms(), public_url=self._public_url)
        url = URL(request.url, encoded=True)
        private = target.allow_private or self._allow_private
        proxy = self._proxies.of(url)
        if proxy is None:
            return await self._post(target, request, url, self._session(private))
        if (why := check_name(url, self._proxies.own_names, allow_private=private)) is not None:
            raise Blocked(why)
        try:
            return await self._post(target, request, url, self._session(private, to_proxy=True), proxy)
        except aiohttp.ClientError as error:
            if (failure := failure_of(proxy, None, error, url)) is not None:
                raise failure from None
            raise

    async def _post(
        self, target: Target, request: Request, url: URL, session: aiohttp.ClientSession, proxy: Proxy | None = None
    ) -> Answer:
        headers = dict(request.headers)
        options: dict[str, Any] = {}
        if proxy is not None:
            options["proxy"] = proxy.url
            if url.scheme == "https":
                options["proxy_headers"] = dict(proxy.headers)  # for CONNECT; the target must not see them
            else:
                headers |= proxy.headers
        async with session.post(url, data=request.body, headers=headers, allow_redirects=False, **options) as response:
            if proxy is not None and (failure := failure_of(proxy, _of_proxy(url, response), None, url)) is not None:
                raise failure
            body, whole = await self._read(response)
            verdict = judge(target.kind, response.status, body)
            server_fault = response.status >= 500 or verdict.limited
            return Answer(
                ok=verdict.ok,
                status=response.status,
                error=_clean(verdict.why, target, request.url)
                + ("" if whole or verdict.ok else ", and the answer is too long"),
                excerpt=_clean(body[: _EXCERPT * 8].decode("utf-8", errors="replace"), target, request.url)[:_EXCERPT],
                reached=not server_fault,
                refused=verdict.refused,
                all_refused=verdict.all_refused,
                remedy=verdict.remedy,
                limited=verdict.limited,
                retry_after_s=_retry_after(response.headers.get("Retry-After")) if server_fault else None,
            )

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """Reads at most `answer_bytes` of the body, without decompressing, and whether that was all of it."""
        chunks: list[bytes] = []
        left = self._limits.answer_bytes
        while left > 0:
            chunk = await response.content.read(left)
            if not chunk:
                return b"".join(chunks), True
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks), False

    def _session(self, private: bool, *, to_proxy: bool = False) -> aiohttp.ClientSession:
        session = self._sessions.get((private, to_proxy))
        if session is None:
            if self._tls is None:
                self._tls = ssl.create_default_context()
            # All connections of a session to a proxy go to the proxy.
            guarded = {} if to_proxy else {"socket_factory": socket_factory(allow_private=private)}
            resolver = (
                ProxyResolver(self._look_up) if to_proxy else GuardedResolver(self._look_up, allow_private=private)
            )
            connector = aiohttp.TCPConnector(
                resolver=resolver,
                **guarded,  # type: ignore[arg-type]
                use_dns_cache=False,
                ssl=self._tls,
                force_close=True,
                limit=0,
            )
            session = self._sessions[private, to_proxy] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, connect=self._limits.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                headers={"Accept-Encoding": "identity"},
            )
        return session


def _of_proxy(url: URL, response: aiohttp.ClientResponse) -> int | None:
    """Returns the status of an answer that may be the proxy's own: over TLS, all answers are the target's."""
    return response.status if url.scheme == "http" else None


def _failure(error: Exception) -> Answer:
    """Describes an error in our own words, since the texts of exceptions may contain the address."""
    cause: BaseException | None = error
    for _ in range(5):
        if isinstance(cause, Blocked):
            return Answer(ok=False, reached=False, blocked=True, error=str(cause))
        cause = (cause.__cause__ or cause.__context__) if cause is not None else None
    if isinstance(error, aiohttp.ServerTimeoutError):
        text = "no connection in time"
    elif isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
        inner = error.__cause__ or error.__context__
        text = f"TLS: {getattr(inner, 'verify_message', None) or getattr(inner, 'reason', None) or 'failed'}"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        text = "the host name cannot be resolved"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        text = "the connection was closed without an answer"
    elif isinstance(error, OSError) and error.errno:
        text = os.strerror(error.errno)
    elif isinstance(error, aiohttp.ClientResponseError):
        text = "the answer is not HTTP"
    else:
        text = type(error).__name__
    return Answer(ok=False, reached=False, error=text)


def _retry_after(text: str | None) -> float | None:
    """Reads the seconds of a Retry-After header. A date is ignored: the usual wait applies."""
    if text is None or re.fullmatch(r"\s*[0-9]{1,9}\s*", text) is None:
        return None
    return min(float(text), _MAX_RETRY_AFTER_S)


def _clean(text: str, target: Target, called: str) -> str:
    """Returns what a server said without secrets, as one line."""
    return "".join(c if c.isprintable() else " " for c in scrub(text, target, called)).strip()


def scrub(text: str, target: Target, called: str = "") -> str:
    """Removes the secret, the address and the parts of it that may be keys, since a server may send back what it got.
    `called`: the address with the query that was added."""
    secrets = [target.secret or ""]
    for address in (target.url, called):
        try:
            url = URL(address, encoded=True)
        except ValueError:
            continue
        secrets += [address, url.raw_path_qs, url.path_qs, *url.query.values()]
        secrets += [part for part in url.parts if len(part) >= 6]
    spellings = {spelling for secret in secrets for spelling in (secret, quote_plus(secret), unquote_plus(secret))}
    for spelling in sorted(spellings, key=len, reverse=True):
        if len(spelling) >= 4:
            text = text.replace(spelling, "***")
    return text
