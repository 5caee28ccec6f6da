# SPDX-License-Identifier: MIT
"""Messages with hostile names, to receivers that check all that each product documents. And the receivers themselves:
they refuse what the product would."""

from __future__ import annotations

import json
import random
from urllib.parse import urlsplit

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

import msgspec

from heartfelt.monitor.model import Level
from heartfelt.monitor.webhooks.notices import Notice, event_entry, of_change, of_entry
from heartfelt.monitor.webhooks.payloads import make_request
from heartfelt.monitor.webhooks.targets import Kind, is_recovery, make_target
from heartfelt.monitor.webhooks.verdicts import judge
from tests.monitor.webhooks.parts import START_MS, make_change, make_event
from tests.monitor.webhooks.receivers import PRODUCTS, Generic

KINDS = list(PRODUCTS)
HOSTILE = [
    "[click](http://evil.example)", "![x](http://evil.example/x.png)", "<script>alert(1)</script>", "<b>bold</b>",
    "<!channel>", "<!here|here>", "<@U123>", "<http://evil.example|the bank>", "*bold*", "_it_", "~gone~", "`code`",
    "```block```", "# head", "\n# head", "\r\n- item", "> quote", "| a | b |", "\\", '"', '\\"', "'", "&amp;", "&lt;",
    "@all", "<at user_id=\"all\">all</at>", "\u202eevil", "\u2066x\u2069", "\u200f", "\x00", "\x07\x1b[31m", "\x7f",
    "\u2028",
    "\ud800", "\udfff", "👩‍👩‍👧‍👦", "😀" * 50, "服务", "ﷺ" * 20, "e\u0301" * 40, "${secret}", "$title", "{0}",
    "%s", "x" * 500,
]  # fmt: skip


def target(kind, **fields):
    url = "https://example.com/robot/send?access_token=tok"
    return make_target({"kind": kind, "url": url, **fields}, now_ms=0, id="t1")


def product(kind, **more):
    return PRODUCTS[kind](now_ms=lambda: START_MS + 1000, **more)


def hostile_text(draw, most=4):
    return "".join(draw.choice(HOSTILE) for _ in range(draw.randint(1, most)))


def hostile_notices(draw):
    """A message of each kind, of names and reasons that anybody may have chosen."""
    service, instance = hostile_text(draw, 60), hostile_text(draw, 60)
    reason = draw.choice([hostile_text(draw), hostile_text(draw, 300), '"' * 100_000, "😀" * 25_000, "<" * 100_000])
    names = {"service": service, "instance": instance, "reason": reason}
    for old, new, more in (("UP", "LOST", {}), ("UP", "FAILED", {}), ("FAILED", "LOST", {}), ("LOST", "LOST", {}),
                           ("FAILED", "UP", {"outage_ms": 5000}), ("STUCK", "UP", {})):  # fmt: skip
        change = make_change(7, old=old, new=new, ip=hostile_text(draw), **names, **more)
        yield of_entry(of_change(change, is_recovery(change)))
    entry = of_change(make_change(8, **names), False)
    yield of_entry(msgspec.structs.replace(entry, count=9, span_ms=60_000))
    info = {"name": hostile_text(draw), "text": reason, "description": hostile_text(draw)}
    yield of_entry(event_entry(make_event(service=service, instance_id=instance, info=info)))
    yield Notice(kind="mass", key="m", time_ms=START_MS, level=Level.EMERGENCY, service=service, count=500,
                 counts={"LOST": 400, "FAILED": 90, "RECOVERED": 10}, instances=300, outage_ms=9000,
                 names=tuple(hostile_text(draw, 60) for _ in range(10)))  # fmt: skip
    yield Notice(kind="test", key="test-1", time_ms=START_MS, level=Level.NORMAL)


def sent(to, request):
    parts = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return to.answer(f"{parts.path}?{parts.query}", headers, request.body)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_taken_by_a_strict_receiver_and_inject_nothing(kind, language):
    draw = random.Random(f"{kind} {language}")
    secret = None if kind == "slack" else "SECabc"
    for _ in range(30):
        for notice in hostile_notices(draw):
            to = product(kind, secret=secret)
            status, body = sent(to, make_request(target(kind, secret=secret, language=language), notice, START_MS))
            assert (status, to.refused) == (200, []), notice.kind
            assert judge(Kind(kind), status, body).ok
            assert to.injected(to.taken[0]) == []


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_keyword_that_the_remedy_names_is_in_each_message(kind, language):
    draw = random.Random(3)
    for notice in hostile_notices(draw):
        to = product(kind, keyword="heartfelt")
        sent(to, make_request(target(kind, language=language), notice, START_MS))
        assert to.refused == [] and len(to.taken) == 1


@pytest.mark.parametrize("kind", ["dingtalk", "feishu", "generic"])
def test_a_strict_receiver_refuses_a_wrong_secret_and_an_old_timestamp(kind):
    (notice,) = (one for one in hostile_notices(random.Random(1)) if one.kind == "test")
    request = make_request(target(kind, secret="SECabc"), notice, START_MS)
    for to in (product(kind, secret="other"), PRODUCTS[kind](secret="SECabc", now_ms=lambda: START_MS + 3_700_000)):
        status, body = sent(to, request)
        verdict = judge(Kind(kind), status, body)
        assert verdict.refused and verdict.all_refused and to.taken == []


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_a_strict_receiver_asks_for_fewer_calls(kind):
    (notice,) = (one for one in hostile_notices(random.Random(1)) if one.kind == "test")
    to = product(kind)
    answers = [sent(to, make_request(target(kind), notice, START_MS)) for _ in range(25)]
    verdicts = [judge(Kind(kind), *answer) for answer in answers]
    assert {verdict.ok or verdict.limited for verdict in verdicts} == {True}
    assert sum(verdict.ok for verdict in verdicts) == {"dingtalk": 20, "feishu": 5}[kind]


def test_a_strict_receiver_notices_a_body_that_is_too_long_and_one_of_another_form():
    notices = {notice.kind: notice for notice in hostile_notices(random.Random(1))}
    for kind, code in (("dingtalk", 40035), ("feishu", 9499)):
        request = make_request(target(kind), notices["change"], START_MS)
        long = msgspec.structs.replace(request, body=request.body[:-1] + b" " * 20_000 + b"}")
        of_slack = msgspec.structs.replace(request, body=json.dumps({"text": "x"}).encode())
        for bad in (long, of_slack):
            to = product(kind)
            status, body = sent(to, bad)
            assert judge(Kind(kind), status, body).refused and to.refused[0][0] in (code, 400105, 19002)
    to = Generic(now_ms=lambda: START_MS)
    assert sent(to, make_request(target("slack"), notices["change"], START_MS))[0] == 400
