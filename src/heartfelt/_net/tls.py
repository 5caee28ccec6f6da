# SPDX-License-Identifier: MIT
"""TLS for clients."""

from __future__ import annotations

import os
import ssl

from heartfelt.errors import ConfigError

__all__ = ["client_context"]


def client_context(ca: str | os.PathLike[str] | None) -> ssl.SSLContext:
    """A context that trusts the certificates in the file `ca`, or the system's if it is None.

    Blocks to read the file. Raises ConfigError if it cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "strerror", None) or str(error)
        name = "the system's CA file" if ca is None else os.fspath(ca)
        raise ConfigError(f"{name} must be a readable file of CA certificates in PEM format: {why}") from None
