# SPDX-License-Identifier: MIT
"""Headers in which proxies name their clients, and the proxies that are believed."""

from __future__ import annotations

import pytest

from heartfelt.monitor.web.forwarded import MOST_HOPS, Proxies, below_base
from heartfelt.monitor.web.shield import FORWARDED, Shield

PROXY = "10.0.0.5"


def scope_of(*headers, peer=PROXY, method="GET", path="/api/v1/instances", scheme="http", host="10.9.9.9"):
    given = [(b"host", host.encode())] + [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {
        "type": "http", "method": method, "path": path, "scheme": scheme, "headers": given,
        "client": (peer, 1234) if peer else None, "server": ("10.0.0.1", 8900), "http_version": "1.1",
    }  # fmt: skip


@pytest.fixture
def proxies():
    return Proxies([PROXY, "192.168.0.0/16", "fd00::/8"])


def seen(proxies, *headers, **more):
    return proxies.seen(scope_of(*headers, **more))


def xff(value):
    return ("X-Forwarded-For", value)


def rfc(value):
    return ("Forwarded", value)


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([], PROXY),
        ([xff("203.0.113.7")], "203.0.113.7"),
        ([xff("6.6.6.6, 203.0.113.7")], "203.0.113.7"),  # the left one is what the client wrote
        ([xff("6.6.6.6"), xff("203.0.113.7")], "203.0.113.7"),
        ([xff("nonsense, 203.0.113.7, 192.168.1.1")], "203.0.113.7"),
        ([xff("192.168.7.7, 192.168.1.1")], "192.168.7.7"),  # all trusted: the left-most
        ([xff("203.0.113.7:4711")], "203.0.113.7"),
        ([xff("[2001:db8::1]:4711")], "2001:db8::1"),
        ([xff("2001:DB8::1")], "2001:db8::1"),
        ([xff("::ffff:203.0.113.7")], "203.0.113.7"),
        ([xff("203.0.113.7, fd00::2")], "203.0.113.7"),
        ([xff(" ,203.0.113.7,, ")], "203.0.113.7"),
        ([xff("")], PROXY),
        ([rfc("for=203.0.113.7")], "203.0.113.7"),
        ([rfc("For=203.0.113.7;proto=https;by=10.0.0.5")], "203.0.113.7"),
        ([rfc('for="[2001:db8::1]:80"')], "2001:db8::1"),
        ([rfc('for=6.6.6.6, for="203.0.113.7:80" ; host="a,b", for=192.168.1.1')], "203.0.113.7"),
        ([rfc("for=6.6.6.6"), rfc("for=203.0.113.7")], "203.0.113.7"),
        ([rfc(r'for="203.0.113\.7"')], "203.0.113.7"),
        ([rfc("")], PROXY),
        ([xff("203.0.113.7"), rfc("for=203.0.113.7;proto=https")], "203.0.113.7"),
        ([("X-Forwarded-Proto", "https"), rfc("for=203.0.113.7")], "203.0.113.7"),
    ],
)
def test_the_client_is_the_right_most_that_is_no_proxy(proxies, headers, client):
    assert seen(proxies, *headers)["client"][0] == client
    assert proxies.stats() == {"untrusted": 0, "unreadable": 0, "contradictions": 0, "left_out": 0}


