# SPDX-License-Identifier: MIT
"""Actions on instances: on one, and on all that match a filter; and that beats are taken while they are on many."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from heartfelt.monitor.model import State
from heartfelt.monitor.web.api import actions
from tests.monitor.fleet.world import World
from tests.monitor.serving import Serving, stream_events, until
from tests.monitor.web.test_listing import turns_during

LIST = "/api/v1/instances"


@pytest.fixture(scope="module")
def monitor(tmp_path_factory):
    """A monitor whose service `dead` is lost after 0.2 s."""
    data = tmp_path_factory.mktemp("actions") / "data"
    serving = Serving("--set", "service.dead.timeout=0.2 s", data=data, hold_enable="false")
    serving.wait_ready()
    yield serving
    serving.end()


@pytest.fixture
def fleet(monitor):
    """The monitor with three LOST instances, d0 to d2, and two UP ones, a0 and a1."""
    assert monitor.post(f"{LIST}/remove", {}, all="true").status == 200
    for name in ("d0", "d1", "d2"):
        monitor.beat("dead", name, expected=True, version="1" if name == "d0" else "2")
    for name in ("a0", "a1", "a0", "a1"):
        monitor.beat("alive", name, version="2")
    until(lambda: len(monitor.json(LIST, state="LOST")["instances"]) == 3, "the losses")
    return monitor


def acted(answer):
    assert answer.status == 200, answer.body
    return answer.json["matched"], answer.json["changed"]


def states(monitor):
    return {one["instance_id"]: one["state"] for one in monitor.json(LIST)["instances"]}


def path_of(monitor, name):
    return f"{LIST}/{monitor.find(name)['id']}"


def last_event(monitor, name):
    def found():
        events = monitor.json("/api/v1/events", name=name)["events"]
        return events and events[0]

    return until(found, name)


# -- on one


def test_a_loss_is_acknowledged_shown_and_withdrawn(fleet):
    path = path_of(fleet, "d0")
    answer = fleet.post(f"{path}/ack", {"by": "Ann", "why": "its disk is full", "for_s": 3600})
    assert answer.status == 200, answer.body
    ack = answer.json["ack"]
    assert (ack["by"], ack["why"]) == ("Ann", "its disk is full")
    assert 3_500_000 < ack["until_ms"] - ack["at_ms"] <= 3_600_000
    assert fleet.find("d0")["ack"] == fleet.json(path)["instance"]["ack"] == ack
    assert (fleet.find("d0")["state"], fleet.find("d0")["expected"]) == ("LOST", True)
    assert (fleet.find("a0")["ack"], fleet.find("a0")["expected"]) == (None, False)
    event = last_event(fleet, "INSTANCE_ACKED")
    assert event["info"]["reason_args"] == {"by": "Ann", "why": "its disk is full", "until_ms": ack["until_ms"]}
    assert fleet.request("DELETE", f"{path}/ack", by="Bob").status == 204
    assert fleet.find("d0")["ack"] is None
    assert last_event(fleet, "INSTANCE_ACK_WITHDRAWN")["info"]["reason_args"] == {"by": "Bob"}
    gone = fleet.request("DELETE", f"{path}/ack")
    assert gone.status == 404 and "acknowledgement of instance" in gone.json["detail"]


def test_viewers_are_told_of_an_acknowledgement_and_of_its_end(fleet):
    connection, stream = fleet.open_stream(topics=["acks"])
    path = path_of(fleet, "d0")
    id_ = fleet.find("d0")["id"]
    stream_events(stream, 1)  # resync
    fleet.post(f"{path}/ack", {"by": "Ann"})
    (told,) = stream_events(stream, 1)
    assert [(one["id"], one["ack"]["by"]) for one in told[2]] == [(id_, "Ann")]
    fleet.beat("dead", "d0", expected=True, version="1")
    (told,) = stream_events(stream, 1)
    assert told[2] == [{"id": id_, "ack": None}]
    connection.close()


@pytest.mark.parametrize("pause", [False, True])
def test_what_is_not_down_cannot_be_acknowledged(fleet, pause):
    name = "d0" if pause else "a0"
    path = path_of(fleet, name)
    if pause:
        fleet.post(f"{path}/pause", {})
    answer = fleet.post(f"{path}/ack", {"by": "Ann"})
    assert (answer.status, answer.json["code"]) == (409, "not_down")
    assert ("PAUSED" if pause else "UP") in answer.json["detail"]
    assert ("resume it first" if pause else "only LOST and FAILED") in answer.json["detail"]
    assert fleet.find(name)["ack"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"for_s": 0}, "for_s"),
        ({"for_s": 1e300}, "for_s"),
        ({"until_ms": 5}, "until_ms"),
        ({"until_ms": 1 << 60}, "until_ms"),
        ({"for_s": 5, "until_ms": 1 << 41}, "until_ms"),
        ({"by": ""}, "by"),
        ({"by": "x" * 101}, "by"),
        ({"why": "x" * 1001}, "why"),
        ({"because": "x"}, "because"),
    ],
)
def test_bad_values_of_an_acknowledgement_are_named(fleet, body, field):
    for path in (f"{path_of(fleet, 'd0')}/ack", f"{LIST}/ack?service=dead"):
        answer = fleet.post(path, body)
        assert (answer.status, answer.json["field"]) == (400, field), answer.json
    assert fleet.find("d0")["ack"] is None


def test_the_record_says_who_did_it_and_why(fleet):
    id_ = fleet.find("a0")["id"]
    path = f"{LIST}/{id_}"
    paused = fleet.post(f"{path}/pause", {"by": "Ann", "why": "moved to another rack"}).json
    assert paused["reason"] == "paused by Ann until resumed: moved to another rack"
    resumed = fleet.post(f"{path}/resume", {"by": "Bob"}).json
    assert resumed["reason"].startswith("resumed by Bob; ")
    assert fleet.request("DELETE", path, by="Ann", reason="gone for good").status == 204

    def removal():  # the store may still be about to write what this instance did before
        changes = fleet.json("/api/v1/changes", service="alive")["changes"]
        return [one for one in changes if one["id"] == id_ and one["new"] == "REMOVED"]

    assert [one["reason"] for one in until(removal, "the change")] == ["removed by hand, by Ann: gone for good"]


# -- on many


@pytest.mark.parametrize("action", ["remove", "pause", "resume", "ack"])
def test_without_a_filter_nothing_is_done(fleet, action):
    for query in ({}, {"text": ""}, {"held": "also"}, {"all": "false"}):
        answer = fleet.post(f"{LIST}/{action}", {}, **query)
        assert (answer.status, answer.json["code"]) == (400, "no_filter"), query
        assert "all=true" in answer.json["detail"]
    assert set(states(fleet).values()) == {"LOST", "UP"}
    assert acted(fleet.post(f"{LIST}/{action}", {}, all="true"))[0] == 5


@pytest.mark.parametrize(
    ("query", "matched"),
    [
        ({"service": "dead"}, {"d0", "d1", "d2"}),
        ({"service": ["dead", "alive"], "version": "2"}, {"d1", "d2", "a0", "a1"}),
        ({"state": "UP"}, {"a0", "a1"}),
        ({"instance": ["d0", "a1", "nobody"]}, {"d0", "a1"}),
        ({"text": "d1"}, {"d1"}),
        ({"held": "true"}, set()),
        ({"id": 1 << 40}, set()),
    ],
)
def test_the_filters_are_those_of_the_list(fleet, query, matched):
    assert {one["instance_id"] for one in fleet.json(LIST, **query)["instances"]} == matched
    assert acted(fleet.post(f"{LIST}/pause", {"by": "Ann"}, **query)) == (len(matched), len(matched))
    assert {name for name, state in states(fleet).items() if state == "PAUSED"} == matched


def test_ids_are_a_filter_too(fleet):
    wanted = [fleet.find(name)["id"] for name in ("d0", "a0")]
    assert acted(fleet.post(f"{LIST}/remove", {}, id=wanted)) == (2, 2)
    assert set(states(fleet)) == {"d1", "d2", "a1"}
    assert acted(fleet.post(f"{LIST}/remove", {}, id=wanted)) == (0, 0)


def test_only_those_change_that_the_action_concerns(fleet):
    assert acted(fleet.post(f"{LIST}/ack", {"by": "Ann", "for_s": 60}, all="true")) == (5, 3)
    assert {name: one and one["by"] for name in states(fleet) for one in [fleet.find(name)["ack"]]} == {
        "d0": "Ann", "d1": "Ann", "d2": "Ann", "a0": None, "a1": None,
    }  # fmt: skip
    assert acted(fleet.post(f"{LIST}/pause", {"for_s": 3600}, service="alive")) == (2, 2)
    assert acted(fleet.post(f"{LIST}/resume", {}, all="true")) == (5, 2)
    assert acted(fleet.post(f"{LIST}/remove", {"by": "Ann"}, state="LOST")) == (3, 3)
    assert set(states(fleet)) == {"a0", "a1"}


def test_unknown_parameters_and_bad_bodies_are_refused(fleet):
    assert fleet.post(f"{LIST}/remove", {}, sort="id", service="dead").status == 400
    assert fleet.post(f"{LIST}/pause", {"for_s": -1}, service="dead").status == 400
    assert fleet.post(f"{LIST}/pause", [], service="dead").status == 400
    assert set(states(fleet).values()) == {"LOST", "UP"}


# -- in slices


class Request:
    """The part of a call that these handlers use, with the filter given."""

    def __init__(self, world, **values):
        self.parts = SimpleNamespace(registry=world.registry, wall_ms=world.wall_ms)
        empty = dict.fromkeys(("service", "instance", "state", "version", "ip", "plugin", "app", "id"), ())
        self._values = {**empty, "held": "false", "text": "", "all": "false", **values}

    def __getitem__(self, name):
        return self._values[name]

    async def body(self, kind):
        return kind()


@pytest.fixture
def large():
    world = World()
    world.join(*[f"web/{n}" for n in range(10_000)])
    yield world
    world.close()


def test_the_loop_goes_on_while_10_000_are_removed(large):
    async def scenario():
        answer = await actions.REMOVE_ALL.alone(Request(large, service=("web",)))
        assert (answer.matched, answer.changed) == (10_000, 10_000)

    assert turns_during(scenario) >= 10_000 // actions.FEW
    assert len(large.registry) == 0


@pytest.mark.parametrize(("query", "left"), [({"state": (State.LOST,)}, 9_998), ({"service": ("web",)}, 9_999)])
def test_what_beats_or_is_removed_meanwhile_no_longer_matches(large, query, left):
    large.advance(60)

    async def scenario():
        removing = asyncio.create_task(actions.REMOVE_ALL.alone(Request(large, **query)))
        for _ in range(3):
            await asyncio.sleep(0)
        large.beat("web/9998")
        large.registry.remove(large.of("web/9999").id)
        answer = await removing
        assert (answer.matched, answer.changed) == (left, left)

    asyncio.run(scenario())
    assert large.state("web/9998") is (State.UP if "state" in query else None)
