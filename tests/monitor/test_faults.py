# SPDX-License-Identifier: MIT
"""Faults around a running monitor: it is killed, its disk is full, its file is locked, a webhook hangs."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from tests.monitor.serving import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, mounts")


def names(serving):
    """Instance ids of all that it knows."""
    found, cursor = set(), None
    while True:
        page = serving.json("/api/v1/instances", limit=1000, cursor=cursor)
        found |= {one["instance_id"] for one in page["instances"]}
        cursor = page["cursor"]
        if cursor is None:
            return found


def is_ready(serving):
    return serving.get("/readyz").status == 200


def test_kill_9_under_load_forgets_nobody_who_was_acknowledged_a_second_before(serve):
    serving = serve(lease_timeout="5 min")
    acknowledged, stop = [], threading.Event()

    def join_more():
        n = 0
        while not stop.is_set():
            body = [{"service": "shop", "instanceId": f"i-{k}"} for k in range(n, n + 20)]
            try:
                answer = serving.post("/api/v1/beats", body)
            except (OSError, http.client.HTTPException):  # it has been killed
                return
            if answer.status in (200, 202):
                acknowledged.append((time.monotonic(), [one["instanceId"] for one in body]))
            n += 20

    loading = threading.Thread(target=join_more)
    loading.start()
    until(lambda: acknowledged and time.monotonic() - acknowledged[0][0] > 2.5, "some seconds of load")
    killed = time.monotonic()
    serving.stop(signal.SIGKILL)
    stop.set()
    loading.join()
    must = {name for when, several in acknowledged if when < killed - 1 for name in several}
    again = serve(lease_timeout="5 min")
    assert len(must) > 100
    assert must <= names(again)
    assert again.json("/api/v1/services")["all"]["states"].get("LOST", 0) == 0


def test_who_was_lost_while_it_was_down_is_found_and_nobody_else(serve):
    settings = {"lease_timeout": "4 s", "hold_enable": "false"}
    serving = serve(**settings)
    serving.beats(60, "alive")
    serving.beats(40, "dead")
    until(lambda: serving.json("/api/v1/stats")["parts"]["store"]["waiting"] == 0)
    serving.stop(signal.SIGKILL)
    again = serve(**settings)
    lost = {}

    def dead_are_lost():
        again.beats(60, "alive")
        lost.update({one["instance_id"]: one for one in again.json("/api/v1/changes", limit=1000)["changes"]
                     if one["new"] == "LOST"})  # fmt: skip
        return len(lost) >= 40

    until(dead_are_lost, "the loss of those that did not come back")
    assert {name.split("-")[0] for name in lost} == {"dead"}


def test_a_locked_file_stops_no_beat_and_all_is_written_afterwards(serve, tmp_path):
    serving = serve()
    serving.beat("shop", "before")
    until(lambda: is_ready(serving))
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "heartfelt.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        serving.beats(20)
        until(lambda: not is_ready(serving), "red health")
        assert serving.json("/api/v1/services")["all"]["total"] == 21
        serving.beats(20)
        other.execute("ROLLBACK")
    until(lambda: is_ready(serving), "green health")
    assert serving.stop() == 0
    assert len(names(serve())) == 21


def test_a_full_disk_stops_no_beat_and_all_is_written_when_there_is_room(serve, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be had here")
    try:
        serving = serve(data=folder / "data")
        serving.beat("shop", "before")
        until(lambda: is_ready(serving))
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        n = 0

        def is_red():
            nonlocal n
            serving.beats(50, f"s{n}", hostName="h" * 500)
            n += 1
            return not is_ready(serving)

        until(is_red, "red health")
        serving.beats(1, "while-full")
        known = serving.json("/api/v1/services")["all"]["total"]
        assert known == 1 + 50 * n + 1
        filler.unlink()
        until(lambda: is_ready(serving), "green health")
        assert serving.stop() == 0
        again = serve(data=folder / "data")
        assert len(names(again)) == known
        again.end()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Taking(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.taken.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def taking():
    """A server that takes what webhooks send: `taken`, the bodies."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        server.taken = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def add_webhook(serving, name, port):
    answer = serving.post("/api/v1/webhooks", {
        "name": name, "kind": "generic", "url": f"http://127.0.0.1:{port}/", "allow_private": True,
    })  # fmt: skip
    assert answer.status == 201, answer.body


def test_a_webhook_that_hangs_delays_no_other(serve, taking):
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # connects, and nobody ever answers
        serving = serve(lease_timeout="0.3 s", hold_enable="false")
        add_webhook(serving, "hangs", hanging.getsockname()[1])
        add_webhook(serving, "takes", taking.server_port)
        serving.beats(3)
        until(lambda: sum(body.count(b'"new": "LOST"') for body in taking.taken) >= 3, "all three losses")
        serving.beat("shop", "later")
        until(lambda: any(b"later" in body for body in taking.taken), "one more loss")


def test_that_losses_are_held_is_told_by_webhook(serve, taking):
    serving = serve(lease_timeout="0.3 s", hold_enable="true")
    add_webhook(serving, "takes", taking.server_port)
    serving.beats(20)
    until(lambda: any(b"HOLD_BEGAN" in body for body in taking.taken), "that they are held")
    assert not any(b'"new": "LOST"' in body for body in taking.taken)
