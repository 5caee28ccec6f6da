# SPDX-License-Identifier: MIT
"""`heartfelt beat`, as a cron job runs it."""

from __future__ import annotations

import signal
import socket
import sys

import pytest

from heartfelt.__main__ import main
from heartfelt.cli import beat

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(30)
        yield one


def address(receiver):
    return f"127.0.0.1:{receiver.getsockname()[1]}"


class TestHttp:
    def test_status_is_0_if_the_monitor_took_it(self, monitor, heartfelt):
        done = heartfelt("beat", "nightly")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert [(one.key, one.event) for one in monitor.got] == [("nightly", None)]

    def test_everything_given_is_sent(self, monitor, monkeypatch):
        monkeypatch.setenv("MY_TOKEN", "s3cret")
        options = ["--url", monitor.url, "--token-env", "MY_TOKEN", "--timeout", "25h", "--message", "done"]
        assert main(["beat", "a/b", "c", *options, "--event", "ok"]) == 0
        assert [(one.key, one.event, one.text) for one in monitor.got] == [("a/b", "ok", "done"), ("c", "ok", "done")]
        assert [one.query for one in monitor.got] == [{"timeout_ms": "90000000"}] * 2
        assert monitor.got[0].headers["authorization"] == "Bearer s3cret"

    def test_status_of_a_process(self, monitor):
        assert main(["beat", "k", "--status", "0"]) == main(["beat", "k", "--status", "137"]) == 0
        assert monitor.events == ["0", "137"]
        assert [one.query for one in monitor.got] == [{"event": "exit"}] * 2

    def test_a_period_and_its_grace_are_sent_once(self, monitor):
        assert main(["beat", "k", "--every", "1d", "--grace", "90m", "--once", "--event", "ok"]) == 0
        assert main(["beat", "k", "--every", "5m", "--once"]) == 0
        assert [one.query for one in monitor.got] == [
            {"every_ms": "86400000", "grace_ms": "5400000"}, {"every_ms": "300000"},
        ]  # fmt: skip

    def test_message_of_stdin_is_cut(self, monitor, heartfelt):
        assert heartfelt("beat", "k", "--message", "-", input=b"\xffx" * 500_000, text=False).returncode == 0
        assert len(monitor.got[0].body) <= 10_000
        assert monitor.got[0].text.startswith("\ufffdx")

    def test_nobody_there(self, nobody, capsys):
        assert main(["beat", "k", "other", "--url", nobody]) == 1
        told = capsys.readouterr().err.splitlines()
        assert told == [
            f"heartfelt beat: k: nothing listens at {nobody}: "
            "start the monitor there (heartfelt serve), or give another URL (HEARTFELT_URL)",
            "heartfelt beat: did not try: other",
        ]

    def test_one_key_refused(self, monitor, capsys):
        monitor.answers = [404]
        assert main(["beat", "k", "other"]) == 1
        assert monitor.got[1].key == "other"
        assert "k: " in capsys.readouterr().err

    def test_certificate(self, https_monitor, certificate, capsys):
        assert main(["beat", "k", "--url", https_monitor.url]) == 1
        assert "not trusted" in capsys.readouterr().err
        assert main(["beat", "k", "--url", https_monitor.url, "--ca", str(certificate[0])]) == 0

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ([""], "name"),
            (["k", "--url", "h"], "--url"),
            (["k", "--token-env", "NOT_THERE"], "NOT_THERE"),
            (["k", "--timeout", "soon"], "1h30m"),
            (["k", "--timeout", "0"], "longer than zero"),
            (["k", "--status", "x"], "whole number"),
            (["k", "--event", "ok", "--status", "1"], "not allowed"),
            (["k", "--every", "5", "--event", "ok"], "--every"),
            (["k", "--every", "5", "--timeout", "5"], "shorter"),
            (["k", "--grace", "5"], "--every"),
            (["k", "--once"], "--every"),
            (["k", "--every", "5", "--grace", "5", "--timeout", "9"], "--grace"),
            (["k", "--every", "5", "--grace", "5", "--udp", "127.0.0.1:1"], "--grace"),
            ([" k"], "blank"),
            (["k", "--udp", "127.0.0.1:1", "--message", "m", "--timeout", "5"], "--message, --timeout"),
            (["k", "--udp", "127.0.0.1:x"], "HOST:PORT"),
            (["{k", "--udp", "127.0.0.1:1"], "cannot be sent by UDP"),
            (["a\nb", "--udp", "127.0.0.1:1"], "line break"),
            ([], "KEY"),
        ],
    )
    def test_wrong_options_say_what_to_do(self, options, word, capsys, monitor):
        with pytest.raises(SystemExit) as ended:
            main(["beat", *options])
        assert ended.value.code == 2
        assert word in capsys.readouterr().err
        assert monitor.got == []


