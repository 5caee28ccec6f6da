# SPDX-License-Identifier: MIT
# ruff: noqa: RUF001  (Chinese has commas of its own)
"""Messages to each kind of target, and answers that count as accepted. Signatures are computed here by other code."""

from __future__ import annotations

import base64
import itertools
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from heartfelt.monitor.fleet import own_events, reasons
from heartfelt.monitor.model import Hold, HoldState, Level
from heartfelt.monitor.reasons import english, make
from heartfelt.monitor.web import panel
from heartfelt.monitor.webhooks import texts
from heartfelt.monitor.webhooks.notices import Notice, event_entry, of_change, of_entry, why
from heartfelt.monitor.webhooks.payloads import make_request
from heartfelt.monitor.webhooks.targets import is_recovery, make_target
from heartfelt.monitor.webhooks.texts import text_lines, title
from tests.monitor.webhooks.parts import START_MS, make_change, make_event

NASTY = 'a"b\\c</x>[click](http://evil) <!channel> <http://evil|ok> ${secret} $text {0.__class__} `x` *y*\n# h\u202e'


def hmac_sha256(key: bytes, text: bytes) -> bytes:
    mac = HMAC(key, hashes.SHA256())
    mac.update(text)
    return mac.finalize()


def target(kind="generic", **fields):
    url = {"dingtalk": "https://oapi.dingtalk.com/robot/send?access_token=tok"}.get(kind, "https://example.com/h")
    return make_target({"kind": kind, "url": url, **fields}, now_ms=0, id="t1")


def notice(**more):
    change = make_change(7, **more)
    return of_entry(of_change(change, is_recovery(change)))


def test_generic_is_signed_over_timestamp_and_body_and_has_an_idempotency_key():
    request = make_request(target(secret="s3cret"), notice(), START_MS + 999)
    stamp = request.headers["X-Heartfelt-Timestamp"]
    assert stamp == str(START_MS // 1000)
    expected = hmac_sha256(b"s3cret", stamp.encode() + b"." + request.body).hex()
    assert request.headers["X-Heartfelt-Signature"] == f"sha256={expected}"
    assert request.headers["Idempotency-Key"] == "t1-change-7"
    assert json.loads(request.body) == {
        "event": "change",
        "key": "change-7",
        "level": "EMERGENCY",
        "title": "[EMERGENCY] shop / i1: LOST",
        "text": "Service: shop\nInstance: i1\nState: UP → LOST\n"
        "Reason: no beat for 60 s\nTime: 2026-09-21 14:13:20 UTC",
        "service": "shop",
        "instance_id": "i1",
        "old": "UP",
        "new": "LOST",
        "reason": "no beat for 60 s",
        "reason_code": "text",
        "reason_args": {"text": "no beat for 60 s"},
        "time_ms": START_MS,
        "count": 1,
        "seq": 7,
    }
    later = make_request(target(secret="s3cret"), notice(), START_MS + 60_000)
    assert later.body == request.body and later.headers["Idempotency-Key"] == request.headers["Idempotency-Key"]
    assert later.headers["X-Heartfelt-Signature"] != request.headers["X-Heartfelt-Signature"]


def test_generic_without_a_secret_is_not_signed():
    assert "X-Heartfelt-Signature" not in make_request(target(), notice(), START_MS).headers


def test_generic_carries_an_events_own_json():
    body = json.loads(make_request(target(), of_entry(event_entry(make_event())), START_MS).body)
    assert body["event"] == "event" and body["event_type"] == "LOG"
    assert body["event_info"] == {"name": "disk", "description": "full"}
    job = make_event(type="PING", info={"name": "failed", "description": "exit status 3, after 2 s", "text": "no disk"})
    assert why(event_entry(job), "zh") == "exit status 3, after 2 s: no disk"
    long = of_entry(event_entry(make_event(info={"name": "n", "text": "x" * 9000})))
    assert body["title"] == "[EMERGENCY] shop / i1: disk"
    assert len(make_request(target(), long, START_MS).body) < 9000


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ('{"a": "$nope"}', "line 1: unknown name $nope"),
        ('{\n"a": "$ x"}', "line 2: a $ without a name"),
        ('{"a": $title}', "double quotes"),
        ('{"a": "\\$title"}', "double quotes"),
        ('{"a": "\\u00$title"}', "double quotes"),
        ('{"a": ', "does not make JSON"),
        ('{"a": "${title.__class__}"}', "a $ without a name"),
        ('{"a": "$Title"}', "a $ without a name"),
        ("x" * 20_000, "longer than"),
    ],
)
def test_a_template_that_cannot_be_is_refused_when_it_is_saved(template, problem):
    with pytest.raises(ValueError, match=r"^template: ") as caught:
        target(template=template)
    assert problem in str(caught.value)


