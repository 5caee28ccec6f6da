# SPDX-License-Identifier: MIT
"""The words of a message, in English and in Chinese."""

from __future__ import annotations

import time

from heartfelt.monitor.webhooks.notices import RECOVERED, Entry, Notice

__all__ = ["duration", "text_lines", "title"]

_MOST = 400  # characters of a name or a reason in a message

_STATES_ZH = {
    "NEW": "新上线",
    "UP": "正常",
    "LATE": "迟到",
    "LOST": "失联",
    "LEFT": "已下线",
    "STUCK": "卡死",
    "PAUSED": "已暂停",
    "REMOVED": "已移除",
}
_LEVELS_ZH = {"EMERGENCY": "紧急", "IMPORTANT": "重要", "NORMAL": "一般"}


def duration(ms: int, language: str) -> str:
    """In words, of the two largest units: "3 min 12 s", "2 d 4 h", "850 ms"; "3 分 12 秒"."""
    chinese = language == "zh"
    if abs(ms) < 1000:
        return f"{ms} {'毫秒' if chinese else 'ms'}"
    left = abs(ms) // 1000
    parts: list[str] = []
    for seconds, english, word in ((86400, "d", "天"), (3600, "h", "小时"), (60, "min", "分"), (1, "s", "秒")):
        number, left = divmod(left, seconds)
        if number:
            parts.append(f"{number} {word if chinese else english}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return ("-" if ms < 0 else "") + " ".join(parts)


def _name(text: str) -> str:
    """Of a stranger's making: one line, no control characters (nor those that turn the direction of writing)."""
    text = "".join(c if c.isprintable() else " " for c in text[: _MOST + 1])
    return text if len(text) <= _MOST else text[:_MOST] + "…"


def _state(state: str | None, language: str) -> str:
    return _STATES_ZH.get(state or "", state or "") if language == "zh" else state or ""


def _time(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ms / 1000))


def title(notice: Notice, language: str) -> str:
    """One line that says it all."""
    chinese = language == "zh"
    service = _name(notice.service)
    if notice.kind == "test":
        return "heartfelt 测试消息" if chinese else "heartfelt: test message"
    if notice.kind == "mass" or notice.entry is None:
        return f"[{_level(notice, chinese)}] {service}: {_counts(notice, language)}"
    entry = notice.entry
    who = f"{service} / {_name(entry.instance_id)}"
    if notice.kind == "event":
        return f"[{_level(notice, chinese)}] {who}: {_name(entry.event_name or entry.event_type or '')}"
    return f"[{_level(notice, chinese)}] {who}: {_what(entry, language)}"


def _level(notice: Notice, chinese: bool) -> str:
    return _LEVELS_ZH[notice.level.value] if chinese else notice.level.value


def _what(entry: Entry, language: str) -> str:
    chinese = language == "zh"
    state = _state(entry.new, language)
    if entry.count > 1:
        span = duration(max(entry.span_ms, 1000), language)
        if chinese:
            return f"{span}内变化 {entry.count} 次, 现在{state}"
        return f"changed {entry.count} times in {span}, now {state}"
    if entry.recovery:
        if entry.outage_ms is None:
            return "已恢复" if chinese else "recovered"
        lasted = duration(entry.outage_ms, language)
        return f"已恢复, 中断 {lasted}" if chinese else f"recovered after {lasted}"
    return state


def _counts(notice: Notice, language: str) -> str:
    """ "37 LOST, 2 recovered (longest outage 3 min 12 s)" """
    chinese = language == "zh"
    parts = []
    for what, number in notice.counts.items():
        if what != RECOVERED:
            parts.append(f"{number} {_state(what, language)}")
            continue
        text = f"{number} 已恢复" if chinese else f"{number} recovered"
        if notice.outage_ms is not None:
            longest = duration(notice.outage_ms, language)
            text += f" (最长中断 {longest})" if chinese else f" (longest outage {longest})"
        parts.append(text)
    return ", ".join(parts)


def text_lines(notice: Notice, language: str) -> list[str]:
    """What stands below the title, a line each. What others wrote is in them: to be escaped for where they go."""
    chinese = language == "zh"
    if notice.kind == "test":
        return ["这条消息用于检查 webhook, 无需处理。" if chinese else "This checks the webhook; nothing has happened."]
    lines: list[str] = []

    def line(english: str, word: str, value: str) -> None:
        if value:
            lines.append(f"{word if chinese else english}: {value}")

    line("Service", "服务", _name(notice.service))
    entry = notice.entry
    if entry is None:
        names = ", ".join(_name(name) for name in notice.names)
        more = notice.instances - len(notice.names)
        if more > 0:
            names += f" 等另外 {more} 个" if chinese else f" and {more} more"
        line("Instances", "实例", names)
        line("Messages merged", "合并消息数", str(notice.count))
        line("Time", "时间", f"{_time(notice.time_ms)} .. {_time(notice.until_ms or notice.time_ms)}")
        return lines
    line("Instance", "实例", _name(entry.instance_id))
    line("Address", "地址", _name(entry.ip))
    if entry.event_type is not None:
        line("Event", "事件", _name(f"{entry.event_type} {entry.event_name}".strip()))
    elif entry.count > 1 or entry.old is None:
        line("State", "状态", _state(entry.new, language))
    else:
        line("State", "状态", f"{_state(entry.old, language)} → {_state(entry.new, language)}")
    if entry.recovery and entry.outage_ms is not None:
        line("Outage", "中断时长", duration(entry.outage_ms, language))
    line("Reason" if entry.event_type is None else "Text", "原因" if entry.event_type is None else "内容",
         _name(entry.reason))  # fmt: skip
    line("Time", "时间", _time(entry.time_ms))
    return lines
