# SPDX-License-Identifier: MIT
"""`heartfelt run`: what the command sees, what its caller sees, and what the monitor is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from heartfelt.__main__ import main
from heartfelt.cli import _child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and a shell")
PYTHON = (sys.executable, "-c")


def told(monitor):
    return [(one.key, one.event) for one in monitor.got if one.event is not None]


class TestEnd:
    def test_good_end(self, monitor, heartfelt):
        done = heartfelt("run", "--", "cat", input="through")
        assert (done.returncode, done.stdout, done.stderr) == (0, "through", "")
        assert told(monitor) == [("cat", "start"), ("cat", "ok")]
        start, end = monitor.got
        assert start.query == {"rid": end.query["rid"], "timeout_ms": "90000"}
        assert int(end.query["duration_ms"]) >= 0

    def test_bad_end(self, monitor, heartfelt):
        done = heartfelt("run", "--key", "job/1", "--", "sh", "-c", "echo out; echo bad >&2; exit 3")
        assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "bad\n")
        assert told(monitor) == [("job/1", "start"), ("job/1", "3")]
        assert monitor.got[-1].text == "bad"

    def test_period_and_bounds_are_sent(self, monitor, heartfelt):
        options = ("--every", "1d", "--grace", "1h", "--max-duration", "2h", "--min-duration", "500ms")
        assert heartfelt("run", "--key", "k", *options, "--", "true").returncode == 0
        terms = {"every_ms": "86400000", "grace_ms": "3600000", "max_duration_ms": "7200000", "min_duration_ms": "500"}
        start, end = monitor.got
        assert start.query == {"rid": end.query["rid"], "timeout_ms": "90000", **terms}
        assert end.query.items() >= terms.items()

    def test_ended_by_a_signal(self, monitor, heartfelt):
        assert heartfelt("run", "--key", "k", "--", "sh", "-c", "kill -KILL $$").returncode == 137
        assert told(monitor)[-1] == ("k", "137")

    def test_arguments_are_the_commands_own(self, monitor, heartfelt):
        done = heartfelt("run", "--key", "k", "--", "sh", "-c", 'echo "$@"', "--", "--key", "--", "-x")
        assert done.stdout == "--key -- -x\n"
        assert heartfelt("run", "--key", "k", "echo", "--key", "x").stdout == "--key x\n"

    def test_stderr_is_shown_whole_and_its_end_is_sent(self, monitor, heartfelt):
        code = "import sys\nfor n in range(20000): print('line', n, file=sys.stderr)\nsys.exit(1)"
        done = heartfelt("run", "--key", "k", "--", *PYTHON, code)
        assert done.stderr == "".join(f"line {n}\n" for n in range(20000))
        assert monitor.got[-1].text.splitlines() == [f"line {n}" for n in range(19950, 20000)]

    def test_one_long_line_is_bounded(self, monitor, heartfelt):
        heartfelt("run", "--key", "k", "--", *PYTHON, "import os; os.write(2, b'x' * 1000000)")
        assert monitor.got[-1].text == "x" * 8000

    def test_what_is_left_behind_does_not_hold_it(self, monitor, heartfelt):
        done = heartfelt("run", "--key", "k", "--", "sh", "-c", "sleep 40 >/dev/null </dev/null & echo $!; exit 4")
        os.kill(int(done.stdout), signal.SIGKILL)
        assert done.returncode == 4

    @pytest.mark.parametrize(("command", "status"), [("/none/such", 127), ("/", 126)])
    def test_command_that_cannot_start(self, monitor, heartfelt, command, status):
        done = heartfelt("run", "--key", "k", "--", command)
        assert done.returncode == status
        assert command in done.stderr
        assert told(monitor) == [("k", "start"), ("k", str(status))]

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ([], "no command"),
            (["--interval", "5", "--timeout", "5", "--", "true"], "shorter"),
            (["--max-duration", "1s", "--min-duration", "1m", "--", "true"], "swap"),
            (["--url", "h", "--", "true"], "--url"),
            (["--key", "..", "--", "true"], "'..'"),
        ],
    )
    def test_wrong_options(self, monitor, heartfelt, options, word):
        done = heartfelt("run", *options)
        assert done.returncode == 2
        assert word in done.stderr
        assert monitor.got == []


class TestBeats:
    def test_it_beats_while_it_runs(self, monitor, start_heartfelt):
        process = start_heartfelt("run", "--interval", "20ms", "--", "cat", stdin=subprocess.PIPE)
        monitor.wait_for(lambda got: sum(one.event is None for one in got) >= 3)
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert told(monitor) == [("cat", "start"), ("cat", "ok")]
        assert {one.query.get("timeout_ms") for one in monitor.got if one.event is None} == {"60"}

    def test_monitor_away(self, nobody, heartfelt):
        done = heartfelt("run", "--url", nobody, "--", "sh", "-c", "exit 5")
        assert done.returncode == 5
        assert done.stderr.count("nothing listens") == 1

    def test_wrong_environment(self, heartfelt):
        done = heartfelt("run", "--", "echo", "hello", env={**os.environ, "HEARTFELT_URL": "nonsense"})
        assert (done.returncode, done.stdout) == (0, "hello\n")
        assert "HEARTFELT_URL" in done.stderr


TRAP = 'trap "echo got $1; exit 9" $1; echo ready; while :; do sleep 0.01; done'


class TestSignals:
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
    def test_signal_after_the_end_does_not_change_the_status(self, monitor, start_heartfelt, eventually):
        monitor.gate.clear()
        process = start_heartfelt("run", "--key", "k", "--", "sh", "-c", "echo $$; exit 6", text=True)
        number = int(process.stdout.readline())
        monitor.wait_for(lambda got: got)
        eventually(lambda: not Path(f"/proc/{number}").exists())  # it is reaped
        process.terminate()
        monitor.gate.set()
        assert process.communicate(timeout=30)[1] == ""
        assert process.returncode == 6
        assert told(monitor) == [("k", "start"), ("k", "6")]

    @pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
    def test_signal_reaches_the_command(self, monitor, start_heartfelt, name):
        number = getattr(signal, f"SIG{name}")
        before = signal.getsignal(number)
        if before is signal.SIG_IGN:  # under nohup: a shell cannot trap a signal that it inherits as ignored
            signal.signal(number, signal.SIG_DFL)
        try:
            process = start_heartfelt("run", "--key", "k", "--", "sh", "-c", TRAP, "sh", name, text=True)
        finally:
            signal.signal(number, before)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.communicate(timeout=30)[0] == f"got {name}\n"
        assert process.returncode == 9
        assert told(monitor)[-1] == ("k", "9")

    def test_status_is_that_of_a_command_the_signal_ends(self, monitor, start_heartfelt):
        process = start_heartfelt("run", "--key", "k", "--", "sh", "-c", "echo ready; exec sleep 60", text=True)
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 143
        assert told(monitor)[-1] == ("k", "143")

    def test_what_is_ignored_stays_so(self, monitor):
        code = "import signal; print(signal.getsignal(signal.SIGHUP).name, signal.getsignal(signal.SIGTERM).name)"
        words = [sys.executable, "-m", "heartfelt", "run", "--key", "k", "--", *PYTHON, code]
        script = 'trap "" HUP; exec "$@"'  # as nohup does it
        done = subprocess.run(
            ["sh", "-c", script, "sh", *words], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "SIG_IGN SIG_DFL\n"

    def test_signals_get_their_meaning_back(self, monitor):
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        assert main(["run", "--", "true"]) == 0
        assert main(["run", "--", "/none/such"]) == 127
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before

    def test_ctrl_c_of_a_terminal_comes_once(self, monitor):
        import pty

        child, terminal = pty.fork()
        code = """
            import os, signal
            made, told = os.pipe()
            os.set_blocking(told, False)
            signal.set_wakeup_fd(told)  # a byte for each signal, whenever its handler runs
            for number in (signal.SIGINT, signal.SIGUSR1):
                signal.signal(number, lambda *_: None)
            print("ready", flush=True)
            numbers = b""
            while signal.SIGUSR1 not in numbers:
                numbers += os.read(made, 100)
            print("count", numbers.count(signal.SIGINT), flush=True)
        """
        if not child:
            command = [sys.executable, "-m", "heartfelt", "run", "--key", "k", "--", *PYTHON, textwrap.dedent(code)]
            os.execv(command[0], command)
        shown = b""
        with os.fdopen(terminal, "r+b", buffering=0) as line:
            while b"ready" not in shown:
                shown += line.read(1000)
            line.write(b"\x03")
            while b"^C" not in shown:
                shown += line.read(1000)
            os.kill(child, signal.SIGUSR1)  # forwarded, and after a SIGINT that would be forwarded
            while b"count " not in shown or not shown.endswith(b"\n"):
                shown += line.read(1000)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert b"count 1\r\n" in shown


def can_be_first():
    if shutil.which("unshare") is None:
        return False
    words = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_be_first(), reason="no namespaces for processes here")
def test_first_process_of_a_container_reaps_orphans_and_forwards(monitor, start_heartfelt):
    """The command leaves an orphan, which ends, and waits until it is no zombie any more."""
    code = """
        import os, signal, sys, time
        made, told = os.pipe()
        if not os.fork():
            orphan = os.fork()
            if orphan:
                os.write(told, str(orphan).encode())
                os._exit(0)
            while os.getppid() != 1:
                time.sleep(0.001)
            os._exit(0)
        os.wait()
        orphan = os.read(made, 20).decode()
        give_up = time.monotonic() + 30
        while os.path.exists("/proc/" + orphan):
            assert time.monotonic() < give_up, "a zombie"
            time.sleep(0.001)
        print(os.getppid(), "reaped", flush=True)
        signal.pause()
    """
    words = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    words += [sys.executable, "-m", "heartfelt", "run", "--key", "k", "--", *PYTHON, textwrap.dedent(code)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "1 reaped\n"
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        first = int(Path(children).read_text())
        os.kill(first, signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert told(monitor) == [("k", "start"), ("k", "143")]


@pytest.mark.parametrize(
    ("foreground", "forwarded"), [(True, [signal.SIGTERM]), (False, [signal.SIGINT, signal.SIGTERM])]
)
def test_what_a_terminal_sends_to_both_is_not_forwarded(monkeypatch, foreground, forwarded):
    child, sent = _child.Child.__new__(_child.Child), []
    child._process, child._ended = object(), False
    monkeypatch.setattr(child, "_send", sent.append, raising=False)
    monkeypatch.setattr(_child, "in_foreground", lambda: foreground)
    for number in (signal.SIGINT, signal.SIGTERM):
        child._on_signal(number, None)
    assert sent == forwarded