def test_nothing_that_others_write_gets_out_of_its_place_in_a_template():
    template = '{"t": "$title", "r": "${reason}", "n": $count, "o": $outage_ms, "d": "$$5", "s": ["$service"], "x": 1}'
    made = make_request(target(template=template), notice(reason=NASTY, service=NASTY), START_MS)
    body = json.loads(made.body)
    assert list(body) == ["t", "r", "n", "o", "d", "s", "x"]
    assert body["r"] == NASTY and body["s"] == [NASTY] and body["d"] == "$5" and (body["n"], body["o"]) == (1, None)


def test_dingtalk_signs_the_address():
    made = make_request(target("dingtalk", secret="SECabc"), notice(), START_MS)
    query = parse_qs(urlsplit(made.url).query)
    expected = base64.b64encode(hmac_sha256(b"SECabc", f"{START_MS}\nSECabc".encode())).decode()
    assert query == {"access_token": ["tok"], "timestamp": [str(START_MS)], "sign": [expected]}
    body = json.loads(made.body)
    assert body["msgtype"] == "markdown" and body["markdown"]["title"] == "[EMERGENCY] shop / i1: LOST"
    unsigned = make_request(target("dingtalk"), notice(), START_MS)
    assert unsigned.url == "https://oapi.dingtalk.com/robot/send?access_token=tok"


def test_dingtalk_has_no_links_of_others_making():
    text = json.loads(make_request(target("dingtalk"), notice(reason=NASTY), START_MS).body)["markdown"]["text"]
    assert not set("[]<>`*\\") & set(text)
    assert text.count("\n") == 6 and text.count("#") == 3  # the lines and the heading are ours


