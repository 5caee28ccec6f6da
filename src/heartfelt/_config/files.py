# SPDX-License-Identifier: MIT
"""Reading a configuration file, whatever its format."""

from __future__ import annotations

from pathlib import Path

from heartfelt.errors import ConfigError

LARGEST = 1 << 20


def read(path: Path) -> bytes:
    """Reads a whole file. Raises ConfigError if it cannot be read or is larger than 1 MiB."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise ConfigError(f"the configuration {path} is larger than {LARGEST} bytes; is this the right file?")
    return data
