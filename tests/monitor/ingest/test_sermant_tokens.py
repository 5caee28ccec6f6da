# SPDX-License-Identifier: MIT
"""Access to Sermant's port: which agents may send, and until when."""

from __future__ import annotations

from tests.monitor.ingest.test_sermant import frame, is_closed, run
from tests.monitor.ingest.world import heartbeat


def test_tokens():
    async def test(world):
        _, good = await world.connect()
        good.write(frame(heartbeat(instance_id="good"), token="right") + frame(heartbeat(instance_id="more")))
        reader, none = await world.connect()
        none.write(frame(heartbeat(instance_id="none")))
        _, wrong = await world.connect()
        wrong.write(frame(heartbeat(instance_id="wrong"), token="wrong"))
        refused = [("sermant", "token_needed"), ("sermant", "token_unknown")]
        await world.until(lambda: [world.refused(*one) for one in refused] == [1, 1] and len(world.registry) == 2)
        assert world.sermant.stats()["connections_held"] == 2  # not closed at once: they would be back at once
        await is_closed(reader)
        await world.until(lambda: world.sermant.stats()["connections"] == 1)
        assert {one.instance_id for one in world.registry.instances()} == {"good", "more"}
        for writer in (good, none, wrong):
            writer.close()

    run(test, auth=lambda token, scope: token == "right", quarantine_s=0.2)


def test_connections_whose_token_is_revoked_end_some_at_a_time(monkeypatch):
    monkeypatch.setattr("heartfelt.monitor.ingest.sermant.ASKED_AT_ONCE", 2)
    valid = {"one", "two"}

    async def test(world):
        open_ = {"one": [], "two": []}
        for n in range(7):
            token = "one" if n % 3 else "two"
            open_[token].append(await world.connect())
            open_[token][-1][1].write(frame(heartbeat(instance_id=str(n)), token=token))
        await world.until(lambda: len(world.registry) == 7)
        valid.discard("one")
        world.sermant.ask_again()
        for reader, _ in open_["one"]:
            await is_closed(reader)
        await world.until(lambda: len(world.sermant.connections) == 3)
        assert world.sermant.stats()["token_revoked"] == 4
        assert world.sermant.stats()["connections_held"] == 0
        for _, writer in open_["one"] + open_["two"]:
            writer.close()

    run(test, auth=lambda token, scope: token in valid)


class OneReader:
    """The token "reader" is valid for the scope read."""

    def held(self, secret):
        return "scope read" if secret == "reader" else None


def test_a_valid_token_without_the_scope_is_named_so(caplog):
    async def test(world):
        world.intake.tokens = OneReader()
        _, writer = await world.connect()
        writer.write(frame(heartbeat(), token="reader"))
        world.send(b"Bearer reader\na", b"Bearer other\na")
        await world.until(lambda: world.refused("sermant", "scope") == world.refused("udp", "scope") == 1)
        await world.until(lambda: world.refused("udp", "token_unknown") == 1)
        writer.close()

    with caplog.at_level("WARNING"):
        run(test, auth=lambda token, scope: False, quarantine_s=0.2)
    named = [record.getMessage() for record in caplog.records if "allows scope read" in record.getMessage()]
    assert len(named) == 2 and all("--scope ingest" in text for text in named)
