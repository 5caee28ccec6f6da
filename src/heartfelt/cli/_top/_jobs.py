# SPDX-License-Identifier: MIT
"""Single requests to the monitor, run by a thread of link.py."""

from __future__ import annotations

import time
from typing import Any

from heartfelt.cli import Failed
from heartfelt.cli._client import ApiClient
from heartfelt.cli._top.link import PAGE, Job, offset_of, stored

GONE = 404
RUNS = 20


def newer(least_id: int) -> Job:
    """Reads all instances with this id or a greater one; ids only grow."""

    def run(client: ApiClient) -> list[dict[str, Any]]:
        return [view for view in _pages(client, {"sort": "-id"}, least_id) if view["id"] >= least_id]

    return run


def some(ids: list[int]) -> Job:
    """Reads these instances; returns their ids, and those instances that still exist."""

    def run(client: ApiClient) -> tuple[list[int], list[dict[str, Any]]]:
        views: list[dict[str, Any]] = []
        for id_ in ids:
            try:
                views.append(client.json("GET", f"/api/v1/instances/{id_}")["instance"])
            except Failed as error:
                if error.status != GONE:
                    raise
        return ids, views

    return run


def held(client: ApiClient) -> set[int]:
    return {view["id"] for view in _pages(client, {"sort": "-id", "held": "true"}, 0)}


def _pages(client: ApiClient, query: dict[str, Any], least_id: int) -> list[dict[str, Any]]:
    views: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.json("GET", "/api/v1/instances", {**query, "limit": PAGE, "cursor": cursor})
        views += page["instances"]
        cursor = page["cursor"]
        if cursor is None or views[-1]["id"] < least_id:
            return views


def stats(client: ApiClient) -> tuple[dict[str, Any], float]:
    """Reads the counters, and the offset of the clocks."""
    before = time.time()
    answer = client.json("GET", "/api/v1/stats")
    return answer, offset_of(answer, before, time.time())


def detail(id_: int, service: str, instance_id: str) -> Job:
    """Reads an instance with its changes, its newest runs and its events; None for what the store cannot answer now."""

    def run(client: ApiClient) -> dict[str, Any]:
        found: dict[str, Any] = client.json("GET", f"/api/v1/instances/{id_}")
        found["runs"] = stored(client, f"/api/v1/instances/{id_}/runs", {"limit": RUNS}, "runs")
        query = {"service": service, "instance": instance_id, "limit": 50}
        found["events"] = stored(client, "/api/v1/events", query, "events")
        return found

    return run


def pause(id_: int) -> Job:
    return lambda client: client.json("POST", f"/api/v1/instances/{id_}/pause", body={})


def resume(id_: int) -> Job:
    return lambda client: client.json("POST", f"/api/v1/instances/{id_}/resume", body={})


def ack(id_: int) -> Job:
    body = {"by": "heartfelt top"}
    return lambda client: client.json("POST", f"/api/v1/instances/{id_}/ack", body=body)


def remove(id_: int) -> Job:
    return lambda client: client.json("DELETE", f"/api/v1/instances/{id_}", {"reason": "removed in heartfelt top"})


def release(client: ApiClient) -> Any:
    return client.json("POST", "/api/v1/hold/release", body={"by": "heartfelt top"})
