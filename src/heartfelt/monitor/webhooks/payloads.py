# SPDX-License-Identifier: MIT
"""Requests for each kind of target. Pure functions.

generic: POST of JSON, or of the target's template. Headers: `Idempotency-Key` (the same for each attempt),
`X-Heartfelt-Timestamp` (of this attempt, seconds since the epoch) and, if there is a secret, `X-Heartfelt-Signature`:
"sha256=" and the hex HMAC-SHA256, keyed by the secret, of the timestamp, a full stop and the body as it was sent. The
receiver computes the same, compares in constant time, and refuses requests older than a few minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec

from heartfelt._version import __version__
from heartfelt.monitor.model import MONITOR_SERVICE
from heartfelt.monitor.reasons import duration_text
from heartfelt.monitor.webhooks.notices import Notice, why
from heartfelt.monitor.webhooks.targets import Kind, Target
from heartfelt.monitor.webhooks.template import render
from heartfelt.monitor.webhooks.texts import text_lines, title

__all__ = ["KEYWORD", "Request", "make_request"]

_SLACK_TEXT = 3000
_MAX_BODY = 19_000  # bytes; DingTalk and Feishu take 20,000
_MAX_TITLE = 200
_MAX_LINK = 1000
KEYWORD = "heartfelt"
"""A word in each message to DingTalk and Feishu, whose robots may require one."""


class Request(msgspec.Struct, kw_only=True, frozen=True):
    url: str
    body: bytes
    headers: dict[str, str]


def make_request(target: Target, notice: Notice, now_ms: int, *, public_url: str | None = None) -> Request:
    """Makes the request. Raises TemplateError if the target's template does not make JSON of this message.

    public_url: the monitor's, for a link to its panel; None: there is no link.
    """
    url = target.url
    link = "" if public_url is None else _link(notice, public_url)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"heartfelt/{__version__}"}
    if target.kind is Kind.DINGTALK:
        body = _json(_dingtalk(target, notice, link))
        url = _dingtalk_url(target, now_ms)
    elif target.kind is Kind.FEISHU:
        body = _json(_feishu(target, notice, now_ms, link))
    elif target.kind is Kind.SLACK:
        body = _json(_slack(target, notice, link))
    else:
        body = _generic(target, notice, link)
        headers["Idempotency-Key"] = f"{target.id}-{notice.key}"
        headers |= _signature(target.secret, body, now_ms)
    return Request(url=url, body=body, headers=headers)


def _link(notice: Notice, public_url: str) -> str:
    """Returns the address of the panel's page about the message."""
    query = {"service": notice.service, "text": notice.entry.instance_id if notice.entry else ""}
    if not notice.service or notice.service == MONITOR_SERVICE:
        return f"{public_url}/"
    link = f"{public_url}/instances?{urlencode({name: value for name, value in query.items() if value})}"
    return link if len(link) <= _MAX_LINK else f"{public_url}/"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", errors="replace")


# -- generic


def _generic(target: Target, notice: Notice, link: str) -> bytes:
    values = _values(target, notice) | {"url": link}
    if target.template is not None:
        return render(target.template, values)
    entry = notice.entry
    whole: dict[str, Any] = {name: value for name, value in values.items() if value not in ("", None)}
    if entry is not None and entry.reason_args:
        whole["reason_args"] = entry.reason_args
    if entry is not None and entry.seq is not None:
        whole["seq"] = entry.seq
    if entry is not None and entry.event_type is not None:
        whole["event_type"], whole["event_name"] = entry.event_type, entry.event_name
        whole["event_info"] = _info(entry.info)
    if notice.kind == "mass":
        whole |= {"counts": notice.counts, "instances": notice.instances, "names": list(notice.names)}
    return _json(whole)


