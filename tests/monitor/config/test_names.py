# SPDX-License-Identifier: MIT
"""Settings that say how the monitor is reached: a value that cannot work is refused, with what to write instead."""

from __future__ import annotations

import re

import pytest

from heartfelt.errors import ConfigError
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.names import RESERVED
from heartfelt.monitor.web.api.routes import ENDPOINTS, INGEST_ENDPOINTS
from heartfelt.monitor.web.panel import OF_PROGRAMS, PAGES
from tests.monitor.serving import run_command


def load(**settings):
    flags = {name.replace("_", ".", 1): value for name, value in settings.items()}
    return MonitorConfig.load(flags=flags, environ={})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("monitor", ("monitor",)),
        ("Monitor.Example., *.SVC, *", ("monitor.example", "*.svc", "*")),
        ("a, a", ("a",)),
        ("büro.example", ("xn--bro-hoa.example",)),
        ("*.büro.example", ("*.xn--bro-hoa.example",)),
        ("xn--bro-hoa.example", ("xn--bro-hoa.example",)),
        ("heart_felt", ("heart_felt",)),
        ("10.0.0.5, [::1], fd00::1", ("10.0.0.5", "::1", "fd00::1")),
        ("", ()),
        ("a,", ("a",)),
        (["a", " b "], ("a", "b")),
    ],
)
def test_host_names(given, names):
    assert load(http_allowed_hosts=given).http_allowed_hosts == names


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("http://monitor", "write monitor"),
        ("https://monitor", "write monitor"),
        ("https://monitor:8900/x", "write monitor"),
        ("https://", "write the name only"),
        ("monitor:8900", "every port; write monitor"),
        (":8900", "write it"),
        ("10.0.0.5:8900", "write 10.0.0.5"),
        ("monitor/heartfelt", "write monitor"),
        ("10.0.0.0/8", "write 10.0.0.0"),
        ("a b", "a list"),
        ("a\tb", "control|a list"),
        ("a,,b", "empty"),
        (["a", ""], "empty"),
        ([" "], "empty"),
        ("*monitor", "stands alone"),
        ("a.*.b", "stands alone"),
        ("*.", "not a host name"),
        ("**", "stands alone"),
        ("a..b", "not a host name"),
        (".a", "not a host name"),
        ("-a", "not a host name"),
        ("a-", "not a host name"),
        ("x" * 64, "not a host name"),
        (".".join(["x" * 50] * 5), "not a host name"),
        ("straße.example", "xn--"),
        ("ü" * 70, "xn--"),
        ("monitor?", "not a host name"),
        ("@monitor", "not a host name"),
        ("user@monitor", "host name"),
    ],
)
def test_names_that_no_host_header_has_are_refused(given, remedy):
    with pytest.raises(ConfigError, match=remedy) as caught:
        load(http_allowed_hosts=given)
    assert "http.allowed_hosts" in str(caught.value)
    with pytest.raises(ConfigError, match=remedy):
        MonitorConfig(http_allowed_hosts=(given,) if isinstance(given, str) and "," not in given else given)


@pytest.mark.parametrize(
    ("given", "url", "base"),
    [
        ("https://monitor.example", "https://monitor.example", ""),
        ("https://Monitor.Example.:443/heartfelt/", "https://monitor.example/heartfelt", "/heartfelt"),
        ("http://monitor:8080/a/b", "http://monitor:8080/a/b", "/a/b"),
        ("http://[FD00::1]:80/", "http://[fd00::1]", ""),
        ("https://büro.example", "https://xn--bro-hoa.example", ""),
    ],
)
def test_public_urls(given, url, base):
    config = load(http_public_url=given)
    assert (config.http_public_url, config.base_path) == (url, base)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("monitor.example", "a URL such as"),
        ("ftp://monitor", "a URL such as"),
        ("https://", "a URL such as"),
        ("https://monitor?x=1", "leave out"),
        ("https://monitor#x", "leave out"),
        ("https://monitor/?", "leave out"),
        ("https://u:p@monitor", "user name"),
        ("https://monitor:0", "a URL such as"),
        ("https://monitor:x", "a URL such as"),
        ("https://[::1", "a URL such as"),
        ("https://a b/", "blanks"),
        ("https://monitor/a b", "letters, digits"),
        ("https://monitor/..", "letters, digits"),
        ("https://monitor/a//b", "letters, digits"),
        ("https://monitor/a%2Fb", "letters, digits"),
        ('https://monitor/"x', "letters, digits"),
        ("https://monitor/ping", "must not begin with /ping"),
        ("https://*.example", "not a host name"),
    ],
)
def test_public_urls_that_cannot_work_are_refused(given, remedy):
    with pytest.raises(ConfigError, match=remedy):
        load(http_public_url=given)


