# SPDX-License-Identifier: MIT
"""Answers for the whole fleet: three monitors, each with instances of its own, and any of them answers for all."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import pytest

pytest.importorskip("msgspec")
from starlette.requests import Request

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.cluster.federation import KIND as PART
from heartfelt.monitor.cluster.federation import WHOLE, Federation
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.model import Beat
from heartfelt.monitor.monitor import Monitor
from heartfelt.monitor.web.api.endpoint import MISSING, answer
from heartfelt.monitor.web.api.listing import SORT_NAMES
from heartfelt.monitor.web.api.routes import ENDPOINTS

LIST = "/api/v1/instances"
ONE = LIST + "/{id:number}"


class Gone(HeartfeltError):
    pass


class FleetOfThree:
    """Three monitors in one loop, each of which asks the others by a call."""

    def __init__(self, folder):
        self.monitors, self.federations, self.dead, self.leader = [], [], set(), "1"
        for n in range(3):
            config = MonitorConfig(
                data=str(folder / str(n)), http_port=0, tcp_enable=False, udp_enable=False, webhooks_allow_private=True
            )
            monitor = Monitor(config)
            monitor.registry._book.next_id = 1 + n * 1000  # ids are unique in a fleet
            monitor.api.federation = federation = Federation(Others(self, n), monitor.api, ENDPOINTS)
            self.monitors.append(monitor)
            self.federations.append(federation)

    async def call(self, n, method, path, params=None, body=None, **query):
        endpoint = next(one for one in ENDPOINTS if (one.method, one.path) == (method, path))
        text = b"" if body is None else json.dumps(body).encode()

        async def receive():
            return {"type": "http.request", "body": text, "more_body": False}

        scope = {
            "type": "http", "method": method, "path": path, "query_string": urlencode(query, doseq=True).encode(),
            "headers": [(b"content-type", b"application/json")], "path_params": params or {}, "server": ("a", 1),
        }  # fmt: skip
        response = await answer(endpoint, self.monitors[n].api, Request(scope, receive))
        return response.status_code, json.loads(response.body or b"null"), response.headers


class Others:
    def __init__(self, fleet, n):
        self.fleet, self.n = fleet, n

    def living(self):
        return {str(n): f"host-{n}" for n in range(3) if n != self.n}

    async def ask(self, peer, kind, message, *, within_s):
        if peer in self.fleet.dead:
            raise Gone(f"monitor {peer} does not answer")
        federation = self.fleet.federations[int(peer)]
        serve = {PART: federation.serve, WHOLE: federation.serve_whole}[kind]
        return await serve(str(self.n), message)

    def leader(self):
        leader = self.fleet.leader
        return "" if leader == str(self.n) else leader


@pytest.fixture
def within(tmp_path):
    """within(scenario): runs `await scenario(fleet)` with 30 instances of three services, spread over the monitors."""

    def run(scenario):
        async def main():
            fleet = FleetOfThree(tmp_path)
            for monitor in fleet.monitors:
                await monitor.start()
            try:
                for n in range(30):
                    meta = {"appName": f"app-{n % 4}", "version": str(n % 5), "hostName": f"h{n}"}
                    fleet.monitors[n % 3].registry.beat(
                        Beat(service=f"s{n % 2}", instance_id=f"i{n:02}", via="http", peer="127.0.0.1", meta=meta)
                    )
                await scenario(fleet)
            finally:
                for monitor in fleet.monitors:
                    await monitor.stop()

        asyncio.run(main())

    return run


def test_every_monitor_lists_the_whole_fleet_in_every_order(within):
    async def scenario(fleet):
        for sort in SORT_NAMES:
            pages = []
            for n in range(3):
                found, cursor = [], None
                while True:
                    more = {} if cursor is None else {"cursor": cursor}
                    status, page, _ = await fleet.call(n, "GET", LIST, sort=sort, limit=7, **more)
                    assert (status, page["matched"]) == (200, 30), page
                    found += [one["id"] for one in page["instances"]]
                    cursor = page["cursor"]
                    if cursor is None:
                        break
                pages.append(found)
                _, order, _ = await fleet.call(n, "GET", LIST + "/order", sort=sort)
                assert order["ids"] == found
                assert order["total"] == 30
            assert pages[0] == pages[1] == pages[2]
            assert len(set(pages[0])) == 30

    within(scenario)


def test_counts_are_added_and_an_application_of_many_monitors_counts_once(within):
    async def scenario(fleet):
        for n in range(3):
            _, found, _ = await fleet.call(n, "GET", "/api/v1/services")
            assert found["all"]["total"] == 30
            assert found["all"]["states"]["NEW"] == 30
            assert {name: one["total"] for name, one in found["services"].items()} == {"s0": 15, "s1": 15}
            assert found["applications"] == 4

    within(scenario)


def test_the_compact_list_has_every_instance_with_its_service(within):
    async def scenario(fleet):
        _, found, _ = await fleet.call(1, "GET", "/api/v1/fleet")
        services = {row[0]: found["services"][row[1]] for row in found["rows"]}
        _, page, _ = await fleet.call(0, "GET", LIST, limit=100)
        assert services == {one["id"]: one["service"] for one in page["instances"]}
        assert {found["states"][row[2]] for row in found["rows"]} == {"NEW"}

    within(scenario)


def test_an_instance_is_found_and_changed_wherever_it_is(within):
    async def scenario(fleet):
        (id,) = [one.id for one in fleet.monitors[2].registry.instances() if one.instance_id == "i05"]
        for n in range(3):
            status, found, _ = await fleet.call(n, "GET", ONE, {"id": id})
            assert (status, found["instance"]["instance_id"]) == (200, "i05")
            assert (await fleet.call(n, "GET", ONE + "/runs", {"id": id}))[0] == 200
        status, paused, _ = await fleet.call(0, "POST", ONE + "/pause", {"id": id}, {"by": "Ann", "why": "work"})
        assert (status, paused["state"]) == (200, "PAUSED")
        assert fleet.monitors[2].registry.get(id).state.value == "PAUSED"
        status, problem, _ = await fleet.call(1, "POST", ONE + "/ack", {"id": id}, {"by": "Bob"})
        assert (status, problem["code"]) == (409, "not_down"), problem
        assert (await fleet.call(1, "DELETE", ONE, {"id": id}, by="Ann", reason="gone"))[0] == 204
        for n in range(3):
            status, problem, _ = await fleet.call(n, "GET", ONE, {"id": id})
            assert (status, problem["code"]) == (404, "not_found"), problem

    within(scenario)


def test_an_action_on_all_that_match_reaches_every_monitor(within):
    async def scenario(fleet):
        status, acted, _ = await fleet.call(1, "POST", LIST + "/pause", body={"for_s": 60}, service="s1")
        assert (status, acted) == (200, {"matched": 15, "changed": 15})
        _, page, _ = await fleet.call(2, "GET", LIST, state="PAUSED", limit=100)
        assert page["matched"] == 15
        fleet.dead.add("2")
        status, problem, _ = await fleet.call(1, "POST", LIST + "/resume", body={}, service="s1")
        assert status == 503
        assert "host-2" in problem["detail"]
        assert sum(one.state.value == "PAUSED" for one in fleet.monitors[0].registry.instances()) == 0

    within(scenario)


def test_a_monitor_that_does_not_answer_is_named_and_counted(within):
    async def scenario(fleet):
        fleet.dead.add("1")
        status, page, headers = await fleet.call(0, "GET", LIST)
        assert (status, page["matched"], headers[MISSING]) == (200, 20, "host-1")
        assert fleet.federations[0].stats()["missing"] == 1
        fleet.dead.clear()
        _, page, headers = await fleet.call(0, "GET", LIST)
        assert page["matched"] == 30
        assert MISSING not in headers

    within(scenario)


def test_a_monitor_whose_name_is_no_ascii_is_named_as_well_as_a_header_can(within):
    async def scenario(fleet):
        fleet.federations[0]._gone = lambda: ["h\xf6st-\u4e5d\r\n (m\xf6nitor.example:1)"]
        status, _, headers = await fleet.call(0, "GET", LIST)
        assert (status, headers[MISSING]) == (200, "h?st-??? (m?nitor.example:1)")

    within(scenario)


def test_an_instance_of_a_monitor_that_does_not_answer_is_not_said_to_be_gone(within):
    """A script that hears 404 takes it for removed."""
    one = "/api/v1/instances/{id:number}"

    async def scenario(fleet):
        _, page, _ = await fleet.call(0, "GET", LIST, limit=100)
        ids = [row["id"] for row in page["instances"]]
        fleet.dead.add("1")
        _, page, _ = await fleet.call(0, "GET", LIST, limit=100)
        (id, *_) = set(ids) - {row["id"] for row in page["instances"]}
        for method, path in (("GET", one), ("POST", f"{one}/resume"), ("DELETE", one)):
            status, problem, _ = await fleet.call(0, method, path, {"id": id}, body={} if method == "POST" else None)
            assert (status, problem["code"]) == (503, "monitors_missing") and "host-1" in problem["detail"]
        fleet.dead.clear()
        assert (await fleet.call(0, "GET", one, {"id": id}))[0] == 200
        assert (await fleet.call(0, "GET", one, {"id": 999}))[0] == 404

    within(scenario)


def test_what_a_dead_monitor_owned_is_missing_until_it_is_taken_over(within):
    async def scenario(fleet):
        fleet.federations[0]._gone = lambda: ["host-9"]
        status, _, headers = await fleet.call(0, "GET", LIST)
        assert (status, headers[MISSING]) == (200, "host-9")
        status, problem, _ = await fleet.call(0, "GET", "/api/v1/instances/{id:number}", {"id": 999})
        assert (status, problem["code"]) == (503, "monitors_missing") and "host-9" in problem["detail"]
        status, _, _ = await fleet.call(0, "POST", LIST + "/pause", body={}, service="s1")
        assert status == 503

    within(scenario)


def test_a_bad_cursor_is_refused_as_on_one_machine(within):
    async def scenario(fleet):
        status, problem, _ = await fleet.call(0, "GET", LIST, cursor="nonsense")
        assert (status, problem["field"]) == (400, "cursor")

    within(scenario)


def test_the_hold_of_the_fleet_is_that_of_its_monitors_together(within):
    async def scenario(fleet):
        _, hold, _ = await fleet.call(0, "GET", "/api/v1/hold")
        assert (hold["state"], hold["held"]) == ("NONE", 0)
        status, _, _ = await fleet.call(0, "POST", "/api/v1/hold/release", body={"by": "Ann"})
        assert status == 200

    within(scenario)


def test_webhooks_are_the_business_of_the_monitor_that_leads(within):
    new = {"kind": "generic", "url": "http://10.0.0.1/hook", "name": "on call"}

    async def scenario(fleet):
        status, made, _ = await fleet.call(0, "POST", "/api/v1/webhooks", body=new)
        assert (status, made["name"]) == (201, "on call"), made
        for n in range(3):
            _, found, _ = await fleet.call(n, "GET", "/api/v1/webhooks")
            assert [one["id"] for one in found["webhooks"]] == [made["id"]]
        assert [len(one.webhooks.targets()) for one in fleet.monitors] == [0, 1, 0]
        status, problem, _ = await fleet.call(2, "POST", "/api/v1/webhooks", body={"kind": "none"})
        assert (status, problem["field"]) == (400, "url"), problem
        status, problem, _ = await fleet.call(2, "GET", "/api/v1/webhooks/{id}", {"id": "nope"})
        assert (status, problem["code"]) == (404, "not_found"), problem
        assert (await fleet.call(2, "DELETE", "/api/v1/webhooks/{id}", {"id": made["id"]}))[0] == 204
        for leader, dead in ((None, set()), ("1", {"1"})):
            fleet.leader, fleet.dead = leader, dead
            status, problem, _ = await fleet.call(0, "GET", "/api/v1/webhooks")
            assert (status, problem["code"]) == (503, "no_leader"), problem

    within(scenario)
