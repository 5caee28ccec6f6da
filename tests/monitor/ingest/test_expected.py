# SPDX-License-Identifier: MIT
"""Keys that beat by their names are expected, agents are not, and a beat's own word comes first."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest.intake import Intake
from heartfelt.monitor.ingest.ping import Pings
from heartfelt.monitor.model import ExpectedBy, Limits
from heartfelt.testing import ManualClock
from tests.monitor.ingest.world import heartbeat

PEER = "10.0.0.1"


@pytest.fixture
def intake():
    registry = Registry(clock=ManualClock())
    yield Intake(registry, Limits())
    registry.close()


def ping(intake, path, query=b"", body=b""):
    Pings(intake).take(path.encode(), path, query, body, PEER)


@pytest.mark.parametrize(
    ("path", "query", "body"),
    [
        ("/ping/jobs%2Fnightly", b"", b""),
        ("/ping/jobs%2Fnightly", b"timeout=1d", b""),
        ("/ping/jobs%2Fnightly/ok", b"", b"done"),
        ("/ping/jobs%2Fnightly/fail", b"", b"disk full"),
        ("/ping/jobs%2Fnightly/3", b"rid=7", b""),
    ],
)
def test_each_ping_makes_its_key_expected(intake, path, query, body):
    ping(intake, path, query, body)
    assert intake.registry.find("jobs", "jobs/nightly").expected


def test_so_does_a_line_of_a_datagram(intake):
    intake.take_names(b"web/1\nweb/2", "udp", PEER)
    assert [one.expected for one in intake.registry.instances()] == [True, True]


@pytest.mark.parametrize("via", ["udp", "http", "sermant"])
def test_an_agents_json_does_not_unless_it_says_so(intake, via):
    for name, more in (("a", {}), ("b", {"expected": True}), ("c", {"expected": False})):
        intake.take(heartbeat(instance_id=name, **more), via, PEER)
        instance = intake.take(heartbeat(instance_id=name, number=2, **more), via, PEER)  # recognised
        assert instance.expected is (name == "b")
        assert "expected" not in instance.meta


def test_a_key_that_a_beat_made_ephemeral_stays_so(intake):
    intake.take(heartbeat("web", "web/1", expected=False), "http", PEER)
    for _ in range(3):
        intake.take_names(b"web/1", "udp", PEER)
    instance = intake.registry.find("web", "web/1")
    assert (instance.expected, instance.expected_by) == (False, ExpectedBy.BEAT)
    intake.take(heartbeat("web", "web/1", expected=True), "http", PEER)
    assert instance.expected


def test_an_instance_that_was_kept_too_long_joins_as_what_it_was(intake):
    instance = intake.take_name(b"web/1", "udp", PEER)
    intake.registry.remove(instance.id)
    intake.registry.renew(instance)
    joined = intake.registry.find("web", "web/1")
    assert joined is not instance
    assert (joined.expected, joined.expected_by) == (True, ExpectedBy.KEY)
