# SPDX-License-Identifier: MIT
"""The credentials of a request: one reading of the Authorization header, for the ingest and for the API."""

from __future__ import annotations

from collections.abc import Iterable

from heartfelt.monitor.problems import Problem

__all__ = ["CHALLENGE", "secret_in", "secret_of"]

CHALLENGE = {"WWW-Authenticate": "Bearer"}
_HOW = "the Authorization header must be `Bearer TOKEN`"


def secret_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
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
    return None if found is None else secret_of(found)


def secret_of(authorization: bytes) -> str:
    """Returns the token's secret in the value of an Authorization header. Raises Problem."""
    kind, _, secret = authorization.decode("latin-1").partition(" ")
    secret = secret.strip()
    if kind.lower() != "bearer" or not secret:
        raise Problem(401, "authorization", _HOW, CHALLENGE)
    return secret
