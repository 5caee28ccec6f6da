# SPDX-License-Identifier: MIT
"""After a fork the child is an instance of its own, or silent; the parent goes on as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

KINDS = ("sermant", "http", "udp")
WAIT_S = 60
PRELUDE = """
import os, sys, threading, time
from heartfelt.agent import AgentConfig, HeartbeatService, ServiceManager

URL = sys.argv[1]

def service(**keywords):
    keywords = {"url": URL, "interval": 0.1, "backend": "heartfelt", "entry_points": False} | keywords
    return HeartbeatService(AgentConfig(**keywords))

def until(condition):
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.001)

def fork(child):
    pid = os.fork()
    if pid:
        return pid
    try:
        child()
    except SystemExit:  # of a child's child
        raise
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    sys.exit(0)  # as a program ends: with atexit

def ended_well(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


@pytest.fixture
def run_forking():
    """run_forking(server, code): a program's standard output; it must end well, and say nothing of errors."""

    def run(server, code, *arguments):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PRELUDE + textwrap.dedent(code),
             server.url, *arguments],
            capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def instances(server):
    """instanceId -> processId, in the order of their first beats."""
    return {beat["instanceId"]: int(beat["processId"]) for beat in server.beats}


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_is_an_instance_of_its_own(serve, run_forking, kind):
    server = serve(kind)
    code = """
        one = service(service="a")
        other = service(service="b")
        one.set_ext_info("p", lambda: {"pid": str(os.getpid())})
        one.start()
        other.start()
        until(lambda: one.stats().beats >= 2 and other.stats().beats >= 2)
        before = one.instance_id

        def child():
            assert one.stats().life == "restarting" and one.stats().beats == 0 and one.instance_id is None
            until(lambda: one.stats().beats >= 2 and other.stats().beats >= 2)
            assert one.instance_id != before
            os.write(1, b"child %d %s\\n" % (os.getpid(), one.instance_id.encode()))  # whole, beside the other's

        pids = [fork(child) for _ in range(2)]
        for pid in pids:
            ended_well(pid)
        beats = one.stats().beats
        until(lambda: one.stats().beats > beats + 2)
        assert one.instance_id == before
        print("parent", os.getpid(), one.instance_id, flush=True)
        """
    told = [line.split() for line in run_forking(server, code).splitlines()]
    assert [name for name, _, _ in told] == ["child", "child", "parent"]
    server.wait_for(lambda: len(server.goodbyes) == 6)
    seen = instances(server)
    assert len(seen) == 6
    for _, pid, instance_id in told:
        assert seen[instance_id] == int(pid)
    for beat in server.beats:
        info = beat["pluginInfoMap"].get("p", {}).get("extInfo")
        assert info is None or info == {"pid": beat["processId"]}
    assert sorted(one["instanceId"] for one in server.goodbyes) == sorted(seen)  # each says its own, and once


def test_a_silent_child(serve, run_forking):
    server = serve("http")
    code = """
        one = service(fork="silent")
        one.start()
        until(lambda: one.stats().beats >= 2)
        told, tell = os.pipe()

        def child():
            assert one.stats().life == "silent" and one.instance_id is None
            assert one.beat_now() is False and one.stop() is False
            assert "heartfelt-agent" not in [thread.name for thread in threading.enumerate()]
            os.read(told, 1)  # the parent has beaten on
            assert one.stats().beats == 0
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(one.stats().life != "silent")
            ended_well(grandchild)

        pid = fork(child)
        beats = one.stats().beats
        until(lambda: one.stats().beats >= beats + 5)
        os.write(tell, b"x")
        ended_well(pid)

        def starts_itself():
            one.start()
            until(lambda: one.stats().beats >= 1)

        ended_well(fork(starts_itself))
        """
    run_forking(server, code)
    server.wait_for(lambda: len(server.goodbyes) == 2)
    assert len(instances(server)) == 2  # the parent, and the child that started itself


def test_children_that_end_at_once_were_no_instances(serve, run_forking):
    server = serve("sermant")
    code = """
        one = service()
        one.start()
        until(lambda: one.stats().beats >= 1)
        from heartfelt.agent.service import refresh
        for n in range(20):
            forked = time.monotonic()
            pid = os.fork()
            if pid == 0:
                for due in refresh.the_refresher._due.values():
                    assert due > forked + 0.1  # a program has time to become another
                if n % 2:
                    os._exit(0)
                os.execv(sys.executable, [sys.executable, "-c", ""])
            ended_well(pid)
        beats = one.stats().beats
        until(lambda: one.stats().beats >= beats + 3)
        """
    run_forking(server, code)
    server.wait_for(lambda: server.goodbyes)
    assert len(instances(server)) == len(server.goodbyes) == server.connections == 1


def test_a_childs_child_before_the_childs_start(serve, run_forking):
    server = serve("http")
    code = """
        one = service()
        one.start()
        until(lambda: one.stats().beats >= 1)

        def grandchild():
            until(lambda: one.stats().beats >= 1)

        def child():
            pid = os.fork()
            if pid == 0:
                grandchild()
                sys.exit(0)
            until(lambda: one.stats().beats >= 1)
            ended_well(pid)

        ended_well(fork(child))
        """
    run_forking(server, code)
    assert len(instances(server)) == len(server.goodbyes) == 3


