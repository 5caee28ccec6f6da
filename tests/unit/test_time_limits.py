# SPDX-License-Identifier: MIT
"""A test that hangs fails, shows the stacks of all threads, and ends in a run that fails: by planted hangs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.planted import HANG_S, planted_run

LIMITS = ("--timeout=2", "--limit-grace=2")  # of the planted tests
PLUGINS_USED = ("timeout", "rerunfailures", "xdist", "time_limits", "reruns")

on_posix = pytest.mark.skipif(os.name == "nt", reason="pytest-timeout ends the process there: no SIGALRM")

# A C library may do this, and no signal handler of Python can end it.
HOLDS_THE_GIL = """
    import ctypes

    def test_that_holds_the_gil():
        libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)

    def test_after_it():
        pass
"""
WAITS = """
    import threading

    def wait_elsewhere():
        threading.Event().wait()

    def test_that_waits():
        threading.Thread(target=wait_elsewhere, daemon=True).start()
        threading.Event().wait()

    def test_after_it():
        pass
"""
WITH_WORKER = ("-n", "1", "--dist", "worksteal")  # after a crash the schedulers by file run the test again and again


@pytest.fixture
def run_planted(tmp_path):
    """run_planted(source, *arguments): exit status and output of a pytest run of its own."""

    def run(source, *arguments, **environ):
        return planted_run(tmp_path, source, *LIMITS, *arguments, plugins=PLUGINS_USED, **environ)

    return run


@on_posix
@pytest.mark.parametrize("how", [("--reruns", "1"), (*WITH_WORKER, "--reruns", "1")])
def test_a_wait(run_planted, how):
    """The run goes on after it. It is not run again, though failures are."""
    status, output = run_planted(WAITS, *how)
    assert status == 1, output
    assert "Failed: Timeout" in output
    assert "in wait_elsewhere" in output  # the stacks of all threads, not of the one that timed out only
    assert "in test_that_waits" in output or "def test_that_waits" in output
    assert "1 failed, 1 passed" in output
    assert "1 rerun" not in output


@on_posix
def test_c_code_that_holds_the_gil(run_planted):
    status, output = run_planted(HOLDS_THE_GIL, "--reruns", "1")
    assert status == 1, output
    assert "in test_that_holds_the_gil" in output
    assert "Timeout (0:00:04)!" in output


@on_posix
def test_c_code_that_holds_the_gil_in_a_worker(run_planted):
    """Another worker takes the rest of the tests."""
    status, output = run_planted(HOLDS_THE_GIL, *WITH_WORKER)
    assert status == 1, output
    assert "in test_that_holds_the_gil" in output
    assert "crashed while running 'test_planted.py::test_that_holds_the_gil'" in output
    assert "1 failed, 1 passed" in output


def test_a_worker_that_ends_is_a_failure_though_the_rerun_passes(run_planted, tmp_path):
    status, output = run_planted(
        """
        import os
        from pathlib import Path

        def test_that_crashes_once(request):
            mark = Path(os.environ["PLANTED_MARK"])
            if not mark.exists():
                mark.touch()
                # The worker has reported how many reruns there are, without waiting for an answer. The answer to this
                # question comes after that report has been read.
                assert request.config.failures_db.get_test_reruns(request.node.nodeid) == 1
                os._exit(0)
        """,
        *WITH_WORKER, "--reruns", "1", PLANTED_MARK=str(tmp_path / "mark"),
    )  # fmt: skip
    assert status == 1, output
    assert "1 passed, 1 rerun" in output
    assert "A worker ended while it ran test_planted.py::test_that_crashes_once" in output


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_takes_no_watchdog_along_and_leaves_the_parent_its_own(run_planted):
    status, output = run_planted(
        """
        import ctypes, faulthandler, os, sys

        def test_that_forks_and_then_holds_the_gil():
            child = os.fork()
            if child == 0:
                faulthandler.dump_traceback_later(50)
                faulthandler.cancel_dump_traceback_later()
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            print("the child has ended", file=sys.__stderr__)
            libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
            libc.pthread_mutex_lock(mutex)
            libc.pthread_mutex_lock(mutex)
    """,
        "-s",
    )
    assert status == 1, output
    assert "the child has ended" in output
    assert "in test_that_forks_and_then_holds_the_gil" in output


@on_posix
def test_a_teardown_after_a_failure(run_planted):
    """pytest-timeout takes its timer back when a test fails."""
    status, output = run_planted("""
        import threading

        import pytest

        @pytest.fixture
        def hang():
            yield
            threading.Event().wait()

        def test_that_fails(hang):
            raise RuntimeError
    """)
    assert status == 1, output
    assert "in hang" in output


def test_a_thread_that_keeps_the_interpreter_from_its_end(run_planted):
    status, output = run_planted(
        """
        import threading

        def wait_for_ever():
            threading.Event().wait()

        def test_that_leaves_a_thread():
            threading.Thread(target=wait_for_ever).start()
        """
    )
    assert status == 1, output
    assert "in wait_for_ever" in output


@on_posix
def test_the_second_run_of_a_test(run_planted):
    """It has a limit of its own."""
    status, output = run_planted(
        """
        import threading

        runs = []

        def test_that_hangs_at_its_second_run():
            runs.append(1)
            assert len(runs) > 1
            threading.Event().wait()
        """,
        "--reruns", "2",
    )  # fmt: skip
    assert status == 1, output
    assert "Failed: Timeout" in output
    assert "1 failed, 1 rerun" in output


def test_the_threads_of_a_test_in_many(run_planted):
    pytest.importorskip("pytest_run_parallel", reason="pytest-run-parallel is not installed")
    status, output = run_planted(WAITS, "-prun-parallel", "--parallel-threads=2")
    assert status == 1, output
    assert "in test_that_waits" in output


@pytest.mark.parametrize(
    ("mark", "what"),
    [
        ("timeout(100)", "say time_limit(seconds, reason=...) instead"),
        ("time_limit(100)", "time_limit needs a number of seconds above 0 and a reason"),
        ("time_limit(100, reason=' ')", "time_limit needs"),
        ("time_limit('long', reason='it is long')", "time_limit needs"),
    ],
)
def test_another_limit_has_a_reason(run_planted, mark, what):
    status, output = run_planted(f"""
        import pytest

        @pytest.mark.{mark}
        def test_one():
            pass
    """)
    assert status == pytest.ExitCode.USAGE_ERROR, output
    assert f"test_one: {what}" in output


@on_posix
def test_limits_are_multiplied(run_planted):
    status, output = run_planted(
        """
        import threading

        import pytest

        @pytest.mark.time_limit(0.25, reason="so says the test")
        def test_one():
            threading.Event().wait()
        """,
        "--limit-times=4",
    )
    assert status == 1, output
    assert "Timeout (>1.0s)" in output


@pytest.mark.parametrize("how", [(), WITH_WORKER])
def test_reruns_are_listed(run_planted, tmp_path, how):
    path = tmp_path / "reruns"
    status, output = run_planted(
        """
        runs = []

        def test_that_fails_once():
            runs.append(1)
            assert len(runs) > 1, "the first run"
        """,
        "--reruns", "1", *how, PYTEST_RERUN_LIST=str(path),
    )  # fmt: skip
    assert status == 0, output
    (line,) = path.read_text().splitlines()
    assert line.startswith("test_planted.py::test_that_fails_once (call, Python 3.")
    assert "the first run" in line


@pytest.fixture
def limited():
    """limited(seconds, *command): exit status and stderr of a command that tests/limited.sh runs."""
    if shutil.which("cc") is None or os.name == "nt":
        pytest.skip("no C programs are tested here")

    def run(seconds, *command):
        command = [str(Path(__file__).parents[1] / "limited.sh"), str(seconds), *map(str, command)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
        return done.returncode, done.stderr

    return run


def test_a_c_program_that_hangs(limited, tmp_path):
    source, program = tmp_path / "planted.c", tmp_path / "planted"
    source.write_text("""
        #include <unistd.h>
        __attribute__((noinline)) static int hang_here(void) { return pause() + 1; }
        int main(void) { return hang_here(); }
    """)
    subprocess.run(["cc", "-g", "-O1", str(source), "-o", str(program)], check=True, timeout=HANG_S)
    status, told = limited(1, program)
    assert status == 134, told
    assert f"did not end in 1 s, and is aborted: {program}" in told
    assert "hang_here" in told or "gdb is not here" in told


def test_a_c_program_that_ends(limited):
    assert limited(HANG_S, "sh", "-c", "echo told >&2; exit 3") == (3, "told\n")
