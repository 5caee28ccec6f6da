# SPDX-License-Identifier: MIT
"""A monitor that listens on `::`: peers have the addresses that they have, and agents with a token any name for it."""

from __future__ import annotations

import socket
import time

import pytest

from heartfelt.monitor.peer import parsed_address, plain_address
from tests import sermant_frames
from tests.monitor.serving import PATIENCE_S, Serving, run_command, until


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("::ffff:1.2.3.4", "1.2.3.4"), ("1.2.3.4", "1.2.3.4"), ("::1", "::1"), ("2001:db8::ffff:1", "2001:db8::ffff:1"),
        ("", ""), ("fe80::1%eth0", "fe80::1%eth0"), ("::ffff:0:1.2.3.4", "::ffff:0:1.2.3.4"),
    ],
)  # fmt: skip
def test_only_mapped_addresses_change(given, plain):
    assert plain_address(given) == plain
    if plain and "0:1" not in plain:
        assert str(parsed_address(given)) == plain


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    data = tmp_path_factory.mktemp("mapped") / "data"
    secret = run_command("token", "create", "a", "--scope", "admin", "--data", data).stdout.strip().splitlines()[-1]
    serving = Serving("--host", "::", data=data, auth_tcp="false")
    serving.wait_ready()
    serving.host = "127.0.0.1"
    yield serving, secret
    serving.end()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_peers_are_named_by_their_ipv4_addresses(world):
    serving, secret = world
    serving.beat("http", "by-http", token=secret)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(f"Bearer {secret}\nby-udp".encode(), ("127.0.0.1", serving.ready["udp"][1]))
    until(lambda: serving.find("by-udp", token=secret), "the datagram")
    found = {name: serving.find(name, token=secret)["peer"] for name in ("by-http", "by-udp")}
    assert found == {"by-http": "127.0.0.1", "by-udp": "127.0.0.1"}


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_agents_over_tcp_are_too(world):
    serving, secret = world
    beat = sermant_frames.frame(sermant_frames.beat("tcp", "by-tcp", round(time.time() * 1000)))
    with socket.create_connection(("127.0.0.1", serving.ready["tcp"][1]), PATIENCE_S) as sock:
        sock.sendall(beat)
        until(lambda: serving.find("by-tcp", token=secret), "the agent's beat")
    assert serving.find("by-tcp", token=secret)["peer"] == "127.0.0.1"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_names(world):
    serving, secret = world
    named = {"Host": "monitor:8900"}
    for path in ("/api/v1/instances", "/metrics", "/ping/named"):
        assert serving.get(path, token=secret, headers=named).status == 200, path
        assert serving.get(path, headers=named).status == 421, path
    assert serving.post("/api/v1/beats", {"service": "s", "instanceId": "n"}, token=secret, headers=named).status == 200
    for path in ("/healthz", "/readyz"):
        assert serving.get(path, headers=named).status == 200
        assert b" 200 " in asked(serving, f"GET {path} HTTP/1.0\r\n\r\n")
    assert b" 204 " in asked(serving, "OPTIONS / HTTP/1.0\r\n\r\n")  # HAProxy's check
    assert b" 200 " in asked(serving, f"GET /metrics HTTP/1.0\r\nAuthorization: Bearer {secret}\r\n\r\n")
    assert b" 401 " in asked(serving, "GET /metrics HTTP/1.0\r\n\r\n")
    assert 'http.allowed_hosts = ["monitor"]' in serving.log


def asked(serving, request):
    """The first line of the answer."""
    with socket.create_connection(("127.0.0.1", serving.port), PATIENCE_S) as sock:
        sock.sendall(request.encode())
        return sock.makefile("rb").readline()