def _info(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # it was cut; part of it as text is better than nothing
        return text


def _values(target: Target, notice: Notice) -> dict[str, str | int | None]:
    entry, language = notice.entry, target.language.value
    return {
        "event": notice.kind,
        "key": notice.key,
        "level": notice.level.value,
        "title": title(notice, language),
        "text": "\n".join(text_lines(notice, language)),
        "service": notice.service,
        "instance_id": entry.instance_id if entry else "",
        "ip": entry.ip if entry else "",
        "old": entry.old or "" if entry else "",
        "new": entry.new or "" if entry else "",
        "reason": why(entry, language) if entry else "",
        "reason_code": entry.reason_code if entry else "",
        "outage": duration_text(notice.outage_ms, language) if notice.outage_ms is not None else "",
        "time_ms": notice.time_ms,
        "count": notice.count,
        "outage_ms": notice.outage_ms,
    }


def _signature(secret: str | None, body: bytes, now_ms: int) -> Mapping[str, str]:
    stamp = str(now_ms // 1000)
    if secret is None:
        return {"X-Heartfelt-Timestamp": stamp}
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Heartfelt-Timestamp": stamp, "X-Heartfelt-Signature": f"sha256={digest}"}


# -- DingTalk: the timestamp, in ms, and its signature are in the URL


def _dingtalk(target: Target, notice: Notice, link: str) -> dict[str, Any]:
    head = title(notice, target.language.value)
    end = f"[{KEYWORD}]({link})" if link else KEYWORD
    lines = [f"### {_markdown(head)}", *(f"- {_markdown(line)}" for line in text_lines(notice, target.language.value))]

    def message(text: str) -> dict[str, Any]:
        return {"msgtype": "markdown", "markdown": {"title": _short(head), "text": f"{text}\n- {end}"}}

    return _fit(lines, message)


def _dingtalk_url(target: Target, now_ms: int) -> str:
    if target.secret is None:
        return target.url
    signed = hmac.new(target.secret.encode(), f"{now_ms}\n{target.secret}".encode(), hashlib.sha256).digest()
    sign = quote_plus(base64.b64encode(signed))
    return f"{target.url}{'&' if '?' in target.url else '?'}timestamp={now_ms}&sign={sign}"


# Replaced by their full-width forms: DingTalk's Markdown has no escape that all its clients know.
_MARKDOWN = {ord(c): chr(ord(c) + 0xFEE0) for c in "[]<>`*~#|!\\"}


def _markdown(text: str) -> str:
    """Disarms links, pictures, headings and HTML, so that a service's name cannot lead a reader anywhere."""
    return text.translate(_MARKDOWN)


# -- Feishu: the timestamp, in s, and its signature are fields of the body


def _feishu(target: Target, notice: Notice, now_ms: int, link: str) -> dict[str, Any]:
    language = target.language.value
    signature: dict[str, Any] = {}
    links = [[{"tag": "a", "text": link, "href": link}]] if link else []
    if target.secret is not None:
        stamp = str(now_ms // 1000)
        signed = hmac.new(f"{stamp}\n{target.secret}".encode(), b"", hashlib.sha256).digest()
        signature = {"timestamp": stamp, "sign": base64.b64encode(signed).decode()}

    def message(text: str) -> dict[str, Any]:
        post = {
            "title": _short(title(notice, language)),
            "content": [[{"tag": "text", "text": line}] for line in [*text.split("\n"), KEYWORD]] + links,
        }
        return {"msg_type": "post", "content": {"post": {"zh_cn" if language == "zh" else "en_us": post}}} | signature

    return _fit(text_lines(notice, language), message)


# -- Slack


def _slack(target: Target, notice: Notice, link: str) -> dict[str, Any]:
    head = title(notice, target.language.value)
    lines = text_lines(notice, target.language.value)
    bold = f"*{_slack_escape(head, _SLACK_TEXT - 2)}*"
    sections = [bold, _slack_escape("\n".join(lines), _SLACK_TEXT)]
    if link:
        sections.append(f"<{link.replace('&', '&amp;')}|{KEYWORD}>")
    # verbatim: addresses and names of channels in the text do not become links
    return {
        "text": _slack_escape(head, _SLACK_TEXT),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}} for text in sections if text
        ],
    }


_SLACK_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Replaced by their full-width forms, since mrkdwn has no escape for them. Underscores stay: names are full of them, and
# all that they can do is slant a word.
_SLACK_ENTITIES |= {c: chr(ord(c) + 0xFEE0) for c in "*~`"}


def _slack_escape(text: str, most: int) -> str:
    """Disarms `<!channel>`, links and formatting, and cuts between two characters, never within an entity."""
    parts: list[str] = []
    left = most - 1
    for character in text:
        part = _SLACK_ENTITIES.get(character, character)
        left -= len(part)
        if left < 0:
            return "".join(parts) + "…"
        parts.append(part)
    return "".join(parts)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TITLE else text[:_MAX_TITLE] + "…"


def _fit(lines: list[str], message: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Makes the message of as much of the lines as its body has room for: their ends are cut."""
    text = "\n".join(lines)
    while True:
        made = message(text)
        excess = len(_json(made)) - _MAX_BODY
        if excess <= 0:
            return made
        raw = text.encode("utf-8", errors="replace")
        text = raw[: max(0, len(raw) - excess - 4)].decode(errors="ignore") + " …"
