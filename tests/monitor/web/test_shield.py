# SPDX-License-Identifier: MIT
"""Requests that another site's page made a browser send."""

from __future__ import annotations

import pytest

from heartfelt.monitor.web.shield import Shield


def refusal(shield, method="GET", path="/api/v1/instances", scheme="http", **headers):
    given = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return shield.refusal({"method": method, "path": path, "scheme": scheme, "headers": given})


@pytest.fixture
def shield():
    return Shield(["monitor.example"])


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
