# SPDX-License-Identifier: MIT
"""The details of an instance, and of an event. Texts from agents are shown as plain text."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from heartfelt.cli._top.fleet import ListedEvent
from heartfelt.cli._top.marks import LEVELS, LONGEST_TEXT, ago, chip_style, mark_of
from heartfelt.cli.events import words_of
from heartfelt.cli.ls import acknowledged, printable

BARS = "▁▂▃▄▅▆▇█"
STRIP = 60
RESULTS = {
    "RUNNING": "running", "OK": "ok", "FAILED": "failed", "TOO_LONG": "too long", "TOO_SHORT": "too short",
    "OVERDUE": "not ended in time",
}  # fmt: skip
SOURCES = {
    "beat": "asked for by its beats", "service": "set for its service", "all": "set for all instances",
    "learned": "learned", "default": "the default",
}  # fmt: skip
SCROLLING: tuple[BindingType, ...] = (
    Binding("j,down", "scroll(1)", "down", show=False),
    Binding("k,up", "scroll(-1)", "up", show=False),
    Binding("pagedown,space", "scroll(15)", "page down", show=False),
    Binding("pageup", "scroll(-15)", "page up", show=False),
    Binding("escape,q,enter", "leave", "back", show=False),
)


class _Page(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = list(SCROLLING)

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield Static(id="text")
        yield Static(self.keys(), id="keys")

    def keys(self) -> str:
        return " escape back   j k scroll"

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_leave(self) -> None:
        self.dismiss(None)

    def show(self, text: Text) -> None:
        self.query_one("#text", Static).update(text)


class Do(Message):
    """A request to the monitor by a key of the detail: "ack", "pause" or "remove"."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what


