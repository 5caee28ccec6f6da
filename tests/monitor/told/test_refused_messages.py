# SPDX-License-Identifier: MIT
"""A robot that refuses some messages: the others reach it at once, and people are told of the refusal."""

from __future__ import annotations

import contextlib

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from tests.monitor.serving import until
from tests.monitor.told import impatient
from tests.monitor.webhooks.receivers import PRODUCTS, DingTalk, Receiver

PRIVATE = {"webhooks_allow_private": "true", "hold_enable": "false"}
SOON = PRIVATE | {"program": impatient.PROGRAM}
"""For tests in which a message is sent again."""


def webhook(serving, receiver, kind, **fields):
    answer = serving.post("/api/v1/webhooks", {"kind": kind, "url": receiver.url, **fields})
    assert answer.status == 201, answer.body
    return answer.json["id"]


def lose(serving, *names, service="shop"):
    """Two beats of each with a short timeout, then nothing until all are lost. "*" in the service: the name."""
    for name in names * 2:
        serving.beat(service.replace("*", name), name, timeoutMs=300)
    until(lambda: all(serving.find(name)["state"] == "LOST" for name in names), "the loss")


def deliveries(serving):
    return serving.json("/api/v1/deliveries")["deliveries"]


def titles(product):
    return [message["markdown"]["title"] for message in product.taken]


@pytest.mark.time_limit(100, reason="a refused message is given up after half a minute, by the clock of the process")
def test_a_refused_recovery_holds_up_no_loss_and_is_shown_until_it_is_given_up(serve):
    serving = serve(**SOON)
    robot = DingTalk(keyword="EMERGENCY")
    with Receiver(robot) as receiver:
        id_ = webhook(serving, receiver, "dingtalk", name="ops")
        lose(serving, "one")
        until(lambda: titles(robot) == ["[EMERGENCY] shop / one: LOST"], "the first loss")
        serving.beat("shop", "one", timeoutMs=3_600_000)
        until(lambda: robot.refused, "the refused recovery")
        until(lambda: "refused a message" in serving.log, "the warning")
        assert "keywords not in content" in serving.log and "path-key" not in serving.log
        shown = until(lambda: (one := serving.json(f"/api/v1/webhooks/{id_}"))["last_refusal"] and one)
        assert shown["refusing"] and shown["breaker"] == "closed" and "keyword" in shown["last_refusal"]["remedy"]
        assert serving.json("/readyz")["ready"]
        assert serving.json("/readyz")["webhooks"].startswith("1 refused the last message")
        assert "heartfelt_webhooks_refusing 1.0" in serving.get("/metrics").body.decode()

        lose(serving, "two")
        until(lambda: titles(robot)[1:] == ["[EMERGENCY] shop / two: LOST"], "the loss of another")
        assert serving.json(f"/api/v1/webhooks/{id_}")["given_up"] == 0

        until(lambda: serving.json(f"/api/v1/webhooks/{id_}")["given_up"], "the end of the attempts")
        events = until(lambda: serving.json("/api/v1/events", name="WEBHOOK_REFUSED")["events"], "the event")
        assert events[0]["service"] == "heartfelt-monitor"
        assert "keywords not in content" in events[0]["info"]["description"]
        shown = serving.json(f"/api/v1/webhooks/{id_}")
        assert (shown["given_up"], shown["refused"]) == (1, 1) and shown["last_refusal"]["given_up"]
        failed = until(lambda: [one for one in deliveries(serving) if one["state"] == "failed"], "the record of it")
        assert [(one["attempts"], one["payload"]["entry"]["recovery"]) for one in failed] == [(3, True)]


@pytest.mark.parametrize("kind", ["dingtalk", "feishu", "slack", "generic"])
def test_a_message_that_fails_again_and_again_delays_no_other(serve, kind):
    serving = serve(**SOON)
    product = PRODUCTS[kind]()
    with Receiver(product, lambda body: (500, b"boom") if b"bad" in body else None) as receiver:
        webhook(serving, receiver, kind)
        lose(serving, "bad", service="first")
        until(lambda: len(receiver.times) >= 3, "three attempts")
        lose(serving, "one", "two", "three", service="of *")
        until(lambda: len(product.taken) == 3, "the others")
        assert product.refused == []


def test_what_only_resembles_a_product_is_called_once(serve):
    serving = serve(**PRIVATE)
    answers = {"slack": b'{"success":true}', "dingtalk": b"", "feishu": b"ok", "generic": b"<html>"}
    with contextlib.ExitStack() as stack:
        receivers = []
        for kind, text in answers.items():
            receivers.append(stack.enter_context(Receiver(PRODUCTS[kind](), lambda body, text=text: (200, text))))
            webhook(serving, receivers[-1], kind, name=kind)
        lose(serving, "one")
        until(lambda: all(hook["delivered"] for hook in serving.json("/api/v1/webhooks")["webhooks"]), "all deliveries")
        lose(serving, "two", service="next")
        until(lambda: all(hook["delivered"] == 2 for hook in serving.json("/api/v1/webhooks")["webhooks"]))
        assert [len(receiver.times) for receiver in receivers] == [2, 2, 2, 2]
