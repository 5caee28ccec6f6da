# SPDX-License-Identifier: MIT
"""Requests that meet: one finds that another was faster, and says so."""

from __future__ import annotations

import asyncio
import json

import pytest

from heartfelt.monitor import MonitorConfig, create_app
from heartfelt.monitor.model import AgentEvent, Level


async def call(app, method, path, body=b"", *, before_body=None, headers=(), query=b""):
    sent = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query, "root_path": "",
        "headers": [(b"host", b"localhost"), *headers], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def receive():
        if before_body is not None:
            before_body()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(text) if text else None, dict(sent[0]["headers"])


@pytest.fixture
def run(tmp_path):
    """run(work): work(app) with a monitor that runs."""

    def start(work):
        async def main():
            app = create_app(MonitorConfig(data=str(tmp_path / "data"), tcp_port=0, udp_port=0))
            await app.monitor.start()
            try:
                await work(app)
            finally:
                await app.monitor.stop()

        asyncio.run(main())

    return start


def test_an_instance_that_is_removed_before_the_pauses_body_has_come_is_not_paused(run):
    async def work(app):
        instance = app.monitor.intake.take_key("one", "ping", "127.0.0.1")
        path = f"/api/v1/instances/{instance.id}/pause"
        removed = lambda: app.monitor.registry.remove(instance.id, "by another")  # noqa: E731
        status, body, _ = await call(app, "POST", path, b"{}", before_body=removed)
        assert (status, body["code"]) == (404, "not_found")

    run(work)


def test_a_webhook_is_deleted_once(run):
    async def work(app):
        body = json.dumps({"kind": "generic", "url": "https://example.org/x"}).encode()
        status, made, _ = await call(app, "POST", "/api/v1/webhooks", body)
        assert status == 201
        path = f"/api/v1/webhooks/{made['id']}"
        answers = await asyncio.gather(*(call(app, "DELETE", path) for _ in range(3)))
        assert sorted(status for status, _, _ in answers) == [204, 404, 404]
        assert (await call(app, "GET", path))[0] == 404

    run(work)


def test_a_webhook_that_is_deleted_before_its_change_has_come_is_not_there(run):
    async def work(app):
        body = json.dumps({"kind": "generic", "url": "https://example.org/x"}).encode()
        _, made, _ = await call(app, "POST", "/api/v1/webhooks", body)
        gone = lambda: app.monitor.webhooks._targets.pop(made["id"], None)  # noqa: E731
        status, body, _ = await call(app, "PUT", f"/api/v1/webhooks/{made['id']}", b"{}", before_body=gone)
        assert (status, body["code"]) == (404, "not_found")

    run(work)


def test_pages_that_are_asked_for_at_once_are_the_ones_that_come_one_by_one(run):
    async def work(app):
        for n in range(60):
            app.monitor.store.put_event(
                AgentEvent(
                    time_ms=n, received_ms=n, service="s", instance_id="i", ip="", scope="x", level=Level.NORMAL,
                    type="LOG", info={"n": n},
                )
            )  # fmt: skip
        await app.monitor.store.flush()

        async def begin():
            _, _, headers = await call(app, "GET", "/sermant/event/events")
            return (b"cookie", headers[b"set-cookie"].split(b";")[0])

        async def page(cookie, n):
            answer = await call(app, "GET", "/sermant/event/events/page", headers=[cookie], query=b"page=%d" % n)
            return [event["info"]["n"] for event in answer[1]["events"]]

        cookie = await begin()
        alone = [await page(cookie, n) for n in range(1, 7)]
        assert [len(some) for some in alone] == [10] * 6
        for _ in range(5):
            cookie = await begin()
            await asyncio.gather(*(page(cookie, n) for n in (4, 5, 6, 4, 5, 6)))
            assert [await page(cookie, n) for n in range(1, 7)] == alone

    run(work)
