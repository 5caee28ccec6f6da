# SPDX-License-Identifier: MIT
"""Tokens: the secret that a client sends as `Authorization: Bearer`. No error shows one."""

from __future__ import annotations

import os
from pathlib import Path

from heartfelt._config.values import Bad
from heartfelt._config.values import token as token_kind
from heartfelt.errors import ConfigError

__all__ = ["LARGEST_TOKEN_FILE", "checked_token", "read_token"]

LARGEST_TOKEN_FILE = 64 * 1024


def checked_token(token: str, name: str = "the token") -> str:
    """Returns the token. Raises TypeError or ConfigError, which begin with `name`, if no header can carry it."""
    try:
        found = token_kind(token, True)
    except Bad as bad:
        raise (TypeError if bad.mistyped else ConfigError)(f"{name} {bad}") from None
    assert isinstance(found, str)
    return found


def read_token(path: str | os.PathLike[str], name: str) -> str:
    """Reads the token from a file. Blocks. Raises ConfigError, which begins with `name`."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_TOKEN_FILE)
    except OSError as error:
        raise ConfigError(f"{name}: cannot read {os.fspath(path)}: {error.strerror or error}") from None
    return checked_token(data.decode("ascii", "replace").strip(), f"{name}: the token in {os.fspath(path)}")
