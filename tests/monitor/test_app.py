# SPDX-License-Identifier: MIT
"""The monitor as an ASGI application, under a server of another's."""

from __future__ import annotations

import asyncio
import json

import pytest

from heartfelt.monitor import MonitorConfig, create_app


async def call(app, path, headers=()):
    """The answer to a GET, from the application itself."""
    sent = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost"), *headers], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def with_lifespan(app, work):
    to_app, from_app = asyncio.Queue(), asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    started = await from_app.get()
    if started["type"] != "lifespan.startup.complete":
        await task
        return started
    try:
        return await work()
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
        await task


def config(tmp_path, **more):
    return MonitorConfig(data=str(tmp_path / "data"), tcp_port=0, udp_port=0, **more)


def test_its_lifespan_starts_and_stops_the_monitor(tmp_path):
    async def scenario():
        app = create_app(config(tmp_path))

        async def work():
            assert await call(app, "/ping/one") == (200, b"OK")
            status, body = await call(app, "/api/v1/services")
            assert (status, json.loads(body)["all"]["total"]) == (200, 1)
            return sorted(app.monitor.ports())

        assert await with_lifespan(app, work) == ["tcp", "udp"]

    asyncio.run(scenario())
    asyncio.run(scenario())  # the data folder is free again


@pytest.mark.parametrize("more", [{"http_host": "0.0.0.0"}, {"auth_require": "always"}])
def test_a_start_that_fails_says_why(tmp_path, more):
    async def scenario():
        return await with_lifespan(create_app(config(tmp_path, **more)), None)

    failed = asyncio.run(scenario())
    assert failed["type"] == "lifespan.startup.failed"
    assert "heartfelt token create" in failed["message"]


def test_a_fault_of_its_own_is_told_and_not_hidden(tmp_path, monkeypatch):
    async def scenario():
        app = create_app(config(tmp_path))

        async def work():
            def broken():
                raise ZeroDivisionError

            monkeypatch.setattr(app.monitor.registry, "services", broken)
            with pytest.raises(ZeroDivisionError):  # for the server to log
                await call(app, "/api/v1/services")

        await with_lifespan(app, work)

    asyncio.run(scenario())


def test_whatever_is_no_http_is_turned_away(tmp_path):
    async def scenario():
        app = create_app(config(tmp_path))
        sent = []

        async def send(message):
            sent.append(message["type"])

        await app({"type": "websocket", "path": "/", "headers": []}, None, send)
        app.monitor.registry.close()
        return sent

    assert asyncio.run(scenario()) == ["websocket.close"]
