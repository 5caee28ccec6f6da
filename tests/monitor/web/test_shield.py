# SPDX-License-Identifier: MIT
"""Requests that another site's page made a browser send."""

from __future__ import annotations

import pytest

from heartfelt.monitor.web.shield import Shield

TOKEN = "hf_a_valid_one"


def refusal(shield, method="GET", path="/api/v1/instances", scheme="http", version="1.1", port=8900, **headers):
    given = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    server = {"client": ("10.1.1.1", 5), "server": ("10.0.0.1", port), "http_version": version}
    return shield.refusal({"method": method, "path": path, "scheme": scheme, "headers": given, **server})


@pytest.fixture
def shield():
    return Shield(["monitor.example"], knows=lambda secret: secret == TOKEN)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8900", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8900", "10.1.2.3:80",
     "monitor.example", "Monitor.Example.:8900"],
)  # fmt: skip
def test_addresses_and_names_that_are_allowed_are_served(shield, host):
    assert refusal(shield, host=host) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8900", "127.0.0.1.evil.example", "localhost.evil.example", "", "localhost@evil",
     "[::1", "::1", "127.0.0.1:x", "monitor.example:80:80", "1.2.3", "\xe9"],
)  # fmt: skip
def test_other_names_are_refused(shield, host):
    problem = refusal(shield, host=host)
    assert (problem.status, problem.code) == (421, "host_not_allowed")
    assert "http.allowed_hosts" in problem.detail
    assert shield.stats()["bad_hosts"] == 1


def test_no_host_and_two_hosts_are_refused(shield):
    assert refusal(shield).status == 421
    two = [(b"host", b"localhost"), (b"host", b"localhost")]
    assert shield.refusal({"method": "GET", "path": "/", "scheme": "http", "headers": two}).status == 421