@pytest.mark.parametrize(
    "header",
    [
        xff("nonsense"), xff("203.0.113.7, nonsense"), xff("unknown"), xff("203.0.113.7 6.6.6.6"), xff("1.2.3"),
        xff("203.0.113.7:x"), xff("\xe9"), xff("1.2.3.4.5, 192.168.1.1"), xff("[::1"), xff("256.1.1.1"),
        rfc("for=unknown"), rfc("for=_hidden"), rfc("for"), rfc('for="203.0.113.7'), rfc("for=a b"),
        rfc("for=1.1.1.1 x"),
        rfc("for=203.0.113.7;for=6.6.6.6"), rfc("for=203.0.113.7;proto=gopher"), ("X-Forwarded-Proto", "javascript"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_leaves_the_proxy_as_the_client(proxies, header, caplog):
    scope = seen(proxies, header, ("X-Forwarded-Host", "a.example"))
    assert (scope["client"][0], scope["scheme"]) == (PROXY, "http")
    assert FORWARDED not in scope
    assert proxies.stats()["unreadable"] == 1
    assert PROXY in caplog.text


def test_two_headers_that_differ_are_both_not_believed(proxies, caplog):
    scope = seen(proxies, xff("203.0.113.7"), rfc("for=6.6.6.6;proto=https"))
    assert (scope["client"][0], scope["scheme"]) == (PROXY, "http")
    assert proxies.stats()["contradictions"] == 1
    assert "let the proxy remove the one that it does not write" in caplog.text


@pytest.mark.parametrize("peer", ["10.0.0.6", "203.0.113.9", "::1", "", "not an address"])
def test_from_others_they_are_ignored(proxies, caplog, peer):
    headers = [xff("1.1.1.1"), rfc("for=1.1.1.1"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "localhost")]
    for _ in range(3):
        sent = scope_of(*headers, peer=peer)
        assert proxies.seen(sent) is sent
    assert proxies.stats()["untrusted"] == 3
    (record,) = caplog.records
    assert f"a proxy at {peer} sends X-Forwarded-For, but is not in http.trusted_proxies" in record.message
    assert f'"fd00::/8", "{peer}"]' in record.message


def test_peers_that_come_along_take_no_memory_and_few_lines(caplog):
    proxies = Proxies(["10.0.0.5"])
    for n in range(30_000):
        proxies.seen(scope_of(xff("1.1.1.1"), peer=f"172.16.{n >> 8}.{n & 255}"))
    assert len(caplog.records) <= 20
    assert proxies.stats()["untrusted"] == 30_000
    assert proxies.stats()["left_out"] > 29_000
    assert len(proxies._known) <= 10_000
    assert len(proxies._once._told_s) <= 1000


def test_few_of_many_hops_are_read(proxies):
    many = ", ".join(["nonsense"] + ["192.168.1.1"] * MOST_HOPS)
    assert seen(proxies, xff(many))["client"][0] == "192.168.1.1"
    assert proxies.stats()["unreadable"] == 0


def test_a_mapped_peer_is_its_ipv4_address(proxies):
    assert proxies.trusts(f"::ffff:{PROXY}")


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ([("X-Forwarded-Proto", "https")], "https", None),
        ([("X-Forwarded-Proto", "HTTPS"), ("X-Forwarded-Host", "a.example:8443")], "https", b"a.example:8443"),
        ([xff("1.1.1.1, 192.168.1.1"), ("X-Forwarded-Proto", "https, http")], "https", None),
        ([xff("1.1.1.1"), ("X-Forwarded-Proto", "https, http")], "http", None),
        ([xff("6.6.6.6, 1.1.1.1"), ("X-Forwarded-Host", "evil.example, a.example")], "http", b"a.example"),
        ([rfc("for=6.6.6.6;proto=http;host=evil, for=1.1.1.1;proto=https;host=a.example")], "https", b"a.example"),
        ([rfc('proto=https;host="a.example:81"')], "https", b"a.example:81"),
        ([xff("1.1.1.1")], "http", None),
    ],
)
def test_scheme_and_host_are_the_clients(proxies, headers, scheme, host):
    scope = seen(proxies, *headers)
    assert (scope["scheme"], scope[FORWARDED].host) == (scheme, host)


# -- together with the shield


def refused(headers, *, trusted=(PROXY,), allowed=("monitor.example",), host="monitor.example", method="POST", **more):
    scope = Proxies(trusted).seen(scope_of(*headers, host=host, method=method, **more))
    problem = Shield(allowed, public_url=None).refusal(scope)
    return None if problem is None else problem.code


ORIGIN = ("Origin", "https://monitor.example")
TLS = ("X-Forwarded-Proto", "https")


def test_the_panel_behind_a_proxy_may_change_things():
    assert refused([ORIGIN]) is None  # Host $host and nothing else
    assert refused([ORIGIN, TLS]) is None
    assert refused([ORIGIN, TLS, ("X-Forwarded-Host", "monitor.example")], host="10.0.0.1:8900") is None
    assert refused([("Origin", "https://monitor.example:8443"), TLS], host="monitor.example:8443") is None
    assert refused([ORIGIN, ("Forwarded", 'for=1.1.1.1;proto=https;host="monitor.example"')], host="10.0.0.1") is None


def test_a_proxy_that_says_how_decides():
    assert refused([("Origin", "http://monitor.example"), TLS]) == "cross_site"
    assert refused([ORIGIN, ("X-Forwarded-Proto", "http")]) == "cross_site"


def test_headers_of_others_do_not_make_a_site_the_monitors_own():
    evil = ("Origin", "https://evil.example")
    forged = ("X-Forwarded-Host", "evil.example")
    assert refused([evil, forged], trusted=()) == "cross_site"
    assert refused([evil, forged]) == "host_not_allowed"
    assert refused([("Origin", "null"), ("X-Forwarded-Host", "null")], trusted=()) == "cross_site"


def test_dns_rebinding_through_a_proxy_needs_an_allowed_name_too():
    """A page of evil.example, which resolves to the proxy, can add headers, and nginx passes them."""
    for method in ("GET", "POST"):
        for headers in ([], [("X-Forwarded-Host", "monitor.example")], [("Forwarded", "host=monitor.example")]):
            assert refused(headers, host="evil.example", method=method) == "host_not_allowed"
        assert refused([("X-Forwarded-Host", "evil.example")], host="10.0.0.1", method=method) == "host_not_allowed"


# -- the base path


@pytest.mark.parametrize(
    ("path", "raw", "left", "raw_left"),
    [
        ("/heartfelt/ping/a b", b"/heartfelt/ping/a%20b", "/ping/a b", b"/ping/a%20b"),
        ("/heartfelt/", b"/heartfelt/", "/", b"/"),
        ("/heartfelt", b"/heartfelt", "/", b"/"),
        ("/heartfelted/x", b"/heartfelted/x", "/heartfelted/x", b"/heartfelted/x"),
        ("/ping/heartfelt/x", b"/ping/heartfelt/x", "/ping/heartfelt/x", b"/ping/heartfelt/x"),
        ("/heartfelt/x", b"/heart%66elt/x", "/heartfelt/x", b"/heart%66elt/x"),
        ("/heartfelt/x", b"/heartfelt%2Fx", "/heartfelt/x", b"/heartfelt%2Fx"),
        ("/heartfelt/heartfelt/x", b"/heartfelt/heartfelt/x", "/heartfelt/x", b"/heartfelt/x"),
        ("/heartfelt/x", None, "/x", None),
    ],
)
def test_the_base_is_taken_off_once_where_it_is(path, raw, left, raw_left):
    scope = below_base({"path": path, "raw_path": raw}, "/heartfelt")
    assert (scope["path"], scope["raw_path"]) == (left, raw_left)
