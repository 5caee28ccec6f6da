# SPDX-License-Identifier: MIT
"""pause, resume, ack, remove: what they ask the monitor for, what they print, and their exit status."""

from __future__ import annotations

import getpass
import json

import pytest

from tests.monitor.serving import run_command, until

LIST = "/api/v1/instances"


@pytest.fixture
def fleet(serve):
    """A monitor with the keys dead/1 and dead/2, which are LOST, and alive/1."""
    serving = serve("--set", "service.dead.timeout=0.2 s", hold_enable="false")
    for key in ("dead%2F1", "dead%2F2", "alive%2F1", "alive%2F1"):
        assert serving.get(f"/ping/{key}").status == 200
    until(lambda: len(serving.json(LIST, state="LOST")["instances"]) == 2, "the losses")
    return serving


def run(fleet, *arguments):
    return run_command(*arguments, "--url", fleet.url)


def said(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_four_by_keys_and_by_filters(fleet):
    assert said(run(fleet, "ack", "dead/1", "--by", "Ann", "--why", "its disk is full", "--for", "2h")) == (
        "1 acknowledged"
    )
    ack = fleet.find("dead/1")["ack"]
    assert (ack["by"], ack["why"]) == ("Ann", "its disk is full")
    assert 7_100_000 < ack["until_ms"] - ack["at_ms"] <= 7_200_000
    assert said(run(fleet, "ack", "--all")) == "2 acknowledged, of 3 that match"
    assert fleet.find("dead/2")["ack"]["by"] == getpass.getuser()

    assert said(run(fleet, "pause", "--service", "alive", "--service", "dead", "--for", "1d")) == "3 paused"
    one = fleet.find("alive/1")
    assert one["state"] == "PAUSED"
    assert 86_300_000 < one["paused_until_ms"] - one["since_ms"] <= 86_400_000
    assert one["reason_args"]["by"] == getpass.getuser()
    assert said(run(fleet, "resume", "--state", "paused", "--text", "alive")) == "1 resumed"
    assert said(run(fleet, "resume", "dead/1", "dead/2", "alive/1")) == "2 resumed, of 3 that match"
    assert said(run(fleet, "remove", "--state", "lost", "--ip", "127.0.0.1", "--why", "given up")) == "2 removed"
    assert [one["instance_id"] for one in fleet.json(LIST)["instances"]] == ["alive/1"]


@pytest.mark.parametrize("command", ["pause", "resume", "ack", "remove"])
def test_nothing_that_matches_is_a_failure(fleet, command):
    done = run(fleet, command, "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no instance matches; `heartfelt ls` shows all" in done.stderr


@pytest.mark.parametrize("command", ["pause", "resume", "ack", "remove"])
def test_somebody_must_be_meant(command, nobody):
    done = run_command(command, "--url", nobody)
    assert done.returncode == 2
    assert "--service" in done.stderr and "--all" in done.stderr
    assert run_command(command, "dead/1", "--url", nobody).returncode == 1  # nobody answers
    assert run_command(command, "--state", "dead", "--url", nobody).returncode == 2


def test_keys_that_are_too_many_for_one_request_go_into_several(monitor, monkeypatch, capsys):
    from heartfelt.__main__ import main

    asked = []

    def answer(self, method, path, query=None, body=None):
        asked.append((path, query, body))
        return {"matched": len(query["instance"]), "changed": 1}

    monkeypatch.setattr("heartfelt.cli._client.ApiClient.json", answer)
    keys = [f"web/{n}" for n in range(250)] + ["é" * 200] * 2 + [f"{n}".zfill(500) for n in range(40)]
    assert main(["remove", *keys, "--by", "Ann"]) == 0
    sent = [query["instance"] for _, query, _ in asked]
    assert [key for some in sent for key in some] == list(dict.fromkeys(keys))
    assert all(len(some) <= 100 for some in sent)
    assert all(len(json.dumps(some)) < 20_000 for some in sent)
    assert all(body == {"by": "Ann", "why": ""} for _, _, body in asked)
    assert capsys.readouterr().out == f"{len(sent)} removed, of 291 that match\n"