class TestEvery:
    @posix_only
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_beats_until_killed_and_outlives_a_failure(self, monitor, start_heartfelt, number, status):
        monitor.answers = [200, 404, 404]
        process = start_heartfelt("beat", "k", "--every", "20ms", text=True)
        monitor.wait_for(lambda got: len(got) >= 5)
        process.send_signal(number)
        told = process.communicate(timeout=30)[1]
        assert process.returncode == status
        assert [line.partition(";")[0].partition(" at ")[0] for line in told.splitlines()] == [
            f"heartfelt beat: k: {monitor.url} answered 404",
            "heartfelt beat: the monitor accepts it again",
        ]
        assert monitor.got[0].query == {"timeout_ms": "60"}

    def test_fixed_rate_that_makes_up_for_nothing(self):
        now, naps, sends = [100.0], [], iter([0.1, 0.2, 3.5, 0.0, 1.0])

        def send():
            now[0] += next(sends)  # raises StopIteration in the end
            return []

        def sleep(seconds):
            naps.append(round(seconds, 6))
            now[0] += seconds

        with pytest.raises(StopIteration):
            beat.beat_every(send, 1.0, clock=lambda: now[0], sleep=sleep)
        assert naps == [0.9, 0.8, 0.5, 1.0, 0.0]


def test_an_interval_longer_than_a_nap_is_kept():
    now, sent = [0.0], []

    def send():
        if len(sent) == 3:
            raise StopIteration
        sent.append(now[0])
        return []

    def sleep(seconds):
        now[0] += seconds

    with pytest.raises(StopIteration):
        beat.beat_every(send, 2.5 * beat.MOST_NAP_S, clock=lambda: now[0], sleep=sleep)
    assert sent == [n * 2.5 * beat.MOST_NAP_S for n in range(3)]


class TestUdp:
    def test_keys_are_lines(self, receiver):
        assert main(["beat", "a", "müde", "--udp", address(receiver)]) == 0
        assert receiver.recv(65536) == "a\nmüde\n".encode()

    def test_token_is_the_first_line_of_each_datagram(self, receiver, monkeypatch):
        monkeypatch.setenv("HEARTFELT_TOKEN", "s3cret")
        keys = [f"{n:0400}" for n in range(10)]
        assert main(["beat", *keys, "--udp", address(receiver)]) == 0
        received = []
        while len(received) < len(keys):
            packet = receiver.recv(65536)
            assert len(packet) <= 1400
            first, *lines = packet.decode().splitlines()
            assert first == "Bearer s3cret"
            received += lines
        assert received == keys

    def test_nobody_there(self, capsys):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            one.connect(("127.0.0.1", 1))  # it takes nothing but that port's datagrams, and keeps its own from others
            assert main(["beat", "k", "--udp", address(one)]) == 1
        assert "nothing listens" in capsys.readouterr().err


def test_commands_start_without_what_they_do_not_need(run_python):
    loaded = run_python("""
        import sys
        from heartfelt.__main__ import build_parser
        build_parser().parse_args(["beat", "k"])
        print(*sorted(sys.modules))
    """).split()
    assert not {"numpy", "ssl", "http.client", "heartfelt.agent", "subprocess", "email"} & set(loaded)