def test_feishu_signs_in_the_body():
    body = json.loads(make_request(target("feishu", secret="key", language="zh"), notice(), START_MS).body)
    stamp = str(START_MS // 1000)
    assert body["timestamp"] == stamp
    assert body["sign"] == base64.b64encode(hmac_sha256(f"{stamp}\nkey".encode(), b"")).decode()
    post = body["content"]["post"]["zh_cn"]
    assert body["msg_type"] == "post" and post["title"] == "[紧急] shop / i1: 失联"
    assert post["content"][0] == [{"tag": "text", "text": "服务: shop"}]
    english = json.loads(make_request(target("feishu"), notice(), START_MS).body)
    assert "en_us" in english["content"]["post"] and "sign" not in english


def test_slack_escapes_and_keeps_its_limits():
    made = make_request(target("slack"), notice(reason=NASTY, service="&" * 5000), START_MS)
    body = json.loads(made.body)
    texts = [body["text"], *(block["text"]["text"] for block in body["blocks"])]
    assert all(len(text) <= 3000 for text in texts)
    joined = "".join(texts)
    assert "<" not in joined and ">" not in joined and "&lt;!channel&gt;" in joined
    assert "&" not in joined.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")  # no entity was cut


@pytest.mark.parametrize("kind", ["generic", "dingtalk", "feishu", "slack"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_kind_of_message_can_be_sent_to_every_kind_of_target(kind, language):
    messages = [
        notice(),
        notice(reason="x" * 100_000, service="\ud800" * 9),
        of_entry(event_entry(make_event(info={}))),
        Notice(kind="test", key="test-1", time_ms=START_MS, level=Level.NORMAL),
        Notice(kind="mass", key="m", time_ms=START_MS, level=Level.EMERGENCY, service="s", count=5, counts={"LOST": 5},
               instances=300, names=("a", "b")),
    ]  # fmt: skip
    for message in messages:
        made = make_request(target(kind, language=language), message, START_MS)
        assert json.loads(made.body)
        assert len(made.body) < 20_000 or kind == "generic"


def test_a_message_in_chinese_is_chinese_to_the_last_word():
    reason = make("lost", silent_ms=65_000, timeout_ms=60_000, peer="10.0.0.7", last_beat_ms=START_MS)
    lost = make_request(target(language="zh"), notice(reason=reason), START_MS)
    body = json.loads(lost.body)
    assert body["reason"] == "已 1分钟5秒没有心跳（超时 1分钟）；上次心跳来自 10.0.0.7，在 2026-09-21 14:13:20Z"
    assert f"原因: {body['reason']}" in body["text"]
    assert (body["reason_code"], body["reason_args"]) == ("lost", reason.args)
    failed = make("exit_status", status=3, duration_ms=5250)
    info = {"name": "failed", "description": english(failed), **failed.fields(), "text": "磁盘已满"}
    events = [
        make_event(type="PING", info=info),
        own_events.stalled(START_MS, 5200.0),
        *(
            own_events.hold_changed(START_MS, before, hold)
            for before, hold in itertools.pairwise((
                Hold(),
                Hold(state=HoldState.HOLDING, scope="shop", reason=reasons.share(9, 10, 5000, "shop", 0.5)),
                Hold(state=HoldState.HOLDING, reason=reasons.many_services("shop", "mail"), until_ms=START_MS),
                Hold(state=HoldState.RELEASING, reason=reasons.released("", reasons.stalled(2000))),
                Hold(),
            ))
        ),
    ]  # fmt: skip
    messages = [of_entry(event_entry(event)) for event in events]
    messages.append(notice(reason=reason, old="LOST", new="UP", outage_ms=192_000))
    for message in messages:
        for text in (title(message, "zh"), *text_lines(message, "zh")):
            for own in ("10.0.0.7", "shop", "mail", "heartfelt-monitor", "i1", "UTC", "Z"):  # names, and time zones
                text = text.replace(own, "")
            assert not re.search("[A-Za-z]", text), text
    assert why(messages[0].entry, "zh") == "退出状态 3，历时 5.2秒: 磁盘已满"
    assert why(messages[0].entry, "en") == "exit status 3 after 5.2 s: 磁盘已满"


def test_the_monitors_own_events_have_words_in_both_languages():
    codes = {name for name in texts._EVENTS_ZH if name.isupper()}
    assert codes == set(texts._EVENTS_EN)
    for name in codes:
        message = of_entry(event_entry(make_event(type="HOLD", info={"name": name, "description": "as it says"})))
        for language in ("en", "zh"):
            assert not any(name in text for text in (title(message, language), *text_lines(message, language)))


def test_an_events_own_words_are_said_where_its_code_is_not_known():
    for code, args in (("nonsense", {}), ("lost", {"silent_ms": "long"}), (["lost"], {}), ("paused", None)):
        event = make_event(info={"name": "n", "description": "as it says", "reason_code": code, "reason_args": args})
        assert why(event_entry(event), "zh") == "as it says"


def test_a_delivery_that_an_older_version_queued_keeps_its_text():
    old = {"key": "change-7", "time_ms": START_MS, "level": "EMERGENCY", "service": "shop", "instance_id": "i1",
           "seq": 7, "old": "UP", "new": "LOST", "reason": "no beat for 60 s"}  # fmt: skip
    message = {"kind": "change", "key": "change-7", "time_ms": START_MS, "level": "EMERGENCY", "service": "shop"}
    read = msgspec.convert({**message, "entry": old}, Notice)
    assert "原因: no beat for 60 s" in text_lines(read, "zh")
    assert json.loads(make_request(target(), read, START_MS).body)["reason"] == "no beat for 60 s"


def test_the_words_for_states_and_levels_are_the_panels():
    folder = Path(panel.__file__).parent / "words" / "zh"
    states = dict(re.findall(r'^ {2}([A-Z]+): "(.+)",$', (folder / "states.js").read_text("utf-8"), re.M))
    assert states == texts._STATES_ZH
    levels = dict(re.findall(r'^ {2}level_([A-Z]+): "(.+)",$', (folder / "webhooks.js").read_text("utf-8"), re.M))
    assert levels == texts._LEVELS_ZH


def test_a_recovery_names_the_length_of_the_outage():
    message = notice(old="LOST", new="UP", outage_ms=192_000, level="NORMAL")
    assert title(message, "en") == "[NORMAL] shop / i1: recovered after 3 min 12 s"
    assert title(message, "zh") == "[一般] shop / i1: 已恢复, 中断 3分钟12秒"
    assert "Outage: 3 min 12 s" in text_lines(message, "en") and "中断时长: 3分钟12秒" in text_lines(message, "zh")
