# SPDX-License-Identifier: MIT
"""Webhooks that change while messages wait: kind, address, switch; one deleted, and made again under the same id."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from tests.monitor.serving import until
from tests.monitor.told.test_refused_messages import SOON, lose, webhook
from tests.monitor.webhooks.receivers import DingTalk, Feishu, Generic, Receiver, Slack

FAILS = (503, b"not now")


def test_what_waits_goes_to_the_new_address_in_the_new_form(serve):
    serving = serve(**SOON)
    with Receiver(Generic(), lambda body: FAILS) as old, Receiver(DingTalk(secret="SEC1")) as new:
        id_ = webhook(serving, old, "generic", name="ops")
        lose(serving, "one")
        until(lambda: len(old.times) >= 2, "two attempts")
        fields = {"kind": "dingtalk", "url": new.url, "secret": "SEC1"}
        assert serving.request("PUT", f"/api/v1/webhooks/{id_}", fields).status == 200
        until(lambda: new.product.taken, "the message at the new address")
        assert new.product.refused == [] and "LOST" in new.product.texts()[0]


def test_one_made_again_under_the_same_id_gets_nothing_of_the_old_one(serve):
    serving = serve(**SOON)
    path = "/sermant/event/webhooks/0"
    with Receiver(Feishu(), lambda body: FAILS) as old, Receiver(Feishu()) as new:
        put = {"url": old.url, "enable": True}
        assert serving.request("PUT", path, put).status == 200
        lose(serving, "one")
        until(lambda: len(old.times) >= 2, "two attempts")
        id_ = "sermant-feishu"
        assert serving.request("DELETE", f"/api/v1/webhooks/{id_}").status == 204
        assert serving.request("PUT", path, put | {"url": new.url}).status == 200
        lose(serving, "two")
        until(lambda: any("two" in text for text in new.product.texts()), "the message of the new one")
        assert not any("/ one" in text for text in new.product.texts())
        deliveries = serving.json("/api/v1/deliveries", webhook=id_)["deliveries"]
        assert "the webhook was deleted" in {one["answer"] for one in deliveries if one["state"] == "failed"}


def test_what_waits_is_dropped_when_a_webhook_is_switched_off(serve):
    serving = serve(**SOON)
    with Receiver(Generic(), lambda body: FAILS) as receiver:
        id_ = webhook(serving, receiver, "generic")
        lose(serving, "one")
        until(lambda: len(receiver.times) >= 2, "two attempts")
        assert serving.request("PUT", f"/api/v1/webhooks/{id_}", {"enabled": False}).status == 200
        (one,) = serving.json("/api/v1/deliveries")["deliveries"]
        assert (one["state"], one["answer"]) == ("failed", "switched off")
        receiver.override = lambda body: None
        assert serving.request("PUT", f"/api/v1/webhooks/{id_}", {"enabled": True}).status == 200
        lose(serving, "two", service="next")
        until(lambda: receiver.product.taken, "the next message")
        assert receiver.product.taken[0]["instance_id"] == "two"


@pytest.mark.parametrize("product", [DingTalk, Feishu, Slack, Generic])
def test_http_is_allowed_to_a_receiver_of_ones_own_and_the_refusal_names_the_remedy(serve, tmp_path, product):
    kind = product.__name__.lower()
    with Receiver(product()) as receiver:
        strict = serve()
        fields = {"kind": kind, "url": "http://receiver.example/hook"}
        if kind != "generic":
            refused = strict.post("/api/v1/webhooks", fields)
            assert refused.status == 400 and refused.json["field"] == "url"
            assert "allow_private" in refused.json["detail"] and "webhooks.allow_private" in refused.json["detail"]
        id_ = webhook(strict, receiver, kind, allow_private=True)
        assert strict.post(f"/api/v1/webhooks/{id_}/test").json["ok"]
        lax = serve(data=tmp_path / "lax", webhooks_allow_private="true")
        id_ = webhook(lax, receiver, kind)
        assert lax.post(f"/api/v1/webhooks/{id_}/test").json["ok"]
