# SPDX-License-Identifier: MIT
"""Addresses of Redis: what is understood, and what is refused without showing a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartfelt.errors import ConfigError, StoreError
from heartfelt.monitor.store.redis.address import RedisAddress, parse_address, read_password


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://a", {"kind": "single", "hosts": (("a", 6379),)}),
        ("REDIS://a:1/2", {"kind": "single", "hosts": (("a", 1),), "db": 2}),
        ("redis://[fd00::1]:7/", {"kind": "single", "hosts": (("fd00::1", 7),)}),
        ("rediss://u:p@a", {"kind": "single", "hosts": (("a", 6379),), "tls": True, "user": "u", "password": "p"}),
        ("redis://:p%40%3a@a", {"kind": "single", "hosts": (("a", 6379),), "password": "p@:"}),
        ("redis://:p@q@a", {"kind": "single", "hosts": (("a", 6379),), "password": "p@q"}),
        ("redis://u@a", {"kind": "single", "hosts": (("a", 6379),), "user": "u"}),
        ("redis+sentinel://a,b:2/s/3",
         {"kind": "sentinel", "hosts": (("a", 26379), ("b", 2)), "service": "s", "db": 3}),
        ("rediss+sentinel://:p@a/my.s-1",
         {"kind": "sentinel", "hosts": (("a", 26379),), "service": "my.s-1", "tls": True, "password": "p"}),
        ("redis+cluster://a:1,a:1,[::1]:2/0", {"kind": "cluster", "hosts": (("a", 1), ("::1", 2))}),
        ("rediss+cluster://a", {"kind": "cluster", "hosts": (("a", 6379),), "tls": True}),
        ("unix:///run/r.sock", {"kind": "single", "path": "/run/r.sock"}),
        ("unix://u:p@/run/a%20b?db=4", {"kind": "single", "path": "/run/a b", "user": "u", "password": "p", "db": 4}),
    ],
)  # fmt: skip
def test_a_url_is_understood(url, wanted):
    found = parse_address(url)
    assert found == RedisAddress(**wanted)
    if not found.password and not found.user and " " not in str(found):
        assert parse_address(str(found)) == found


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "must be a URL such as redis://"),
        ("localhost:6379", "must be a URL such as redis://"),
        ("http://a", r"redis\+sentinel://"),
        ("redis://", "must name each host"),
        ("redis://a:0", "port 0 for a"),
        ("redis://a:65536", "port 65536"),
        ("redis://a:hidden", "must name each host as HOST"),
        ("redis://u:hidden@", "must name each host"),
        ("redis://u:hidden@a:hidden", "must name each host"),
        ("redis://u:hidden/x@a", "%2F"),
        ("redis://u:hidden#x@a", "%23"),
        ("redis://u:hidden?x@a", "%3F"),
        ("redis://u:hidden x@a", "%20"),
        ("redis://u:@a", "no password before it"),
        ("redis://@a", "no password before it"),
        ("redis://a/x", "database that is not a number"),
        ("redis://a/1/2", "too many parts"),
        ("redis://a?ssl_cert_reqs=none", r"settings of their own \(redis\.ca"),
        ("redis://a,b", "several hosts"),
        ("redis://::1", "must name each host"),
        ("redis+sentinel://a", "no name of a service"),
        ("redis+sentinel://a/b c", "%20"),
        ("redis+sentinel://a/s/x", "database that is not a number"),
        ("redis+sentinel://a,/s", "must name each host"),
        ("redis+cluster://a/1", "database 1, but a Redis Cluster has only database 0; leave it out"),
        ("unix://run/r.sock", "three slashes"),
        ("unix://", "no path of a socket"),
        ("unix:///r.sock?timeout=1", "only the number of the database"),
        ("unix://u:hidden@", "no path of a socket"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url, text):
    with pytest.raises(ConfigError, match=text) as found:
        parse_address(url)
    if "@" in url:
        assert "hidden" not in str(found.value)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.sampled_from(["redis://", "rediss+cluster://", "redis+sentinel://", "unix://", ""]), TEXT, TEXT, TEXT)
def test_no_text_breaks_it_or_shows_what_is_before_the_last_at(scheme, a, b, c):
    for url in (f"{scheme}{a}hidden{b}@{c}", f"{scheme}{a}:hidden{b}@h/{c}", f"{scheme}h:{a}/{b}"):
        try:
            parsed = parse_address(url)
        except ConfigError as error:
            assert "hidden" not in str(error)
        else:
            assert "hidden" not in str(parsed).partition("://")[2].partition("/")[0]


def test_a_password_is_read_from_a_file(tmp_path):
    path = tmp_path / "p"
    for data, wanted in ((b"a b \n", "a b "), (b"x\r\n", "x"), ("ä".encode(), "ä"), (b"\n\n", "\n")):
        path.write_bytes(data)
        assert read_password(str(path), "redis.password_file") == wanted
    for data, text in ((b"", "empty"), (b"\n", "empty"), (b"\xff", "not UTF-8"), (b"x" * 100_000, "too long")):
        path.write_bytes(data)
        with pytest.raises(StoreError, match=rf"redis\.password_file .*{text}"):
            read_password(str(path), "redis.password_file")
    with pytest.raises(StoreError, match="No such file"):
        read_password(str(tmp_path / "none"), "redis.password_file")