@pytest.mark.parametrize(
    ("headers", "served"),
    [
        ({}, True),
        ({"origin": "http://localhost:8900"}, True),
        ({"origin": "http://localhost:8900", "sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"origin": "http://localhost:9999"}, False),
        ({"origin": "https://localhost:8900"}, False),
        ({"origin": "http://localhost:8900/"}, False),
        ({"origin": "http://localhost:8900\r"}, False),
        ({"origin": "file://"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/hold/release"), ("DELETE", "/x"), ("GET", "/ping/a")])
def test_what_changes_something_must_not_come_from_elsewhere(shield, method, path, headers, served):
    problem = refusal(shield, method, path, host="localhost:8900", **headers)
    assert (problem is None) is served
    assert shield.stats()["cross_site"] == (not served)


def test_reading_from_elsewhere_is_left_to_the_browsers_own_rules(shield):
    assert refusal(shield, host="localhost", origin="http://evil.example") is None


def test_names_that_come_along_take_no_memory(shield):
    for n in range(5000):
        refusal(shield, host=f"host-{n}.example")
    assert len(shield._hosts) <= 1000


# -- names


@pytest.mark.parametrize(
    ("allowed", "host", "served"),
    [
        ("*", "any.example", True), ("*", "a_b:1", True), ("*", "", False), ("*", "a:b", False),
        ("*.svc", "monitor.svc", True), ("*.svc", "monitor.ns.svc:8900", True), ("*.svc", "MONITOR.SVC.", True),
        ("*.svc", "svc", False), ("*.svc", ".svc", False), ("*.svc", "svc.evil.example", False),
        ("*.svc", "xsvc", False),
        ("*.example.com", "evil-example.com", False), ("monitor", "monitor:8900", True), ("monitor", "monitors", False),
    ],
)  # fmt: skip
def test_patterns(allowed, host, served):
    assert (refusal(Shield([allowed]), host=host) is None) is served


def test_the_public_url_has_an_allowed_name():
    shield = Shield([], public_url="https://monitor.example:8443/heartfelt")
    assert refusal(shield, host="monitor.example") is None
    assert refusal(shield, host="other.example").status == 421


BEARER = f"Bearer {TOKEN}"


def test_a_valid_token_may_use_any_name_once(shield):
    assert refusal(shield, host="monitor:8900", authorization=BEARER) is None
    assert refusal(shield, "POST", "/api/v1/beats", host="monitor:8900", authorization=BEARER) is None
    assert refusal(shield, "GET", "/metrics", host="prometheus-sees-it.so", authorization=BEARER) is None
    for wrong in ("Bearer hf_wrong", TOKEN, "Digest x", "", "Bearer"):
        assert refusal(shield, host="monitor:8900", authorization=wrong).status == 421
    assert refusal(shield, host="monitor:8900", cookie=f"token={TOKEN}").status == 421
    assert refusal(shield, path=f"/api/v1/stream?token={TOKEN}", host="monitor:8900").status == 421
    two = [(b"host", b"a"), (b"host", b"a"), (b"authorization", BEARER.encode())]
    assert shield.refusal({"method": "GET", "path": "/", "scheme": "http", "headers": two}).status == 421


def test_a_secret_ping_url_may_use_any_name(shield):
    assert refusal(shield, path=f"/ping/{TOKEN}", host="monitor") is None
    assert refusal(shield, path=f"/ping/{TOKEN}/fail", host="monitor") is None
    assert refusal(shield, path=f"/api/v1/instances/{TOKEN}", host="monitor").status == 421
    assert refusal(shield, path="/ping/hf_wrong", host="monitor").status == 421
    assert refusal(shield, path=f"/ping/{TOKEN}", host="monitor", origin="http://evil.example").status == 403
    scope = {"method": "GET", "path": "/ping", "scheme": "http", "headers": [(b"host", b"monitor")]}
    assert shield.refusal({**scope, "query_string": f"a=1&key={TOKEN}&event=ok".encode()}) is None
    assert shield.refusal({**scope, "query_string": f"nokey={TOKEN}".encode()}).status == 421
    encoded = "".join(f"%{ord(one):02x}" for one in TOKEN)
    assert shield.refusal({**scope, "query_string": f"key={encoded}".encode()}) is None
    assert shield.refusal({**scope, "query_string": f"key={encoded}%00".encode()}).status == 421
    assert shield.refusal(scope).status == 421


@pytest.mark.parametrize("other", ["Bearer hf_wrong", "Basic dXNlcjpwYXNzd29yZA==", "Digest x", ""])
def test_a_ping_url_with_a_token_needs_no_other_credentials(shield, other):
    """A device that has a field for a password sends something in it."""
    assert refusal(shield, path=f"/ping/{TOKEN}", host="monitor", authorization=other) is None
    assert refusal(shield, path="/ping/key", host="monitor", authorization=other).status == 421


def test_a_token_does_not_let_another_sites_page_change_anything(shield):
    problem = refusal(
        shield, "POST", "/api/v1/hold/release", host="monitor:8900", authorization=BEARER, origin="http://evil.example"
    )
    assert (problem.status, problem.code) == (403, "cross_site")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_name(shield, path):
    assert refusal(shield, path=path, host="pod-7.ns") is None
    assert refusal(shield, path=path, version="1.0") is None
    assert refusal(shield, path=path).status == 421  # HTTP/1.1 without Host is no request


def test_http_1_0_needs_no_host_but_an_allowed_one(shield):
    for method, path in (("OPTIONS", "/"), ("GET", "/metrics"), ("GET", "/ping/a"), ("POST", "/api/v1/beats")):
        assert refusal(shield, method, path, version="1.0") is None
    assert refusal(shield, version="1.0", host="evil.example").status == 421
    assert refusal(shield, "POST", version="1.0", origin="http://evil.example").status == 403


def test_the_answer_and_the_log_have_the_line_to_set(shield, caplog):
    for _ in range(3):
        problem = refusal(shield, host="monitor:8900")
    line = 'http.allowed_hosts = ["monitor.example", "monitor"]'
    assert problem.detail.endswith(line)
    (record,) = caplog.records
    assert line in record.message
    assert "10.1.1.1" in record.message
    for n in range(50):
        refusal(shield, host=f"evil-{n}.example")
    assert len(caplog.records) == 10
    assert shield.stats() == {"bad_hosts": 53, "cross_site": 0, "left_out": 41}


def test_a_name_that_is_none_is_not_proposed(shield, caplog):
    for host in ('x"]\nhttp.allowed_hosts=["*', "\xe9", "a b", "-a"):
        assert "= [" not in refusal(shield, host=host).detail
    assert all("\n" not in record.message for record in caplog.records)


# -- sites


def posts(shield, host, origin, **more):
    return refusal(shield, "POST", "/api/v1/hold/release", host=host, origin=origin, **more) is None


@pytest.mark.parametrize(
    ("host", "origin", "served"),
    [
        ("monitor.example", "https://monitor.example", True),  # TLS ended, Host $host
        ("monitor.example", "https://monitor.example:443", True),
        ("monitor.example:8443", "https://monitor.example:8443", True),  # Host $http_host
        ("monitor.example:80", "https://monitor.example", False),
        ("monitor.example", "https://monitor.example:8443", False),  # a sibling port, as far as can be told
        ("monitor.example", "http://monitor.example:8080", False),
        ("monitor.example:8900", "http://monitor.example", False),
        ("monitor.example", "http://monitor.example:80", True),
        ("monitor.example", "https://a.monitor.example", False),
        ("monitor.example", "https://example", False),
        ("monitor.example", "https://monitor.example.evil.example", False),
        ("monitor.example", "null", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("[fd00::1]:81", "http://[fd00::1]:81", True),
    ],
)
def test_an_origin_without_sec_fetch_site(shield, host, origin, served):
    assert posts(shield, host, origin) is served
    assert posts(shield, host, origin, sec_fetch_site="same-origin")  # where it is sent it decides
    assert not posts(shield, host, origin, sec_fetch_site="same-site")


def test_a_page_over_tls_on_the_same_host_is_another_site_if_the_monitor_has_port_80(shield):
    assert not posts(shield, "monitor.example", "https://monitor.example", port=80)


def test_over_tls_a_page_without_it_is_another_site(shield):
    assert not posts(shield, "monitor.example", "http://monitor.example", scheme="https")
    assert posts(shield, "monitor.example", "https://monitor.example", scheme="https")


def test_the_public_urls_page_is_the_monitors_own():
    shield = Shield([], public_url="https://monitor.example:8443/heartfelt")
    assert posts(shield, "127.0.0.1:8900", "https://monitor.example:8443")
    for other in ("https://monitor.example", "http://monitor.example:8443", "https://monitor.example:8444", "null"):
        assert not posts(shield, "127.0.0.1:8900", other)


def test_a_refused_page_is_told_what_to_set(shield):
    problem = refusal(shield, "POST", host="monitor.example", origin="https://status.example:8443")
    assert "http.public_url to its address, https://status.example:8443" in problem.detail
    assert "public_url" not in refusal(shield, "POST", host="monitor.example", origin="null").detail


def test_two_origins_and_two_sites_are_no_browsers(shield):
    for twice in (
        ("origin", "http://localhost", "http://evil.example"),
        ("sec-fetch-site", "same-origin", "cross-site"),
    ):
        name, *values = twice
        headers = [(b"host", b"localhost"), *((name.encode(), one.encode()) for one in values)]
        scope = {"method": "POST", "path": "/", "scheme": "http", "headers": headers}
        assert shield.refusal(scope).status == 403
