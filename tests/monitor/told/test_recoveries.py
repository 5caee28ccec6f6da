# SPDX-License-Identifier: MIT
"""One default for all webhooks, and no recovery of what a target was not told to be lost."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from tests.monitor.serving import until
from tests.monitor.told.test_refused_messages import PRIVATE, lose, webhook
from tests.monitor.webhooks.receivers import Generic, Receiver


def states(product):
    return [message.get("new") for message in product.taken]


def test_stuck_is_told_by_default_and_so_is_its_end(serve):
    serving = serve(**PRIVATE)
    product = Generic()
    with Receiver(product) as receiver:
        webhook(serving, receiver, "generic")
        beat = {"timeoutMs": 3_600_000, "intervalMs": 1000}
        serving.beat(**beat)
        serving.beat(lagMs=7_200_000, **beat)
        until(lambda: states(product) == ["STUCK"], "the message")
        serving.beat(lagMs=0, **beat)
        until(lambda: states(product) == ["STUCK", "UP"], "the recovery")


def test_the_same_defaults_for_each_way_to_make_a_webhook(serve, tmp_path):
    serving = serve(**PRIVATE, webhooks_level="normal")
    with Receiver(Generic()) as receiver:
        defaults = serving.json("/api/v1/webhooks")["defaults"]
        assert defaults["filter"] == {
            "states": ["LOST", "FAILED", "STUCK", "UP"], "services": [],
            "levels": ["EMERGENCY", "IMPORTANT", "NORMAL"], "event_types": ["STATE"],
        }  # fmt: skip
        for fields in ({}, {"filter": {}}, {"filter": {"services": []}}, defaults):
            id_ = webhook(serving, receiver, "generic", **fields)
            made = serving.json(f"/api/v1/webhooks/{id_}")
            assert {name: made[name] for name in defaults} == defaults
        changed = serving.request("PUT", f"/api/v1/webhooks/{id_}", {"filter": {"states": ["LOST"]}}).json
        assert changed["filter"]["levels"] == defaults["filter"]["levels"]
    assert serve(data=tmp_path / "other").json("/api/v1/webhooks")["defaults"]["filter"]["levels"] == []


def test_a_recovery_is_told_to_those_who_were_told_of_the_loss_also_after_a_restart(serve, tmp_path):
    serving = serve(data=tmp_path / "data", **PRIVATE)
    told, late = Generic(), Generic()
    with Receiver(told) as first, Receiver(late) as second:
        webhook(serving, first, "generic")
        lose(serving, "one")
        until(lambda: states(told) == ["LOST"], "the loss")
        webhook(serving, second, "generic")
        assert serving.stop() == 0
        serving = serve(data=tmp_path / "data", **PRIVATE)
        serving.beat("shop", "one", timeoutMs=3_600_000)
        until(lambda: states(told) == ["LOST", "UP"], "the recovery")
        lose(serving, "two")
        until(lambda: states(late) == ["LOST"], "the loss of another")
        assert late.taken[0]["instance_id"] == "two"