class Detail(_Page):
    """The details of an instance; `fill` shows the result of a request, and may be called repeatedly."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "ask('ack')", "acknowledge", show=False),
        Binding("p", "ask('pause')", "pause", show=False),
        Binding("x", "ask('remove')", "remove", show=False),
    ]

    def __init__(self, id_: int) -> None:
        super().__init__()
        self.instance_id = id_
        self._found: dict[str, Any] | None = None
        self._error = ""

    def keys(self) -> str:
        return " escape back   j k scroll   a acknowledge   p pause or resume   x remove"

    def on_mount(self) -> None:
        self._draw(0.0)

    def action_ask(self, what: str) -> None:
        self.app.post_message(Do(what))

    def fill(self, found: dict[str, Any], now_ms: float) -> None:
        self._found, self._error = found, ""
        self._draw(now_ms)

    def fail(self, error: str, now_ms: float) -> None:
        self._error = error
        self._draw(now_ms)

    def _draw(self, now_ms: float) -> None:
        text = Text(no_wrap=False)
        if self._error:
            text.append(f"{clean(self._error)}\n\n", "bold reverse")
        if self._found is None:
            text.append("" if self._error else "loading ...")
        else:
            _describe(text, self._found, now_ms)
        self.show(text)


class EventDetail(_Page):
    def __init__(self, entry: ListedEvent) -> None:
        super().__init__()
        self._entry = entry

    def on_mount(self) -> None:
        event = self._entry.event
        text = Text()
        text.append(f"{clean(words_of(event))}\n\n", "bold")
        fields = {"level": event["level"], "time": moment(event["time_ms"]), "service": event["service"]}
        fields |= {"instance": event["instance_id"], "address": event.get("ip") or "", "type": event["type"]}
        _fields(text, fields.items())
        text.append("\n")
        for name, value in event["info"].items():
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            text.append(f"{clean(name)}\n", "bold")
            text.append("".join(f"  {clean(line, 10_000)}\n" for line in shown.splitlines()))
        self.show(text)


def clean(text: object, most: int = LONGEST_TEXT) -> str:
    return printable(str(text)[:most])


def moment(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))


def _fields(text: Text, fields: Iterable[tuple[str, Any]]) -> None:
    for name, value in fields:
        if value not in (None, "", {}, []):
            text.append(f"{clean(name):16} ", "dim").append(f"{clean(value)}\n")


def _describe(text: Text, found: dict[str, Any], now_ms: float) -> None:
    one = found["instance"]
    state = "HELD" if one["held"] else one["state"]
    text.append(mark_of(state).letter, chip_style(state)).append(f" {mark_of(state).word}  ", "bold")
    text.append(f"{clean(one['service'])} / {clean(one['instance_id'])}\n", "bold")
    text.append(f"for {ago(now_ms - one['since_ms'])}: {clean(one['reason'])}\n")
    ack, addresses = one["ack"], one["addresses"]
    if ack is not None:
        until_ms = ack["until_ms"]
        until = "it recovers" if until_ms is None else moment(until_ms)
        text.append(f"{clean(acknowledged(ack))}; nobody is notified again until {until}\n", "bold")
    if len(addresses) > 1:
        text.append(f"its beats come from {len(addresses)} addresses: {clean(', '.join(addresses))}\n", "bold")
    text.append("\n")
    _fields(text, _facts(one, now_ms).items())
    unread = [name for name in ("changes", "runs", "events") if found[name] is None]
    if unread:
        text.append(f"\nthe monitor cannot read these now: {', '.join(unread)}\n", "bold")
    _runs(text, found["runs"] or [], now_ms)
    for title, versions in (("plugins", one["plugins"]), ("external agents", one["external_agents"])):
        if versions:
            text.append(f"\n{title}\n", "bold")
            for name, version in versions.items():
                text.append(f"  {clean(name)} {clean(version)}{clean(_ext_info(one, name))}\n")
    _gaps(text, one)
    text.append("\nchanges of state\n", "bold")
    for change in found["changes"] or ():
        text.append(f"  {moment(change['time_ms'])} ").append(
            mark_of(change["new"]).letter, chip_style(change["new"])
        ).append(f" {clean(change['reason'])}\n")
    others = [event for event in found["events"] or () if event["type"] != "STATE"]
    text.append("\nevents\n", "bold")
    for event in others:
        sign, colour = LEVELS.get(event["level"], LEVELS["NORMAL"])
        text.append(f"  {moment(event['time_ms'])} ").append(sign, colour).append(f" {clean(words_of(event))}\n")
    if not others:
        text.append("  none\n", "dim")


def _runs(text: Text, runs: list[dict[str, Any]], now_ms: float) -> None:
    """Lists runs, newest first."""
    if not runs:
        return
    text.append("\nruns\n", "bold")
    for run in runs:
        result = RESULTS.get(run["result"], run["result"])
        begin_ms, end_ms, took_ms = run["begin_ms"], run["end_ms"], run["duration_ms"]
        if took_ms is None and end_ms is None and begin_ms is not None:
            took_ms = now_ms - begin_ms
        parts = [None if took_ms is None else f"after {ago(took_ms)}"]
        parts += [None if run["status"] is None else f"exit status {run['status']}", run["rid"], run["text"]]
        text.append(f"  {moment(end_ms if begin_ms is None else begin_ms)} ")
        text.append(f"{clean(result):18}", "" if run["result"] in ("RUNNING", "OK") else "bold")
        text.append(f"{clean(', '.join(filter(None, parts)))}\n")


def _period(one: dict[str, Any]) -> str | None:
    if one["period_ms"] is None:
        return None
    about = "beats about each " if one["lease_source"] == "learned" else ""
    return f"{about}{one['period_ms'] / 1000:g} s"


def _timeout(one: dict[str, Any]) -> str:
    """Says how long the timeout is, and where it comes from."""
    words = f"{one['lease_ms'] / 1000:g} s"
    period_ms, grace_ms, source = one["period_ms"], one["grace_ms"], one["lease_source"]
    if period_ms is not None and grace_ms is not None and period_ms + grace_ms == one["lease_ms"]:
        words += f" ({period_ms / 1000:g} s + grace {grace_ms / 1000:g} s)"
    return f"{words}, {SOURCES.get(source, source)}"


def _facts(one: dict[str, Any], now_ms: float) -> dict[str, Any]:
    def duration(ms: int | None) -> str | None:
        return None if ms is None else f"{ms / 1000:g} s"

    dynamic = one["dynamic_install"]
    return {
        "last beat": f"{ago(now_ms - one['last_beat_ms'])} ago, {moment(one['last_beat_ms'])}",
        "beats": f"{one['beats']:,}, by {one['via']} from {one['peer']}",
        "interval": duration(one["interval_ms"]),
        "period": _period(one),
        "timeout": _timeout(one),
        "expected": "yes: it stays lost until it beats or is removed" if one["expected"] else None,
        "first seen": moment(one["first_seen_ms"]),
        "application": one["app"],
        "host": one["host"],
        "addresses": ", ".join(one["ips"]),
        "version": one["version"],
        "artifact": one["artifact"],
        "process": one["process_id"],
        "dynamic install": None if dynamic is None else "yes" if dynamic else "no",
        "clock skew": None if one["skew_ms"] is None else f"{one['skew_ms']:,} ms",
        "lag": None if one["lag_ms"] is None else f"{one['lag_ms']:,} ms since its interpreter last ran",
        "paused until": None if one["paused_until_ms"] is None else moment(one["paused_until_ms"]),
    }


def _ext_info(one: dict[str, Any], name: str) -> str:
    plugins = one["meta"].get("pluginInfoMap")
    plugin = plugins.get(name) if isinstance(plugins, dict) else None
    more = plugin.get("extInfo") if isinstance(plugin, dict) else None
    return "  " + ", ".join(f"{key}={value}" for key, value in more.items()) if isinstance(more, dict) else ""


def _gaps(text: Text, one: dict[str, Any]) -> None:
    """Draws the times between beats, relative to the timeout: a full bar would be a loss."""
    gaps = one["gaps"][-STRIP:]
    if not gaps:
        return
    lease_s = one["lease_ms"] / 1000
    text.append(f"\nthe last {len(gaps)} times between beats", "bold").append(
        f"  a full bar is the timeout, {lease_s:g} s\n  "
    )
    for seconds, missed in gaps:
        bar = BARS[max(0, min(len(BARS) - 1, int(seconds / lease_s * len(BARS))))]
        text.append(bar, mark_of("LATE" if missed else "UP").colour)
    longest = max(seconds for seconds, _ in gaps)
    missed_in_all = sum(missed for _, missed in gaps)
    text.append(f"\n  longest {longest:.1f} s, missed {missed_in_all}\n", "dim")
