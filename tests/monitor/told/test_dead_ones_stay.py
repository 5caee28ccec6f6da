# SPDX-License-Identifier: MIT
"""A dead instance stays on the wall of a real monitor, if it has a name or is the last of its service."""

from __future__ import annotations

import signal
import socket
import sys

import pytest

from tests.monitor.serving import run_command, until

SETTINGS = {"lease_timeout": "0.3 s", "lease_job_timeout": "0.3 s", "lease_cache": "0.6 s", "hold_enable": "false"}
OF_PODS = ("--set", "service.pods.expected=true")
LONG_MS = 30 * 86_400_000
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def time_goes_by(serving):
    """Returns when an instance that was lost after all others has been removed."""
    serving.beat("marker", "alive", timeoutMs=LONG_MS)
    serving.beat("marker", "pod")
    until(lambda: serving.find("pod") is None, "the removal")


def send(serving, text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(text, tuple(serving.ready["udp"]))


@posix_only
def test_what_has_a_name_is_lost_until_it_beats_or_is_removed(serve):
    serving = serve(*OF_PODS, **SETTINGS)
    for service in ("pods", "others"):
        serving.beat(service, f"{service}-alive", timeoutMs=LONG_MS)
    assert serving.get("/ping/nightly").status == 200
    assert serving.post("/ping/etl/ok", b"done").status == 200
    send(serving, b"web/1")
    done = run_command("beat", "by-command", "--url", serving.url)
    assert done.returncode == 0, done.stderr
    serving.beat("pods", "by-service")
    serving.beat("others", "by-beat", expected=True)
    serving.beat("others", "pod")
    dead = {"nightly", "etl", "web/1", "by-command", "by-service", "by-beat"}
    until(lambda: dead <= serving.states().keys(), "the datagram")
    until(lambda: "pod" not in serving.states(), "the removal of what is ephemeral")
    time_goes_by(serving)
    assert {name for name, state in serving.states().items() if state == "LOST"} == dead
    assert serving.json("/api/v1/services")["all"]["states"]["LOST"] == len(dead)
    assert 'heartfelt_instances{service="nightly",state="LOST"} 1' in serving.get("/metrics").body.decode()

    assert serving.stop(signal.SIGTERM) == 0
    serving = serve(*OF_PODS, **SETTINGS)
    time_goes_by(serving)
    assert {name for name, state in serving.states().items() if state == "LOST"} == dead
    removed = run_command("remove", "etl", "by-service", "--url", serving.url)
    assert removed.stdout == "2 removed\n"
    assert serving.get("/ping/nightly?timeout=1d").status == 200
    assert {name for name, state in serving.states().items() if state == "LOST"} == dead - {
        "etl", "by-service", "nightly",
    }  # fmt: skip


@posix_only
def test_the_last_of_a_service_is_lost_until_another_one_comes(serve):
    serving = serve(**SETTINGS)
    for name in ("pod-1", "pod-2"):
        serving.beat("shop", name)
    until(lambda: list(serving.states().values()) == ["LOST"], "the removal of the first")
    (last,) = serving.states()
    until(lambda: serving.find(last)["reason_code"] == "kept_last", "the end of its time")
    time_goes_by(serving)
    kept = serving.find(last)
    assert kept["state"] == "LOST"
    assert kept["reason"].endswith("; kept as the last instance of service shop that has not left")
    assert serving.stop(signal.SIGTERM) == 0
    serving = serve(**SETTINGS)
    time_goes_by(serving)
    assert serving.find(last)["state"] == "LOST"
    serving.beat("shop", "pod-3", timeoutMs=LONG_MS)
    assert {name for name in serving.states() if name.startswith("pod-")} == {"pod-3"}

    def removal():
        return [one for one in serving.json("/api/v1/changes", service="shop")["changes"] if one["instance_id"] == last]

    change = until(lambda: (found := removal())[0]["new"] == "REMOVED" and found[0], "the change")
    assert (change["old"], change["level"], change["reason_code"]) == ("LOST", "NORMAL", "expired_kept")
