# SPDX-License-Identifier: MIT
"""Errors of a request in words for people: what is wrong, and what to do."""

from __future__ import annotations

import socket
import ssl

from heartfelt._net.http import BadAnswer
from heartfelt._net.url import BaseUrl

__all__ = ["explain"]


def explain(url: BaseUrl, error: Exception, timeout_s: float) -> str:
    """Says why a request had no answer."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"cannot find the host {url.host!r} ({error}): check the monitor's URL, {url}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {url} is not trusted ({error.verify_message}): name the file of its CA"
    if isinstance(error, ssl.SSLError):
        return f"cannot make a TLS connection to {url} ({error}): does it speak https on this port?"
    if isinstance(error, ConnectionRefusedError):
        return (
            f"nothing listens at {url}: start the monitor there (heartfelt serve), or give another URL (HEARTFELT_URL)"
        )
    if isinstance(error, TimeoutError):
        return f"{url} did not answer within {timeout_s:g} s: check that it runs and can be reached from here"
    if isinstance(error, BadAnswer):
        return f"{url} does not answer as an HTTP server does ({error}): check the monitor's URL"
    return f"cannot connect to {url}: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
