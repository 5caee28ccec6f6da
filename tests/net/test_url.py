# SPDX-License-Identifier: MIT
"""The URL of a monitor: its parts, and what is refused."""

from __future__ import annotations

import pytest

from heartfelt import ConfigError
from heartfelt._net.url import parse_url


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://h", ("http", "h", 80, "")),
        ("https://h/a/b/", ("https", "h", 443, "/a/b")),
        ("http://[::1]:8900", ("http", "::1", 8900, "")),
    ],
)
def test_parts(url, parts):
    assert parse_url(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8900",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://h?a",
        "http://h/a b",
        "http://h\n",
        "http://ä",
        "http://h:0",
    ],
)
def test_refused(url):
    with pytest.raises(ConfigError):
        parse_url(url)


def test_password_is_not_shown():
    with pytest.raises(ConfigError, match="token") as refusal:
        parse_url("http://me:s3cret@h")
    assert "s3cret" not in str(refusal.value)