def test_a_stopped_service_stays_stopped(serve, run_forking):
    server = serve("http")
    code = """
        stopped, new, running = service(), service(), service()
        stopped.start()
        running.start()
        until(lambda: stopped.stats().beats and running.stats().beats)
        assert stopped.stop()

        def child():
            assert (stopped.stats().life, new.stats().life) == ("stopped", "new")
            until(lambda: running.stats().beats)
            assert stopped.stats().life == "stopped"
            running.stop()
            pid = os.fork()
            if pid == 0:
                os._exit(running.stats().life != "stopped")
            ended_well(pid)

        ended_well(fork(child))
        """
    run_forking(server, code)
    assert len(instances(server)) == 3


@pytest.mark.parametrize("policy", ["stable", "shop-0"])
def test_ids_that_are_not_new(serve, run_forking, policy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    server = serve("http")
    code = """
        one = service(instance=sys.argv[2])
        one.start()
        until(lambda: one.stats().beats >= 1)

        def child():
            until(lambda: one.stats().beats >= 1)
            print(one.instance_id, os.getpid(), flush=True)

        for _ in range(2):
            ended_well(fork(child))
        print(one.instance_id)
        """
    first, second, parent = (line.split() for line in run_forking(server, code, policy).splitlines())
    if policy == "stable":
        assert first[0] == second[0] != parent[0]  # the second child took up the number of the first
    else:
        assert [first[0], second[0], parent[0]] == [f"shop-0-{first[1]}", f"shop-0-{second[1]}", "shop-0"]


def test_nothing_is_left_to_be_imported_by_a_senders_thread(run_python):
    """A child of a fork in the midst of an import has half a module: a worker of gunicorn's never found its backend."""
    assert run_python("import sys, heartfelt.agent; print('encodings.idna' in sys.modules)") == "True\n"


LOCKS = ("service._lock", "service._providers._lock", "refresh.the_refresher._changed", "ServiceManager._lock")


@pytest.mark.parametrize("lock", [*LOCKS, "service._run._lock"])
def test_a_lock_that_another_thread_holds_at_the_fork_does_not_matter(serve, run_forking, lock):
    code = """
        from heartfelt.agent.service import refresh
        service = ServiceManager.start(AgentConfig(url=URL, interval=0.1, entry_points=False))
        service.set_ext_info("p", dict)
        until(lambda: service.stats().beats)
        held, forked = threading.Event(), threading.Event()

        def hold():
            with eval(sys.argv[2]):
                held.set()
                assert forked.wait(30)

        threading.Thread(target=hold).start()
        assert held.wait(30)

        def child():
            until(lambda: service.stats().beats >= 1)
            assert ServiceManager.stop() is True

        pid = fork(child)
        forked.set()
        ended_well(pid)
        """
    run_forking(serve("http"), code, lock)


def test_multiprocessing(serve, tmp_path):
    """Its children end without atexit, and say goodbye none the less."""
    server = serve("http")
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE
        + textwrap.dedent("""
        import multiprocessing
        one = None

        def child():
            until(lambda: one.stats().beats >= 1)

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            one = service()
            one.start()
            children = [context.Process(target=child) for _ in range(2)]
            for process in children:
                process.start()
            for process in children:
                process.join()
            assert [process.exitcode for process in children] == [0, 0]
        """)
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(program), server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(instances(server)) == len({one["instanceId"] for one in server.goodbyes}) == len(server.goodbyes) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_gunicorn_with_preload(serve, kind, tmp_path):
    pytest.importorskip("gunicorn", reason="gunicorn is not here: pip install --group test")
    server = serve(kind)
    command = [
        sys.executable, "-m", "gunicorn", "tests.agent.forking:application", "--preload", "--workers", "2",
        "--bind", f"unix:{tmp_path / 'socket'}", "--worker-tmp-dir", str(tmp_path), "--no-control-socket",
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as output:
        master = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "TEST_URL": server.url, "PYTHONWARNINGS": "ignore::DeprecationWarning"},
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        server.wait_for(lambda: len(set(instances(server).values())) == 3 or master.poll() is not None)
        assert master.poll() is None, log.read_text()
        seen = instances(server)
        assert master.pid in seen.values() and len(seen) == 3  # the master, two workers; each under an id of its own
        worker = next(pid for pid in seen.values() if pid != master.pid)
        os.kill(worker, signal.SIGKILL)  # a death: no goodbye; gunicorn starts another worker
        server.wait_for(lambda: len(instances(server)) == 4)
        assert server.goodbyes == []
    finally:
        master.terminate()
        assert master.wait(WAIT_S) == 0, log.read_text()
    living = {instance_id for instance_id, pid in instances(server).items() if pid != worker}
    server.wait_for(lambda: len(server.goodbyes) >= 3)
    assert {one["instanceId"] for one in server.goodbyes} == living
    assert "Traceback" not in log.read_text()