@pytest.mark.parametrize(
    ("given", "base"),
    [("", ""), ("/", ""), ("heartfelt", "/heartfelt"), ("/heartfelt/", "/heartfelt"), ("/a/b", "/a/b")],
)
def test_base_paths(given, base):
    assert load(http_base_path=given).base_path == base


@pytest.mark.parametrize("given", ["/a b", "/a/../b", "https://a/b", "/a?b", "/a//b", "/api/x", "/ping", "/<b>", "/ü"])
def test_base_paths_that_cannot_work_are_refused(given):
    with pytest.raises(ConfigError, match=r"http\.base_path must"):
        load(http_base_path=given)


def test_a_base_path_is_that_of_the_public_url_or_alone():
    assert load(http_base_path="/a", http_public_url="https://x/a/").base_path == "/a"
    with pytest.raises(ConfigError, match="set one of them"):
        load(http_base_path="/a", http_public_url="https://x/b")


def test_no_path_of_the_monitors_own_can_be_a_base():
    paths = [one.path for one in (*ENDPOINTS, *INGEST_ENDPOINTS)] + list(PAGES)
    first = {re.split("/", path)[1] for path in paths} - {""}
    assert first | OF_PROGRAMS == RESERVED


@pytest.mark.parametrize(
    ("given", "proxies"),
    [
        ("127.0.0.1, 10.0.0.0/8,fd00::/8", ("127.0.0.1", "10.0.0.0/8", "fd00::/8")),
        ("10.0.0.1/32, ::1/128", ("10.0.0.1", "::1")),
        ("::ffff:10.0.0.1, ::ffff:10.0.0.0/104", ("10.0.0.1", "10.0.0.0/8")),
        ("", ()),
    ],
)
def test_trusted_proxies(given, proxies):
    assert load(http_trusted_proxies=given).http_trusted_proxies == proxies


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("*", "pretend to be another"),
        ("0.0.0.0/0", "pretend to be another"),
        ("::/0", "pretend to be another"),
        ("10.0.0.5/8", "write 10.0.0.0/8"),
        ("proxy.example", "IP addresses and networks"),
        ("10.0.0.1:80", "IP addresses"),
        ("http://10.0.0.1", "IP addresses"),
        ("10.0.0", "IP addresses"),
        ("::ffff:0.0.0.0/96", "pretend to be another"),
    ],
)
def test_proxies_that_cannot_be_meant_are_refused(given, remedy):
    with pytest.raises(ConfigError, match=remedy):
        load(http_trusted_proxies=given)


def test_any_name_without_tokens_is_warned_of():
    assert any("DNS rebinding" in one for one in MonitorConfig(http_allowed_hosts=("*",)).warnings)
    assert not any("DNS rebinding" in one for one in MonitorConfig(http_allowed_hosts=("*",), host="0.0.0.0").warnings)


def test_the_check_refuses_what_cannot_match():
    checked = run_command("serve", "--check", "--set", "http.allowed_hosts=monitor:8900")
    assert checked.returncode != 0
    assert "flag http.allowed_hosts: http.allowed_hosts" in checked.stderr
    assert "write monitor" in checked.stderr
