# SPDX-License-Identifier: MIT
"""Tokens and their scopes: ingest, read, admin.

A token that is bound to a key is the secret of a ping URL: it pings this key, and allows nothing else.

A token is shown once, when it is created. Only its SHA-256 is stored; as it has 256 random bits, no slower hash is
needed. Its form is `hf_<id>_<secret>`: the id selects the hash to compare with, in constant time, and may be logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.problems import FieldError
from heartfelt.monitor.store import Store
from heartfelt.monitor.store.outage_log import OutageLog

KIND = "token"
FIGURES: Figures = {
    "tokens": gauge("heartfelt_auth_tokens", "Tokens that are valid"),
    "refused": counter("heartfelt_auth_refused", "Requests that were refused because of a missing or wrong token"),
    "reload_failures": counter("heartfelt_auth_reload_failures", "Times that the tokens could not be read again"),
}
MOST_KEY = 512
READS = 3
"""How often the tokens are read again at once if some were created or revoked meanwhile."""
_TOKEN = re.compile(r"hf_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NONE = "0" * 64  # the hash of no token
_logger = logging.getLogger("heartfelt.monitor")


class Scope(str, Enum):
    """The permissions of a token. ADMIN includes the others; READ and INGEST include nothing else."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


class Token(msgspec.Struct, kw_only=True, frozen=True):
    """The stored record of a token, without its secret."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    """Empty if it is bound to a key."""
    created_ms: int
    sha256: str
    key: str | None = None
    """The key that it pings. None: it is not bound to one."""

    def shown(self) -> dict[str, Any]:
        """Returns the fields to show to people: all except the hash."""
        return {
            "id": self.id, "name": self.name, "scopes": self.scopes, "key": self.key, "created_ms": self.created_ms,
        }  # fmt: skip

    def allowed(self) -> str:
        """Says what it allows, for people."""
        if self.key is not None:
            return "pings of one key by its own URL"
        return f"scope {' and '.join(scope.value for scope in self.scopes)}"


class TokenUnknown(HeartfeltError):
    """No token has this id."""


def make_token(name: str, scopes: Iterable[str], now_ms: int, *, key: str | None = None) -> tuple[str, Token]:
    """Returns the secret, to be shown once, and the record to store. key: the one that it is to ping, without scopes.

    Raises ConfigError for a bad name, scopes or key.
    """
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise FieldError("name", f"a token's name must have 1 to 100 printable characters; got {name!r}")
    wanted = set(scopes)
    known = [scope.value for scope in Scope]
    if key is not None:
        _check_key(key)
        if wanted:
            raise FieldError("scopes", "a token that is bound to a key has no scopes; leave out the scopes or the key")
    elif not wanted or not wanted <= set(known):
        got = ", ".join(sorted(wanted)) or "none"
        detail = f"a token needs one or more of the scopes {', '.join(known)}; got {got}"
        raise FieldError("scopes", detail)
    id_ = secrets.token_hex(6)
    secret = f"hf_{id_}_{secrets.token_urlsafe(32)}"
    kept = tuple(scope for scope in Scope if scope.value in wanted)
    return secret, Token(id=id_, name=name, scopes=kept, created_ms=now_ms, sha256=_hash(secret), key=key)


def _check_key(key: str) -> None:
    if not key or not key.isprintable() or key.strip() != key or len(key.encode(errors="replace")) > MOST_KEY:
        detail = (
            f"a key must have 1 to {MOST_KEY} bytes of printable characters, without a blank at either end; "
            f"got {key[:60]!r}"
        )
        raise FieldError("key", detail)
    if _TOKEN.search(key):
        raise FieldError("key", "the key has a token in it; give the name of what is to be pinged")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Auth:
    """Decides whether a token allows a scope, without I/O and locks: every request that needs a token asks.

    needed: False means that no token is needed. on_revoked: called when a token was revoked or changed, so that
    connections that outlive a request ask again. tell_others: has the other monitors of a fleet read the tokens again;
    set before the start. Belongs to the loop's thread.
    """

    def __init__(self, store: Store, *, needed: bool, tcp_needed: bool = True, wall_ms: Callable[[], int]) -> None:
        self.needed = needed
        self._tcp_needed = needed and tcp_needed
        self._store = store
        self._wall_ms = wall_ms
        self._tokens: dict[str, Token] = {}
        self._version = 0
        self._revoking: set[str] = set()  # the store may still return them
        self._damaged: set[str] = set()  # of which it was logged: the tokens are read every two seconds
        self._reload_log = OutageLog(_logger, "the tokens can be read again")
        self.refused = 0
        self.reload_failures = 0
        self.on_revoked: list[Callable[[], None]] = []
        self.tell_others: Callable[[], Awaitable[object]] | None = None
        self._reading = asyncio.Lock()

    def allows(self, secret: str | None, scope: str) -> bool:
        """Takes the same time for all secrets in the form of a token."""
        if not self.needed:
            return True
        ok = secret is not None and self._fits(secret, Scope(scope))
        self.refused += not ok
        return ok

    def knows(self, secret: str) -> bool:
        """Tells whether this is a valid token, whatever its scopes. Counts nothing."""
        return self._find(secret) is not None

    def held(self, secret: str) -> str | None:
        """Says what a valid token allows, for people. None: it is not valid. Counts nothing."""
        token = self._find(secret)
        return None if token is None else token.allowed()

    def pinged_by(self, secret: str) -> str | None:
        """Returns the key that the secret of a ping URL pings. None, which is counted: it is not valid."""
        token = self._find(secret)
        if token is None or token.key is None:
            self.refused += 1
            return None
        return token.key

    def has(self, id: str) -> bool:
        return id in self._tokens

    def allows_tcp(self, secret: str | None, scope: str) -> bool:
        """Like `allows`, for agents over TCP, which need no token if `auth.tcp` says so."""
        return not self._tcp_needed or self.allows(secret, scope)

    def _fits(self, secret: str, scope: Scope) -> bool:
        token = self._find(secret)
        return token is not None and (scope in token.scopes or Scope.ADMIN in token.scopes)

    def _find(self, secret: str) -> Token | None:
        """Returns the valid token. Takes the same time for each secret in the form of a token."""
        match = _TOKEN.fullmatch(secret)
        if match is None:
            return None
        token = self._tokens.get(match[1])
        fits = hmac.compare_digest(_NONE if token is None else token.sha256, _hash(secret))
        return token if fits else None

    async def reload(self) -> None:
        """Reads the tokens from the store, where `heartfelt token` may have changed them. A failure is logged."""
        async with self._reading:  # what was read earlier must not be taken later
            for _ in range(READS):
                version = self._version
                try:
                    found = await self._store.documents(KIND)
                    self._reload_log.worked()
                except Exception as error:
                    self.reload_failures += 1
                    self._reload_log.failed(f"cannot read the tokens; those already known stay valid: {error}")
                    return
                if version == self._version:  # otherwise the tokens that were read may be out of date
                    self.take(found)
                    return

    def take(self, documents: Mapping[str, Any]) -> None:
        tokens = {}
        for name, value in documents.items():
            if name in self._revoking:
                continue
            try:
                tokens[name] = msgspec.convert(value, Token)
            except msgspec.ValidationError as error:
                if name not in self._damaged:
                    _logger.error("token %s is damaged in the store and therefore not valid: %s", name, error)
                self._damaged.add(name)
        self._set(tokens)

    def _set(self, tokens: dict[str, Token]) -> None:
        before, self._tokens = self._tokens, tokens
        revoked = [id_ for id_, token in before.items() if tokens.get(id_) != token]
        if not revoked:
            return
        for id_ in revoked:
            _logger.info("token revoked: %s (%s)", id_, before[id_].name)
        for ask_again in self.on_revoked:
            ask_again()

    def tokens(self) -> list[Token]:
        """Returns all tokens, oldest first."""
        return sorted(self._tokens.values(), key=lambda token: (token.created_ms, token.id))

    async def create(self, name: str, scopes: Iterable[str], *, key: str | None = None) -> tuple[str, Token]:
        """Creates a token. It is valid at once; on return it is stored, and valid at all monitors that answer."""
        secret, token = make_token(name, scopes, self._wall_ms(), key=key)
        await self._store.put_document(KIND, token.id, msgspec.to_builtins(token))
        self._version += 1
        self._tokens = self._tokens | {token.id: token}
        await self._tell_others()
        return secret, token

    async def revoke(self, id: str) -> Token:
        """Revokes a token. It is invalid at once; on return it is deleted, and invalid at all monitors that answer.
        Raises TokenUnknown."""
        if id not in self._tokens:
            await self.reload()  # another monitor has just created it
        token = self._tokens.get(id)
        if token is None:
            raise TokenUnknown(f"there is no token {id!r}; see the list of tokens")
        self._revoking.add(id)
        try:
            self._set({name: one for name, one in self._tokens.items() if name != id})
            await self._store.delete_document(KIND, id)
        finally:
            self._revoking.discard(id)
            self._version += 1
        await self._tell_others()
        return token

    async def _tell_others(self) -> None:
        if self.tell_others is not None:
            await self.tell_others()

    def stats(self) -> dict[str, int]:
        return {"tokens": len(self._tokens), "refused": self.refused, "reload_failures": self.reload_failures}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
