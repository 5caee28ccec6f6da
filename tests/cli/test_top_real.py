# SPDX-License-Identifier: MIT
"""`heartfelt top` against a real monitor: an instance appears, is lost, recovers, is found, opened, paused; the monitor
is killed and comes back. And the command itself, in a terminal of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

import pytest

pytest.importorskip("textual")

from heartfelt.cli._top.detail import Detail
from tests.cli.top_screen import run, screen_of
from tests.monitor.serving import command, plain_environ, run_command

PATIENCE_S = 40


def cells(screen, service):
    """The letters of a service's cells."""
    line = next((line for line in screen.lines if line.split()[:1] == [service]), "")
    return "".join(line.split()[2:])


def test_the_life_of_an_instance(serve):
    serving = serve(hold_enable="false")
    serving.beat("shop", "steady", timeoutMs=600_000)

    async def main():
        async with screen_of(serving.url, size=(120, 30)) as screen:
            await screen.until(lambda: cells(screen, "shop") == "N", "the cell")
            serving.beat("shop", "brief", timeoutMs=1500, version="7.7")
            await screen.until(lambda: cells(screen, "shop") == "NN", "who joins")
            await screen.until(lambda: cells(screen, "shop") == "NX", "the loss")
            await screen.shows("1 lost", "newest events that matter", "shop/brief")
            serving.beat("shop", "brief", timeoutMs=600_000, version="7.8")
            await screen.until(lambda: cells(screen, "shop") in ("N.", "NN"), "its recovery")
            await screen.press("2", "/", *"brief", "enter")
            await screen.shows("1/1", "7.8", "timeout 10 m")  # not what it was before
            await screen.press("enter")
            await screen.until(lambda: isinstance(screen.app.screen, Detail), "the detail")
            await screen.shows("shop / brief", "600 s", "changes of state")
            await screen.press("p", "y")
            await screen.until(lambda: serving.find("brief")["state"] == "PAUSED", "the pause at the monitor")
            await screen.shows("paused")
            await screen.press("p")
            await screen.until(lambda: serving.find("brief")["state"] != "PAUSED", "its end")
            await screen.press("x", "y")
            await screen.until(lambda: serving.find("brief") is None, "the removal")
            await screen.press("escape", "escape")
            await screen.until(lambda: len(screen.app.table.items) == 1, "one instance less")

    run(main())


def test_a_monitor_that_is_killed_and_comes_back(serve, tmp_path):
    serving = serve()
    serving.beats(20, "shop", timeoutMs=600_000)

    async def main():
        async with screen_of(serving.url) as screen:
            await screen.until(lambda: cells(screen, "shop") == "N" * 20, "the cells")
            serving.end()
            await screen.shows("CONNECTION LOST", "next try in")
            assert cells(screen, "shop") == "N" * 20
            again = serve(http_port=serving.port)
            await screen.until(lambda: screen.app.state.name == "live", "the link")
            again.beat("cart", "new")
            await screen.until(lambda: cells(screen, "cart") == "N", "what is new")
            assert "CONNECTION LOST" not in screen.text

    run(main())


def test_a_token_that_may_only_read_shows_all_and_changes_nothing(serve, tmp_path, monkeypatch):
    secret = run_command("token", "create", "r", "--scope", "read", "--data", tmp_path / "data").stdout.strip()
    admin = run_command("token", "create", "i", "--scope", "ingest", "--data", tmp_path / "data").stdout.strip()
    serving = serve(auth_require="always")
    serving.beat("shop", "one", token=admin)
    monkeypatch.setenv("TOP_TOKEN", secret)

    async def main():
        async with screen_of(serving.url, token_env="TOP_TOKEN") as screen:
            await screen.until(lambda: cells(screen, "shop") == "N", "the cell")
            await screen.press("p", "y")
            await screen.shows("this token allows scope read and does not have scope")

    run(main())
    done = run_command("top", "--url", serving.url)
    assert done.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_the_command_in_a_terminal(serve):
    import fcntl
    import pty
    import struct
    import termios

    serving = serve()
    serving.beats(3, "shop", timeoutMs=600_000)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    top = subprocess.Popen(
        command("top", "--url", serving.url), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=plain_environ() | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    def read_until(text):
        nonlocal seen
        give_up = time.monotonic() + PATIENCE_S
        while text not in seen:
            assert time.monotonic() < give_up, seen[-2000:]
            if select.select([ours], [], [], 1.0)[0]:
                seen += os.read(ours, 65536)

    try:
        read_until(b"3 instances")
        os.write(ours, b"2")
        read_until(b"shop-2")
        os.write(ours, b"q")
        give_up = time.monotonic() + PATIENCE_S
        while top.poll() is None:  # it would wait for a terminal that nobody reads
            assert time.monotonic() < give_up
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
        assert top.wait(PATIENCE_S) == 0
        assert b"\x1b[?1049l" in seen  # the screen is as it was before
        assert b"Traceback" not in seen
    finally:
        top.kill()
        top.wait()
        os.close(ours)


def test_where_no_monitor_is_it_says_so_before_it_takes_the_screen():
    import pty

    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            command("top", "--url", "http://127.0.0.1:1"), stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
            text=True, timeout=PATIENCE_S, check=False, env=plain_environ(),
        )  # fmt: skip
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 1
    assert "heartfelt serve" in done.stderr
    assert "Traceback" not in done.stderr
