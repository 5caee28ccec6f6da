# SPDX-License-Identifier: MIT
"""The credentials of a request: one reading of the Authorization header, for the ingest and for the API.

The token is sent as `Bearer TOKEN`, or by clients that have only a URL as HTTP Basic: `https://any:TOKEN@monitor/ping/x`.
The password is the token and the user's name is ignored; if the password is empty, the user's name is the token.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Protocol

from heartfelt.monitor.problems import Problem

__all__ = ["BASIC_TOO", "CHALLENGE", "NO_TOKENS", "KnownTokens", "refusal", "secret_in", "secret_of", "why_refused"]

CHALLENGE = {"WWW-Authenticate": "Bearer"}
"""For the API. It does not ask for Basic, because a browser would then show its own dialog over the panel's."""
BASIC_TOO = {"WWW-Authenticate": 'Basic realm="heartfelt", charset="UTF-8", Bearer'}
"""For beats, pings and metrics, whose clients may send a password only when asked for one, as wget does."""
_HOW = "the Authorization header must be `Bearer TOKEN`, or Basic with the token as the password"


class KnownTokens(Protocol):
    """The tokens of a monitor, as far as the ingest asks about them."""

    def held(self, secret: str) -> str | None:
        """Says what a valid token allows, for people. None: it is not valid."""

    def pinged_by(self, secret: str) -> str | None:
        """Returns the key that the secret of a ping URL pings. None, which is counted: it is not valid."""

    def has(self, id: str) -> bool:
        """Tells whether there is a token with this id."""


class _NoTokens:
    def held(self, secret: str) -> str | None:
        return None

    def pinged_by(self, secret: str) -> str | None:
        return None

    def has(self, id: str) -> bool:
        return False


NO_TOKENS: KnownTokens = _NoTokens()


def secret_in(headers: Iterable[tuple[bytes, bytes]], challenge: dict[str, str] = CHALLENGE) -> str | None:
    """Returns the token's secret, or None if the request has no credentials. O(headers).

    headers: names in lower case, as ASGI has them. Raises Problem if there are several Authorization headers, or one of
    another kind.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise Problem(400, "authorization", "the request has more than one Authorization header; send one")
            found = value
    return None if found is None else secret_of(found, challenge)


def secret_of(authorization: bytes, challenge: dict[str, str] = CHALLENGE) -> str:
    """Returns the token's secret in the value of an Authorization header. Raises Problem."""
    kind, _, text = authorization.decode("latin-1").strip().partition(" ")
    kind = kind.lower()
    text = text.strip()
    secret = _password(text) if kind == "basic" else text if kind == "bearer" else ""
    if not secret:
        raise Problem(401, "authorization", _HOW, challenge)
    return secret


def _password(encoded: str) -> str:
    """Returns the token in Basic credentials; "" if there is none."""
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):  # not base64, or neither ASCII nor UTF-8
        return ""
    return (password or user) if colon else ""


def why_refused(secret: str | None, scope: str, held: str | None) -> tuple[str, str]:
    """Returns the code and the text of a refusal. held: what the token allows; None: it is not valid."""
    create = f"create one with `heartfelt token create NAME --scope {scope}`"
    if secret is None:
        return "token_needed", f"a token with scope {scope} is needed; {create}"
    if held is None:
        return "token_unknown", f"this token is unknown or was revoked; see `heartfelt token list`, or {create}"
    return "scope", f"this token allows {held} and does not have scope {scope}; {create}"


def refusal(secret: str | None, scope: str, held: str | None, challenge: dict[str, str] = CHALLENGE) -> Problem:
    """Makes the answer to a request without a token that allows the scope: 403 if its token is valid, otherwise 401."""
    code, text = why_refused(secret, scope, held)
    if secret is None:
        return Problem(401, code, f"{text} and send it as `Authorization: Bearer TOKEN`", challenge)
    if held is None:
        asked = {name: value.replace("Bearer", 'Bearer error="invalid_token"') for name, value in challenge.items()}
        return Problem(401, code, text, asked)
    return Problem(403, code, text)
