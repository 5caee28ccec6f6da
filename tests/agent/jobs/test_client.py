# SPDX-License-Identifier: MIT
"""PingClient: what it sends, what it makes of answers, and that nothing holds it for long."""

from __future__ import annotations

import logging
import socket
import threading

import pytest

from heartfelt import ConfigError
from heartfelt.agent.jobs.client import MOST_TEXT, MonitorError, PingClient, truncated


@pytest.fixture
def naps():
    return []


@pytest.fixture
def client(monitor, naps):
    return PingClient(monitor.url, sleep=naps.append)


class TestPing:
    @pytest.mark.parametrize(
        ("event", "query"), [(None, {}), ("fail", {"event": "fail"}), (0, {"exit": "0"}), (7, {"exit": "7"})]
    )
    @pytest.mark.parametrize("key", ["ok", "Start", "log"])
    def test_a_key_that_is_a_word_is_sent_in_the_query(self, client, monitor, key, event, query):
        assert client.ping(key, event, rid="r", more={"event": "exit"} if event == 7 else None)
        assert [(one.path, one.query) for one in monitor.got] == [("/ping", {"key": key, "rid": "r", **query})]

    @pytest.mark.parametrize(
        ("event", "path"),
        [(None, "/ping/k"), ("start", "/ping/k/start"), ("ok", "/ping/k/ok"), (0, "/ping/k/0"), (255, "/ping/k/255")],
    )
    def test_event_is_the_last_part_of_the_path(self, client, monitor, event, path):
        assert client.ping("k", event)
        assert [(one.path, one.query, one.body) for one in monitor.got] == [(path, {}, b"")]

    def test_what_is_given_is_in_the_query_and_the_body(self, client, monitor):
        assert client.ping("k", "fail", "müde", duration_ms=0, timeout_ms=1500, rid="a b")
        (got,) = monitor.got
        assert got.query == {"rid": "a b", "duration_ms": "0", "timeout_ms": "1500"}
        assert got.text == "müde"
        assert got.headers["content-type"] == "text/plain; charset=utf-8"

    @pytest.mark.parametrize("key", ["a/b", "a/ok", "ä b?c#d", "%2F", "..."])
    def test_any_key_arrives_as_it_is(self, client, monitor, key):
        assert client.ping(key, "ok")
        (got,) = monitor.got
        assert (got.key, got.event) == (key, "ok")

    @pytest.mark.parametrize("key", ["svc/1", "a/fail", "a/b"])
    def test_a_beat_of_a_key_with_a_slash_survives_a_proxy_that_decodes_it(self, client, monitor, key):
        assert client.ping(key, rid="r")
        (got,) = monitor.got
        assert (got.path, got.query) == ("/ping", {"key": key, "rid": "r"})

    @pytest.mark.parametrize("key", ["", ".", "..", "x" * 513, "\ud800"])
    def test_key_that_no_url_can_have_is_refused(self, client, monitor, key):
        with pytest.raises(ConfigError):
            client.ping(key)
        assert monitor.got == []

    @pytest.mark.parametrize("event", ["done", -1, 2**32, True, 1.0])
    def test_event_that_is_none_is_refused(self, client, event):
        with pytest.raises(ConfigError, match="not an event"):
            client.ping("k", event)

    def test_token_is_sent(self, monitor):
        assert PingClient(monitor.url, "s3cret").ping("k")
        assert monitor.got[0].headers["authorization"] == "Bearer s3cret"

    @pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "ä"])
    def test_token_that_cannot_be_is_refused_and_not_shown(self, token):
        with pytest.raises(ConfigError) as refusal:
            PingClient(token=token)
        assert token not in str(refusal.value)

    def test_url_may_have_a_path(self, monitor):
        assert PingClient(monitor.url + "/watch/").ping("k")
        assert monitor.got[0].path == "/watch/ping/k"


class TestText:
    def test_long_text_is_cut_between_characters(self):
        raw = truncated("ä" * MOST_TEXT)
        assert MOST_TEXT - 1 <= len(raw) <= MOST_TEXT
        assert raw.decode().endswith(f"... ({2 * MOST_TEXT} bytes)")

    def test_text_that_fits_is_whole(self):
        assert truncated("x" * MOST_TEXT) == b"x" * MOST_TEXT

    def test_lone_surrogates_are_shown(self):
        assert truncated("\udc80") == b"\\udc80"


