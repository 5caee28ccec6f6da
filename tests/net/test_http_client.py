# SPDX-License-Identifier: MIT
"""The HTTP client: it keeps its connection, sends again what a closed one did not take, and never waits for long."""

from __future__ import annotations

import socket
import threading

import pytest

from heartfelt._net.connection import Cancelled, Waker
from heartfelt._net.http_client import HttpClient
from heartfelt._net.url import parse_url

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Script:
    """A server that answers each request of each connection by a script: bytes to send, or None to close."""

    def __init__(self, *connections):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = parse_url(f"http://127.0.0.1:{self.listener.getsockname()[1]}")
        self.requests = []
        self.asked = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(connections,))
        self._thread.start()

    def _serve(self, connections):
        for answers in connections:
            connection, _ = self.listener.accept()
            with connection:
                for answer in answers:
                    if not (request := connection.recv(65536)):
                        break
                    self.requests.append(request)
                    self.asked.set()
                    if answer is None:
                        break
                    connection.sendall(answer)
                else:
                    connection.recv(1)  # until the client closes it

    def close(self):
        self.listener.close()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def serve():
    """serve(*connections): a Script; its clients must have closed their connections when the test ends."""
    made = []

    def start(*connections):
        made.append(Script(*connections))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_a_connection_is_kept(serve):
    server = serve([OK, OK, OK])
    with HttpClient(server.url, wait_s=60) as client:
        for path in ("/a", "/b", "/c"):
            assert client.request("GET", path).read(10) == b"{}"
    assert [request.split()[1] for request in server.requests] == [b"/a", b"/b", b"/c"]


def test_an_answer_that_was_not_read_costs_the_connection(serve):
    server = serve([OK], [OK])
    with HttpClient(server.url, wait_s=60) as client:
        client.request("GET", "/a")
        assert client.request("GET", "/b").read(10) == b"{}"


def test_what_a_closed_connection_did_not_take_is_sent_again(serve):
    server = serve([OK, None], [OK])
    with HttpClient(server.url, wait_s=60) as client:
        assert client.request("POST", "/a", b"1").read(10) == b"{}"
        assert client.request("POST", "/b", b"2").read(10) == b"{}"
    assert [request.split()[1] for request in server.requests] == [b"/a", b"/b", b"/b"]


def test_a_new_connection_that_is_closed_is_not_tried_again(serve):
    server = serve([None])
    with HttpClient(server.url, wait_s=60) as client, pytest.raises(ConnectionError, match="without an answer"):
        client.request("GET", "/a")
    assert len(server.requests) == 1


def test_a_server_that_says_nothing_or_stops_within_the_body(serve):
    server = serve([b""], [OK[:-1]])
    with HttpClient(server.url, wait_s=0.05) as client:
        with pytest.raises(TimeoutError, match="took too long"):
            client.request("GET", "/a")
        answer = client.request("GET", "/b")
        with pytest.raises(TimeoutError, match="took too long"):
            answer.read(10)


def test_all_of_a_request_has_one_limit():
    """Though each byte comes in good time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        given_up = threading.Event()

        def drip():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                try:
                    while not given_up.wait(0.005):
                        connection.send(b"x")
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        url = parse_url(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with HttpClient(url, wait_s=60) as client:
            answer = client.request("GET", "/", total_s=0.2)
            with pytest.raises(TimeoutError):
                answer.read(1 << 30)
        given_up.set()
        thread.join(60)


def test_another_thread_cancels(serve):
    server = serve([b""])
    waker = Waker()
    with HttpClient(server.url, wait_s=1000, waker=waker) as client:
        thread = threading.Thread(target=lambda: server.asked.wait(60) and waker.cancel())
        thread.start()
        with pytest.raises(Cancelled):
            client.request("GET", "/a")
        thread.join(60)
    waker.close()


def test_an_address_that_does_not_answer_leaves_time_for_the_next(serve, monkeypatch):
    server = serve([OK])
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        places = [full.getsockname(), (server.url.host, server.url.port)]
        monkeypatch.setattr(
            "heartfelt._net.resolver.Resolver.get",
            lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, place) for place in places],
        )
        with HttpClient(server.url, wait_s=2) as client:
            assert client.request("GET", "/a").read(10) == b"{}"
        for one in waiting:
            one.close()
