# SPDX-License-Identifier: MIT
"""The test server itself: what other tests rely on."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from heartfelt.wire import encode_frame, pack
from tests.agent.server import Answer

BEAT = {"service": "s", "instanceId": "i"}
TEXT = json.dumps(BEAT).encode()


def test_sermant_frames(serve):
    server = serve("sermant")
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(encode_frame([(0, pack(TEXT)), (1, pack(b'{"events": []}'))], token="secret"))
        connection.sendall(encode_frame(goodbye=TEXT))
        server.wait_for(lambda: server.goodbyes)
    server.wait_for(lambda: server.open_connections == 0)
    assert (server.beats, server.goodbyes, server.tokens) == ([BEAT], [BEAT], ["secret"])
    assert server.events == [{"events": []}]
    assert (server.connections, len(server.arrivals)) == (1, 1)


def test_what_cannot_be_read_is_an_error(serve):
    server = serve("sermant")
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(b"\xff" * 6)
        assert connection.recv(1) == b""
    assert server.errors.pop().startswith("length")


def test_tls(serve, certificates):
    server = serve("sermant", tls=certificates.server_context())
    with (
        socket.create_connection((server.host, server.port)) as plain,
        certificates.client_context().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(encode_frame([(0, pack(TEXT))]))
        server.wait_for(lambda: server.beats)
    assert server.beats == [BEAT]


def test_http(serve):
    server = serve("http")
    connection = http.client.HTTPConnection(server.host, server.port)

    def post(path, body, **headers):
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    json_type = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    assert post("/api/v1/beats", TEXT, **json_type) == 200
    assert post("/api/v1/beats", pack(TEXT), **json_type, **{"Content-Encoding": "gzip"}) == 200
    assert post("/api/v1/beats", json.dumps([BEAT, BEAT | {"goodbye": True}]), **json_type) == 200
    assert post("/ping/a%2Fb%20c/fail", "text") == 200
    server.answer = Answer(503)
    assert post("/api/v1/beats", TEXT, **json_type) == 503
    assert server.beats == [BEAT] * 3
    assert server.goodbyes == [BEAT | {"goodbye": True}]
    assert server.tokens == ["secret"] * 4
    assert [tuple(ping) for ping in server.pings] == [("a/b c", "fail", "text")]
    assert (len(server.requests), server.connections) == (5, 1)
    server.answer = Answer(close=True)
    post("/ping/k", "")
    server.wait_for(lambda: server.open_connections == 0)
    connection.close()


def test_udp(serve):
    server = serve("udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((server.host, server.port))
        for data in (TEXT, b"Bearer secret\n" + pack(TEXT), b"a\nb/c\n"):
            sender.send(data)
        server.wait_for(lambda: len(server.keys) == 2)
    assert (server.beats, server.tokens, server.keys) == ([BEAT] * 2, ["secret"], ["a", "b/c"])


def test_misbehaviour(serve):
    server = serve("sermant")
    frame = encode_frame([(0, pack(TEXT))])
    address = (server.host, server.port)
    with socket.create_connection(address) as connection:
        server.wait_for(lambda: server.open_connections)
        server.drop_connections()
        assert connection.recv(1) == b""
    with socket.create_connection(address) as connection:
        server.wait_for(lambda: server.open_connections)
        server.drop_connections(reset=True)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    server.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    server.listen()
    server.stop_accepting()
    with socket.create_connection(address) as connection:
        connection.sendall(frame)
        assert server.connections == 2
        server.listen()
        server.wait_for(lambda: server.beats)
    server.closes_at_once = True
    with socket.create_connection(address) as connection:
        assert connection.recv(1) == b""
    with pytest.raises(AssertionError, match="did not come about"):
        server.wait_for(lambda: server.tokens, deadline=0.01)


def test_five_hundred_connections(serve):
    server = serve("sermant")
    frame = encode_frame([(0, pack(TEXT))])
    connections = [socket.create_connection((server.host, server.port)) for _ in range(500)]
    for connection in connections:
        connection.sendall(frame)
    server.wait_for(lambda: len(server.beats) == 500)
    for connection in connections:
        connection.close()
    server.wait_for(lambda: server.open_connections == 0)
