# SPDX-License-Identifier: MIT
"""Verdicts on the answers of each product, and of programs that resemble it."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from heartfelt.monitor.webhooks.targets import Kind
from heartfelt.monitor.webhooks.verdicts import judge

KINDS = [kind.value for kind in Kind]


def meaning(verdict):
    """One word: taken, refused (all: whatever the message), limited, or later."""
    if verdict.ok:
        return "taken"
    assert verdict.why
    if verdict.refused:
        assert verdict.remedy
        return "all refused" if verdict.all_refused else "refused"
    return "limited" if verdict.limited else "later"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, "all refused"), (400, "refused"), (401, "all refused"), (403, "all refused"), (404, "all refused"),
        (408, "later"), (410, "all refused"), (413, "refused"), (418, "refused"), (422, "refused"), (425, "later"),
        (429, "limited"), (500, "later"), (502, "later"), (503, "later"),
    ],
)  # fmt: skip
def test_statuses(kind, status, expected):
    assert meaning(judge(Kind(kind), status, b"")) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [b"", b"ok", b"OK", b"{}", b"[]", b"null", b'"x"', b"<html>", b'{"success":true}', b'{"ok":true}', b"[" * 100_000,
     b'{"errcode":0,"errmsg":"ok"}', b'{"code":0,"msg":"success"}', b'{"StatusCode":0,"StatusMessage":"success"}',
     b'{"code":0,"StatusCode":0}', b"\xff\xfe", b'{"errcode":false}', b'{"code":"0"}', b'{"errcode":null}'],
)  # fmt: skip
def test_a_2xx_without_a_documented_error_is_taken(kind, body):
    assert meaning(judge(Kind(kind), 200, body)) == meaning(judge(Kind(kind), 204, body)) == "taken"


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("dingtalk", '{"errcode":310000,"errmsg":"keywords not in content"}', "refused"),
        ("dingtalk", '{"errcode":310000,"errmsg":"sign not match"}', "all refused"),
        ("dingtalk", '{"errcode":310000,"errmsg":"ip 1.2.3.4 not in whitelist"}', "all refused"),
        ("dingtalk", '{"errcode":"310000","errmsg":"keywords not in content"}', "refused"),
        ("dingtalk", '{"errcode":310000,"errmsg":"description:关键词不匹配;solution:请联系群管理员;"}', "refused"),
        ("dingtalk", '{"errcode":310000,"errmsg":"错误描述:机器人发送签名不匹配;解决方案:请确认签名"}', "all refused"),
        ("dingtalk", '{"errcode":660026,"errmsg":"sending too many messages per minute"}', "limited"),
        ("dingtalk", '{"errcode":-2,"errmsg":"发送速度太快而限流"}', "limited"),
        ("dingtalk", '{"errcode":300005,"errmsg":"token is not exist"}', "all refused"),
        ("dingtalk", '{"errcode":400101,"errmsg":"access_token not exist"}', "all refused"),
        ("dingtalk", '{"errcode":430102,"errmsg":"bad text"}', "refused"),
        ("dingtalk", '{"errcode":130101,"errmsg":"send too fast"}', "limited"),
        ("dingtalk", '{"errcode":302033,"errmsg":"send too fast"}', "limited"),
        ("dingtalk", '{"errcode":-1,"errmsg":"system busy"}', "later"),
        ("dingtalk", '{"errcode":777}', "later"),
        ("feishu", '{"code":19021,"msg":"sign match fail or timestamp is not within one hour"}', "all refused"),
        ("feishu", '{"code":19022,"msg":"Ip Not Allowed"}', "all refused"),
        ("feishu", '{"code":19024,"msg":"Key Words Not Found"}', "refused"),
        ("feishu", '{"StatusCode":0,"StatusMessage":"","code":9499,"msg":"too many request"}', "limited"),
        ("feishu", '{"StatusCode":0,"StatusMessage":"","code":19007,"msg":"Bot Not Enabled"}', "all refused"),
        ("feishu", '{"code":11246,"msg":"ErrCode: 11310; ErrMsg: unsupported type of block"}', "refused"),
        ("feishu", '{"code":11247,"msg":"internal send message trigger rate limit"}', "limited"),
        ("feishu", '{"code":9499,"msg":"Bad Request","data":{}}', "refused"),
        ("feishu", '{"code":19001,"msg":"param invalid: incoming webhook access token invalid"}', "all refused"),
        ("feishu", '{"code":11232,"msg":"frequency limited"}', "limited"),
        ("feishu", '{"code":99991400,"msg":"request trigger frequency limit"}', "limited"),
        ("feishu", '{"code":0,"StatusCode":1}', "later"),
        ("slack", "invalid_payload", "refused"),
        ("slack", "no_text", "refused"),
        ("slack", "channel_is_archived", "all refused"),
        ("slack", "rollup_error", "later"),
        ("slack", '{"ok":false,"error":"ratelimited"}', "limited"),
        ("slack", '{"ok":false,"error":"channel_not_found"}', "all refused"),
        ("slack", '{"success":false,"error":"Invalid integration"}', "refused"),
        ("generic", '{"errcode":310000}', "taken"),
    ],
)  # fmt: skip
def test_documented_errors_in_the_body(kind, body, expected):
    assert meaning(judge(Kind(kind), 200, body.encode())) == expected
    if expected not in ("taken", "later"):
        assert meaning(judge(Kind(kind), 400, body.encode())) == expected
    assert meaning(judge(Kind(kind), 502, body.encode())) == "later"  # a proxy's


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("keywords not in content", "keyword"),
        ("错误描述:关键词不匹配;解决方案:请联系群管理员查看此机器人的关键词", "keyword"),
        ("ip 1.2.3.4 not in whitelist", "address of the monitor's machine"),
        ("错误描述:机器人发送的IP地址不在白名单内", "address of the monitor's machine"),
        ("invalid timestamp", "signing secret"),
        ("description:机器人发送签名不匹配;solution:请确认签名和生成签名的时间戳", "signing secret"),
        ("description:机器人发送签名过期;solution:签名生成时间和发送时间请保持在 timestampms 以内", "signing secret"),
    ],
)
def test_the_remedy_fits_the_check_that_a_dingtalk_robot_made(text, remedy):
    body = json.dumps({"errcode": 310000, "errmsg": text}).encode()
    assert remedy in judge(Kind.DINGTALK, 200, body).remedy


def test_what_the_receiver_said_is_in_the_reason():
    assert judge(Kind.DINGTALK, 200, b'{"errcode":310000,"errmsg":"keywords not in content"}').why == (
        "errcode 310000: keywords not in content"
    )
    assert len(judge(Kind.FEISHU, 200, b'{"code":19024,"msg":"%s"}' % (b"x" * 9000)).why) < 300
