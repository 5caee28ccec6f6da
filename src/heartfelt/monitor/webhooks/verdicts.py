# SPDX-License-Identifier: MIT
"""Tells what an answer means: the message was taken, it is refused, or it may be taken later. Pure functions.

A 2xx answer means that the message was taken, unless its body is an error that the product documents: programs that
only resemble a product answer in other words. Refused: the receiver says that it will never take this message. All
other failures may pass.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from heartfelt.monitor.webhooks.targets import Kind

__all__ = ["Verdict", "judge"]


class Verdict(msgspec.Struct, kw_only=True, frozen=True):
    """ok: taken. refused: this message will never be taken. limited: the target asks to be called less often. None of
    them: it may be taken later."""

    ok: bool
    why: str = ""
    refused: bool = False
    all_refused: bool = False
    """Refused because of the address, the secret or the sender: others will be refused, too."""
    limited: bool = False
    remedy: str = ""
    """For a refusal: what a person should do."""


_ADDRESS = "check the webhook's address: its robot or receiver no longer exists there, or is switched off"
_SECRET = "check the webhook's signing secret, and the clock of the monitor's machine"
_SENDER = "let the receiver accept calls from the address of the monitor's machine"
_ACCESS = "check the webhook's address and secret: the receiver does not accept the monitor as a sender"
_BODY = "the receiver does not take this form: check the webhook's kind and its template"
_SIZE = "let the receiver accept larger bodies, or use a shorter template"
_KEYWORD = "set the robot's keyword to heartfelt, which is in each message, or use a signing secret instead"
_CONTENT = "the product does not allow this content"

_STATUSES = {
    401: (True, _ACCESS),
    403: (True, _ACCESS),
    404: (True, _ADDRESS),
    405: (True, _ADDRESS),
    410: (True, _ADDRESS),
    413: (False, _SIZE),
}
"""Statuses by which a message is refused: whether all are, and the remedy. Any other 4xx is about this message, too."""
_MAY_PASS = frozenset({408, 409, 421, 423, 424, 425, 429})

# Codes in the answers of DingTalk's and Feishu's robots, as they document them; all others may pass.
_LIMITED = {
    Kind.DINGTALK: {88, 45009, 90018, 90030, 130101, 130102, 302033, 410100, 660026},
    Kind.FEISHU: {11220, 11232, 11247, 99991400},
}
_LIMITED_TEXT = re.compile("too many (request|message)|too fast|frequency limit|rate ?limit|限流", re.IGNORECASE)
"""Feishu also says this with its code of malformed requests, 9499."""
_REFUSED: dict[Kind, dict[int, tuple[bool, str]]] = {
    Kind.DINGTALK: {
        40014: (True, _ADDRESS),
        40035: (False, _BODY),
        43004: (False, _BODY),
        300001: (True, _ADDRESS),
        300005: (True, _ADDRESS),
        400013: (True, _ADDRESS),
        400101: (True, _ADDRESS),
        400102: (True, _ADDRESS),
        400105: (False, _BODY),
        400106: (True, _ADDRESS),
        430101: (False, _CONTENT),
        430102: (False, _CONTENT),
        430103: (False, _CONTENT),
        430104: (False, _CONTENT),
    },
    Kind.FEISHU: {
        9499: (False, _BODY),
        11246: (False, _BODY),
        19001: (True, _ADDRESS),
        19002: (False, _BODY),
        19007: (True, _ADDRESS),
        19021: (True, _SECRET),
        19022: (True, _SENDER),
        19024: (False, _KEYWORD),
    },
}
_CODES = {Kind.DINGTALK: ("errcode",), Kind.FEISHU: ("code", "StatusCode")}
_TEXTS = {Kind.DINGTALK: ("errmsg",), Kind.FEISHU: ("msg", "StatusMessage")}

_SLACK_REFUSED = {
    "action_prohibited": (True, _ACCESS),
    "channel_is_archived": (True, _ADDRESS),
    "channel_not_found": (True, _ADDRESS),
    "invalid_payload": (False, _BODY),
    "invalid_token": (True, _ADDRESS),
    "no_active_hooks": (True, _ADDRESS),
    "no_service": (True, _ADDRESS),
    "no_service_id": (True, _ADDRESS),
    "no_team": (True, _ADDRESS),
    "no_text": (False, _BODY),
    "posting_to_general_channel_denied": (True, _ACCESS),
    "team_disabled": (True, _ADDRESS),
    "too_many_attachments": (False, _BODY),
    "user_not_found": (True, _ADDRESS),
}
_SLACK_LATER = frozenset({"rollup_error", "service_unavailable", "internal_error"})
_SLACK_LIMITED = frozenset({"rate_limited", "ratelimited"})


def judge(kind: Kind, status: int, body: bytes) -> Verdict:
    """Decides by the error in the body, if the product documents it, otherwise by the status."""
    if status == 429:
        return Verdict(ok=False, why="called too often (429)", limited=True)
    verdict = None
    if status < 500 and kind in _CODES:
        verdict = _by_code(kind, body)
    elif status < 500 and kind is Kind.SLACK:
        verdict = _by_word(body)
    if verdict is not None:
        return verdict
    if 200 <= status < 300:
        return Verdict(ok=True)
    if 300 <= status < 400:
        return _refused("redirects are not followed", True, "give the webhook the address that it redirects to")
    if 400 <= status < 500 and status not in _MAY_PASS:
        return _refused(f"status {status}", *_STATUSES.get(status, (False, _BODY)))
    return Verdict(ok=False, why=f"status {status}")


def _refused(why: str, all_refused: bool, remedy: str) -> Verdict:
    return Verdict(ok=False, why=why, refused=True, all_refused=all_refused, remedy=remedy)


def _by_code(kind: Kind, body: bytes) -> Verdict | None:
    """The verdict of a robot's answer. None: there is no error in it."""
    answer = _object(body)
    for name in _CODES[kind]:
        code = answer.get(name)
        if isinstance(code, str) and re.fullmatch("-?[0-9]{1,9}", code):
            code = int(code)
        if type(code) is not int or code == 0:
            continue
        text = next((str(answer[name]) for name in _TEXTS[kind] if answer.get(name)), "")
        why = f"{name} {code}" + (f": {text[:200]}" if text else "")
        if code in _LIMITED[kind] or _LIMITED_TEXT.search(text):
            return Verdict(ok=False, why=why, limited=True)
        if (kind, code) == (Kind.DINGTALK, 310000):
            return _refused(why, *_failed_check(text))
        if code not in _REFUSED[kind]:
            return Verdict(ok=False, why=why)
        return _refused(why, *_REFUSED[kind][code])
    return None


def _failed_check(text: str) -> tuple[bool, str]:
    """DingTalk has one code for the three checks of a robot, and texts in English or Chinese."""
    if re.search("keyword|关键词", text, re.IGNORECASE):
        return False, _KEYWORD
    if re.search(r"\bip\b|white|白名单", text, re.IGNORECASE | re.ASCII):
        return True, _SENDER
    return True, _SECRET


def _by_word(body: bytes) -> Verdict | None:
    """The verdict of Slack's answer: a word, or JSON as its other interfaces and Rocket.Chat have it."""
    word = body[:100].decode(errors="replace").strip()
    answer = _object(body)
    if answer.get("ok") is False or answer.get("success") is False:
        word = str(answer.get("error", ""))[:100]
        if word not in _SLACK_LATER | _SLACK_LIMITED | _SLACK_REFUSED.keys():
            return _refused(word or "not ok", False, _BODY)
    if word in _SLACK_LIMITED:
        return Verdict(ok=False, why=word, limited=True)
    if word in _SLACK_LATER:
        return Verdict(ok=False, why=word)
    return _refused(word, *_SLACK_REFUSED[word]) if word in _SLACK_REFUSED else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
