# SPDX-License-Identifier: MIT
"""The text of a message, in English and in Chinese. The words for states and levels are the panel's."""

from __future__ import annotations

import time

from heartfelt.monitor.reasons import duration_text
from heartfelt.monitor.webhooks.notices import RECOVERED, Notice, NoticeEntry, why

__all__ = ["text_lines", "title"]

_MOST = 400  # characters of a name or a reason in a message

_STATES_ZH = {
    "NEW": "新增",
    "UP": "正常",
    "LATE": "迟到",
    "LOST": "失联",
    "FAILED": "失败",
    "LEFT": "已退出",
    "STUCK": "卡住",
    "PAUSED": "已暂停",
    "REMOVED": "已移除",
}
_LEVELS_ZH = {"EMERGENCY": "紧急", "IMPORTANT": "重要", "NORMAL": "一般"}
_TEST_ZH = "这条消息用于检查 Webhook，无需处理。"  # noqa: RUF001
_TYPES_ZH = {
    "OPERATION": "运行",
    "GOVERNANCE": "治理",
    "LOG": "日志",
    "PING": "任务",
    "HOLD": "暂缓",
    "ADDRESSES": "地址",
}
# The events that the monitor itself reports. Agents' names of events stay as they are.
_EVENTS_EN = {
    "HOLD_BEGAN": "notifications of losses are held",
    "HOLD_WIDENED": "the hold is for all services now",
    "HOLD_RELEASING": "the held losses are notified now",
    "HOLD_ENDED": "the hold ended",
    "ADDRESSES_ALTERNATE": "heartbeats come from several addresses",
    "ADDRESS_STOPPED": "one of its addresses is silent",
    "MONITOR_STALLED": "the monitor stalled",
    "INSTANCE_ACKED": "acknowledged",
    "INSTANCE_ACK_WITHDRAWN": "acknowledgement withdrawn",
    "INSTANCE_KEPT": "kept as the last of its service",
    "WEBHOOK_REFUSED": "a webhook refused a message",
}
_EVENTS_ZH = {
    "HOLD_BEGAN": "失联通知开始暂缓",
    "HOLD_WIDENED": "暂缓扩大到所有服务",
    "HOLD_RELEASING": "正在通知暂缓的失联",
    "HOLD_ENDED": "暂缓结束",
    "ADDRESSES_ALTERNATE": "心跳来自多个地址",
    "ADDRESS_STOPPED": "其中一个地址没有心跳",
    "MONITOR_STALLED": "监控端停滞",
    "INSTANCE_ACKED": "已确认",
    "INSTANCE_ACK_WITHDRAWN": "确认已撤回",
    "INSTANCE_KEPT": "作为服务的最后一个实例保留",
    "WEBHOOK_REFUSED": "Webhook 拒收消息",
    "ping": "心跳",
    "started": "开始",
    "succeeded": "成功",
    "failed": "失败",
}


def _name(text: str) -> str:
    """Makes one line of a text that anybody may have written, without control or bidirectional characters."""
    text = "".join(c if c.isprintable() else " " for c in text[: _MOST + 1])
    return text if len(text) <= _MOST else text[:_MOST] + "…"


def _state(state: str | None, language: str) -> str:
    return _STATES_ZH.get(state or "", state or "") if language == "zh" else state or ""


def _who(notice: Notice, entry: NoticeEntry) -> str:
    return " / ".join(filter(None, (_name(notice.service), _name(entry.instance_id))))


def _event(entry: NoticeEntry, language: str) -> tuple[str, str]:
    """An event's type and name."""
    type_, name = entry.event_type or "", entry.event_name
    if language == "zh":
        return _TYPES_ZH.get(type_, type_), _EVENTS_ZH.get(name, name)
    return type_, _EVENTS_EN.get(name, name)


def _time(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ms / 1000))


def title(notice: Notice, language: str) -> str:
    """One line: the level, the instance, and what happened."""
    chinese = language == "zh"
    service = _name(notice.service)
    if notice.kind == "test":
        return "heartfelt 测试消息" if chinese else "heartfelt: test message"
    if notice.kind == "mass" or notice.entry is None:
        return f"[{_level(notice, chinese)}] {service}: {_counts(notice, language)}"
    entry = notice.entry
    if notice.kind == "event":
        type_, name = _event(entry, language)
        return f"[{_level(notice, chinese)}] {_who(notice, entry)}: {_name(name or type_)}"
    return f"[{_level(notice, chinese)}] {_who(notice, entry)}: {_what(entry, language)}"


def _level(notice: Notice, chinese: bool) -> str:
    return _LEVELS_ZH[notice.level.value] if chinese else notice.level.value


def _what(entry: NoticeEntry, language: str) -> str:
    chinese = language == "zh"
    state = _state(entry.new, language)
    if entry.count > 1:
        span = duration_text(max(entry.span_ms, 1000), language)
        if chinese:
            return f"{span}内变化 {entry.count} 次, 现在{state}"
        return f"changed {entry.count} times in {span}, now {state}"
    if entry.recovery:
        if entry.outage_ms is None:
            return "已恢复" if chinese else "recovered"
        lasted = duration_text(entry.outage_ms, language)
        return f"已恢复, 中断 {lasted}" if chinese else f"recovered after {lasted}"
    return state


def _counts(notice: Notice, language: str) -> str:
    """ "37 LOST, 2 recovered (longest outage 3 min 12 s)"; of one instance: "3 LOST, 2 recovered, now LOST" """
    chinese = language == "zh"
    parts = []
    for what, number in notice.counts.items():
        if what != RECOVERED:
            parts.append(f"{number} {_TYPES_ZH.get(what) or _state(what, language) if chinese else what}")
            continue
        text = f"{number} 已恢复" if chinese else f"{number} recovered"
        if notice.outage_ms is not None:
            longest = duration_text(notice.outage_ms, language)
            text += f" (最长中断 {longest})" if chinese else f" (longest outage {longest})"
        parts.append(text)
    if notice.now:
        parts.append(f"{'现在' if chinese else 'now '}{_state(notice.now, language)}")
    return ", ".join(parts)


def text_lines(notice: Notice, language: str) -> list[str]:
    """The lines below the title. They contain what others wrote: escape them for where they go."""
    chinese = language == "zh"
    if notice.kind == "test":
        return [_TEST_ZH if chinese else "This message tests the webhook. Nothing happened."]
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
        line("Event", "事件", _name(" ".join(_event(entry, language)).strip()))
    elif entry.count > 1 or entry.old in (None, entry.new):
        line("State", "状态", _state(entry.new, language))
    else:
        line("State", "状态", f"{_state(entry.old, language)} → {_state(entry.new, language)}")
    if entry.recovery and entry.outage_ms is not None:
        line("Outage", "中断时长", duration_text(entry.outage_ms, language))
    line("Reason" if entry.event_type is None else "Text", "原因" if entry.event_type is None else "内容",
         _name(why(entry, language)))  # fmt: skip
    line("Time", "时间", _time(entry.time_ms))
    return lines