class TestBeats:
    def test_batch_is_one_array(self, client, monitor):
        assert client.post_beats([{"service": "ä"}, {"service": "b"}])
        (got,) = monitor.got
        assert (got.path, got.headers["content-type"]) == ("/api/v1/beats", "application/json")
        assert got.beats == [{"service": "ä"}, {"service": "b"}]

    def test_large_batch_is_packed(self, client, monitor):
        beats = [{"service": f"service {n}"} for n in range(1000)]
        assert client.post_beats(beats)
        assert monitor.got[0].headers["content-encoding"] == "gzip"
        assert monitor.got[0].beats == beats

    def test_no_beats_no_request(self, client, monitor):
        assert client.post_beats([])
        assert monitor.got == []


class TestFailure:
    @pytest.mark.parametrize("status", [500, 503, 429])
    def test_what_may_pass_is_tried_again(self, client, monitor, naps, status):
        monitor.answers = [status, status]
        assert client.ping("k", "ok")
        assert [one.path for one in monitor.got] == ["/ping/k/ok"] * 3
        assert 0.1 <= naps[0] <= 0.2 <= naps[1] <= 0.4
        assert (client.stats().sent, client.stats().retries, client.stats().failed) == (1, 2, 0)

    def test_tries_are_bounded(self, client, monitor):
        monitor.answers = [503] * 10
        assert not client.ping("k")
        assert len(monitor.got) == 3
        assert client.stats().failed == 1

    @pytest.mark.parametrize(("status", "remedy"), [(401, "HEARTFELT_TOKEN"), (404, "URL"), (301, "elsewhere.example")])
    def test_refusal_is_not_tried_again_and_tells_what_to_do(self, monitor, status, remedy):
        monitor.answers = [status]
        with pytest.raises(MonitorError, match=remedy) as refusal:
            PingClient(monitor.url, raise_errors=True).ping("k")
        assert refusal.value.reached
        assert "because of this" in str(refusal.value)
        assert len(monitor.got) == 1

    def test_nobody_there_is_counted_and_not_raised(self, nobody, naps):
        client = PingClient(nobody, sleep=naps.append)
        assert not client.ping("k")
        assert client.stats().failed == 1
        assert "nothing listens" in client.stats().last_error

    def test_mute_server_ends_in_time(self, mute):
        client = PingClient(mute, timeout_s=0.05, tries=2, raise_errors=True, backoff_s=0.001)
        with pytest.raises(MonitorError, match=r"did not answer within 0\.05 s"):
            client.ping("k")
        assert client.stats().retries == 1

    def test_server_that_drips_does_not_hold_the_client(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            given_up = threading.Event()

            def drip():
                connection, _ = listener.accept()
                with connection:
                    try:
                        while not given_up.wait(0.01):
                            connection.send(b"H")
                    except OSError:
                        given_up.set()

            thread = threading.Thread(target=drip)
            thread.start()
            client = PingClient(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3, tries=1)
            assert not client.ping("k")
            assert "did not answer" in client.stats().last_error
            given_up.set()
            thread.join()

    def test_something_else_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def greet():
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-nonsense\r\n")
                    connection.recv(65536)

            thread = threading.Thread(target=greet)
            thread.start()
            client = PingClient(f"http://127.0.0.1:{listener.getsockname()[1]}", tries=1)
            assert not client.ping("k")
            thread.join()
            assert "does not answer as an HTTP server does" in client.stats().last_error

    def test_log_tells_the_beginning_and_the_end_of_a_failure(self, client, monitor, caplog):
        caplog.set_level(logging.INFO, "heartfelt.agent")
        monitor.answers = [404, 404, 404]
        for _ in range(4):
            client.ping("k")
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert "/ping/k" in caplog.messages[0]
        assert "lost meanwhile: 3" in caplog.messages[1]


class TestTls:
    def test_ca_is_trusted(self, https_monitor, certificate):
        assert PingClient(https_monitor.url, ca=certificate[0], tries=1).ping("k", "ok")
        assert https_monitor.events == ["ok"]

    def test_without_the_ca_nothing_is_sent(self, https_monitor):
        client = PingClient(https_monitor.url, "s3cret", tries=1)
        assert not client.ping("k")
        assert https_monitor.got == []
        assert "not trusted" in client.stats().last_error

    def test_missing_ca_file_is_named(self, https_monitor, tmp_path):
        client = PingClient(https_monitor.url, ca=tmp_path / "none.pem")
        assert not client.ping("k")
        assert "none.pem" in client.stats().last_error
