# SPDX-License-Identifier: MIT
"""The application: takes messages from the link, updates the fleet, and draws the visible view."""

from __future__ import annotations

import itertools
import time
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.theme import Theme
from textual.widgets import ContentSwitcher

from heartfelt.cli._top import _jobs
from heartfelt.cli._top.bar import CONNECTING, LIVE, LOST, Bottom, LinkState, Top
from heartfelt.cli._top.detail import Detail, Do, EventDetail
from heartfelt.cli._top.dialogs import Confirm, FilterInput, Help
from heartfelt.cli._top.feed import Feed
from heartfelt.cli._top.fleet import FleetState, ListedEvent, Row
from heartfelt.cli._top.grid import Grid
from heartfelt.cli._top.lines import Chosen, Lines, Moved
from heartfelt.cli._top.link import Answered, Happened, Job, Live, Loaded, Loading, Lost, MonitorLink, Told
from heartfelt.cli._top.table import ORDERS, Table
from heartfelt.cli.events import words_of

TAKE_S = 0.1
DRAW_S = 0.5
STATS_S = 5.0
DETAIL_S = 2.0
TAKE_MOST_S = 0.05
SOME = 50  # per second; instances that came back are read one by one
ASKED_AGAIN = frozenset({"newer", "some", "held", "stats"})
"""Requests whose failures are not shown: the stream reports that the monitor is unreachable."""
VIEWS = ("grid", "table", "events")
DARK = Theme(name="heartfelt-dark", primary="#56B4E9", background="#101418", surface="#101418", dark=True)
LIGHT = Theme(name="heartfelt-light", primary="#0072B2", background="#FFFFFF", surface="#FFFFFF", dark=False)


class TopApp(App[None]):
    """The application of `heartfelt top`. It starts and closes `link`."""

    TITLE = "heartfelt top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; layers: base; }
    #top { height: 3; } #bottom { height: 2; }
    #views, #views > * { height: 1fr; }
    #filter { height: 1; border: none; padding: 0 1; display: none; }
    #filter.shown { display: block; }
    Confirm, Help { align: center middle; background: $background 60%; }
    Confirm > Static, Help > Static { width: auto; max-width: 76; height: auto; padding: 1 2; border: solid $primary; }
    Detail > VerticalScroll, EventDetail > VerticalScroll { height: 1fr; padding: 0 1; }
    #keys { height: 1; width: 1fr; background: $foreground; color: $background; }
    VerticalScroll { scrollbar-size: 1 1; scrollbar-color: $primary 60%; scrollbar-background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(n), f"view('{name}')", name) for n, name in enumerate(VIEWS, 1)),
        Binding("tab", "next_view", "next view", priority=True),  # a screen has its own binding
        Binding("slash", "filter", "filter"),
        Binding("escape", "no_filter", "no filter"),
        Binding("s", "order", "order"),
        Binding("a", "ack", "acknowledge"),
        Binding("p", "pause", "pause"),
        Binding("x", "remove", "remove"),
        Binding("R", "release", "release"),
        Binding("space", "freeze", "freeze"),
        Binding("t", "theme", "theme"),
        Binding("question_mark", "help", "help"),
        Binding("q,ctrl+c", "quit", "quit"),
    ]

    def __init__(self, link: MonitorLink, url: str) -> None:
        super().__init__()
        self.fleet = FleetState()
        self.link = link
        self.state = LinkState()
        self.terms = ""
        self.frozen = False
        self._url = url
        self._order = 0
        self._offset_ms = 0.0
        self._shown = (-1, "", -1, "")
        self._rest_until = 0.0
        self._stats_at = self._detail_at = self._held_at = self._newer_at = self._some_at = 0.0

    def compose(self) -> ComposeResult:
        yield Top(self._url, self.fleet, self.state, id="top")
        with ContentSwitcher(initial="grid", id="views"):
            yield Grid(self.now_ms, id="grid")
            yield Table(self.now_ms, id="table")
            yield Feed(id="events")
        with Container(id="filter"):
            yield FilterInput(compact=True, placeholder="words and states, for example: payment failed", id="terms")
        yield Bottom(id="bottom")

    def on_mount(self) -> None:
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        self.theme = DARK.name
        self.base = self.screen
        self.switcher = self.query_one(ContentSwitcher)
        self.top = self.query_one(Top)
        self.bottom = self.query_one(Bottom)
        self.grid, self.table, self.feed = self.query_one(Grid), self.query_one(Table), self.query_one(Feed)
        self.grid.focus()
        self.link.start()
        self.set_interval(TAKE_S, self.take)
        self.set_interval(DRAW_S, self.draw)

    def on_unmount(self) -> None:
        self.link.close()

    def now_ms(self) -> float:
        """Returns the time of the monitor's clock."""
        return time.time() * 1000 + self._offset_ms

    # -- messages from the link

    @property
    def is_ending(self) -> bool:
        """Whether the widgets are being taken down, while the timers still run."""
        return not self.screen_stack or not self.switcher.is_attached

    def take(self) -> None:
        """Applies the messages that have arrived, for a bounded time."""
        if self.is_ending:
            return
        give_up = time.monotonic() + TAKE_MOST_S
        while time.monotonic() < give_up:
            told = self.link.take(100)
            for one in told:
                self._apply(one)
            if len(told) < 100:
                break
        self._ask_more()

    def _apply(self, told: Told) -> None:
        if isinstance(told, Happened):
            self.fleet.happen(told.topic, told.data)
            return
        if isinstance(told, Loaded):
            self.fleet.load(told.views, told.services, told.hold, told.events)
            self._offset_ms = told.offset_ms
            self.top.missing = told.missing
            self.top.without_events = told.events is None
            self.top.take_stats(told.stats)
        elif isinstance(told, Answered):
            self._answered(told)
            return
        elif isinstance(told, Loading):
            self.state.progress = f"reading {told.done:,} of {told.total:,}"
        elif isinstance(told, Live):
            self.state.name, self.state.progress = LIVE, ""
        elif isinstance(told, Lost):
            if self.state.name != LOST:
                self.state.since = time.monotonic()
            self.state.name, self.state.reason, self.state.retry_at = LOST, told.reason, told.retry_at
        self.draw()

    def _answered(self, told: Answered) -> None:
        what = told.what.partition(" ")[0]
        if what == "detail":
            self._fill_detail(told)
        elif told.error:
            if what not in ASKED_AGAIN:
                self.bottom.say(told.error, is_error=True)
        elif what == "newer":
            self.fleet.complete(told.value)
        elif what == "some":
            asked, views = told.value
            self.fleet.outdated.difference_update(asked)
            self.fleet.renew(views)
        elif what == "held":
            self.fleet.set_held(told.value)
        elif what == "stats":
            stats, self._offset_ms = told.value
            self.top.take_stats(stats)
        else:
            self.bottom.say(f"{told.what}: done")
            self._detail_at = 0.0

    def _fill_detail(self, told: Answered) -> None:
        screen = self.screen
        if isinstance(screen, Detail) and told.what == f"detail {screen.instance_id}":
            if told.error:
                screen.fail(told.error, self.now_ms())
            else:
                self.fleet.renew([told.value["instance"]])
                screen.fill(told.value, self.now_ms())

    def _ask_more(self) -> None:
        """Requests what the stream does not contain, at limited rates, and never while the same request is running."""
        now = time.monotonic()
        if self.state.name != LIVE:
            return
        if self.fleet.newcomers and now >= self._newer_at:
            self._newer_at = now + 1.0
            self.link.ask("newer", _jobs.newer(min(self.fleet.newcomers)))
        if self.fleet.outdated and now >= self._some_at:
            self._some_at = now + 1.0
            self.link.ask("some", _jobs.some(list(itertools.islice(self.fleet.outdated, SOME))))
        if now >= self._held_at and (self.fleet.counts.get("held", 0) or self.fleet.held):
            self._held_at = now + 1.0
            self.link.ask("held", _jobs.held)
        if now >= self._stats_at:
            self._stats_at = now + STATS_S
            self.link.ask("stats", _jobs.stats)
        if isinstance(self.screen, Detail) and now >= self._detail_at:
            self._detail_at = now + DETAIL_S
            self._ask_detail(self.screen.instance_id)

    def _ask_detail(self, id_: int) -> None:
        row = self.fleet.rows.get(id_)
        if row is not None:
            self.link.ask(f"detail {id_}", _jobs.detail(id_, row.service, row.instance_id))

    # -- drawing

    def draw(self) -> None:
        if self.frozen or self.is_ending:
            return
        self._show_view()
        self.top.update()
        self._show_selected()

    def _show_view(self) -> None:
        """Rebuilds the view's list if something changed; at most a fifth of the time goes into that."""
        view = self.view
        order = list(ORDERS)[self._order]
        self.top.view, self.top.terms = view, self.terms
        self.top.order = {"grid": ["by service", "worst first"][self._order == 0], "table": order}.get(view, "")
        ages = int(time.monotonic()) if order.startswith("longest") else 0
        shown = (self.fleet.version, self.terms, ages, f"{view} {order}")
        self.grid.empty = self.table.empty = self.feed.empty = self._empty_words()
        began = time.monotonic()
        if shown == self._shown or (began < self._rest_until and shown[1:] == self._shown[1:]):
            {"grid": self.grid, "table": self.table, "events": self.feed}[view].repaint()
            return
        self._shown = shown
        if view == "events":
            self.feed.show(self.fleet.find_events(self.terms))
        elif view == "table":
            self.table.show(ORDERS[order](self.fleet.find(self.terms)))
        else:
            self.grid.show(self.fleet.find(self.terms), worst_first=self._order == 0, tail=self._tail())
        self._rest_until = time.monotonic() + 5 * (time.monotonic() - began)

    def _tail(self) -> list[ListedEvent]:
        """The newest events of a level above NORMAL."""
        important = (one for one in self.fleet.find_events(self.terms) if one.event["level"] != "NORMAL")
        return list(itertools.islice(important, self.size.height))

    def _empty_words(self) -> str:
        if self.state.name == CONNECTING:
            return "loading ..."
        if self.terms:
            return "nothing matches the filter; press escape to clear it"
        if self.view == "events":
            return "no events yet"
        return f"no instances yet; try: heartfelt demo --monitor {self._url}"

    def _show_selected(self) -> None:
        self.bottom.row = self.current
        self.bottom.now_ms = self.now_ms()
        self.bottom.text = words_of(self.feed.current.event) if self.view == "events" and self.feed.current else ""
        lists: dict[str, Lines[Any]] = {"table": self.table, "events": self.feed}
        lines = lists.get(self.view)
        self.bottom.place = "" if lines is None else f"{lines.cursor + bool(lines.items):,}/{len(lines.items):,}"
        self.bottom.repaint()

    @property
    def view(self) -> str:
        return self.switcher.current or VIEWS[0]

    @property
    def current(self) -> Row | None:
        """The instance under the cursor, in its present state."""
        if isinstance(self.screen, Detail):
            return self.fleet.rows.get(self.screen.instance_id)
        row = self.grid.current if self.view == "grid" else self.table.current if self.view == "table" else None
        return None if row is None else self.fleet.rows.get(row.id, row)

    def on_moved(self, _: Moved) -> None:
        self.bottom.said = ""
        self._show_selected()

    def on_chosen(self, chosen: Chosen) -> None:
        if self.view == "events":
            entry = next((one for one in self.fleet.events if one.number == chosen.key), None)
            if entry is not None:
                self.push_screen(EventDetail(entry))
        elif isinstance(chosen.key, int):
            self.push_screen(Detail(chosen.key))
            self._detail_at = 0.0

    # -- keys

    def action_view(self, name: str) -> None:
        if self.screen is not self.base:
            return
        self.switcher.current = name
        self.base.query_one(f"#{name}").focus()
        self.call_after_refresh(self.draw)

    def action_next_view(self) -> None:
        self.action_view(VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)])

    def action_filter(self) -> None:
        if self.screen is self.base:
            self.query_one("#filter").add_class("shown")
            self.query_one(FilterInput).focus()

    def on_input_changed(self, changed: FilterInput.Changed) -> None:
        self.terms = changed.value.strip()
        self.draw()

    def on_filter_input_done(self, done: FilterInput.Done) -> None:
        if not done.kept:
            self.action_no_filter()
        self.query_one("#filter").remove_class("shown")
        self.query_one(f"#{self.view}").focus()

    def action_no_filter(self) -> None:
        self.query_one(FilterInput).value = ""
        self.bottom.said = ""
        self.draw()

    def action_order(self) -> None:
        self._order = (self._order + 1) % (2 if self.view == "grid" else len(ORDERS))
        self.draw()

    def action_freeze(self) -> None:
        self.frozen = not self.frozen
        self.bottom.say("frozen; press space to continue" if self.frozen else "", is_error=self.frozen)
        self.draw()

    def action_theme(self) -> None:
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name
        self.call_after_refresh(self.draw)

    def action_help(self) -> None:
        if self.screen is self.base:
            self.push_screen(Help())

    def on_do(self, do: Do) -> None:
        {"ack": self.action_ack, "pause": self.action_pause, "remove": self.action_remove}[do.what]()

    def action_ack(self) -> None:
        row = self.current
        if row is None:
            return
        if row.state not in ("FAILED", "LOST"):
            self.bottom.say("only a loss or a failure can be acknowledged", is_error=True)
            return
        question = f"Acknowledge {row.service}/{row.instance_id[:40]}?\nNobody is notified again until it recovers."
        self._after(question, f"acknowledge {row.id}", _jobs.ack(row.id))

    def action_pause(self) -> None:
        row = self.current
        if row is None:
            return
        if row.state == "PAUSED":
            self.link.ask(f"resume {row.id}", _jobs.resume(row.id))
            return
        question = f"Pause {row.service}/{row.instance_id[:40]}?\nNotifications are suppressed until it is resumed (p)."
        self._after(question, f"pause {row.id}", _jobs.pause(row.id))

    def action_remove(self) -> None:
        row = self.current
        if row is not None:
            question = f"Remove {row.service}/{row.instance_id[:40]}?\nIt joins again when it sends a beat."
            self._after(question, f"remove {row.id}", _jobs.remove(row.id))

    def action_release(self) -> None:
        if self.fleet.hold["state"] == "HOLDING":
            self._after(f"Release {self.fleet.hold['held']:,} held losses?", "release", _jobs.release)

    def _after(self, question: str, what: str, job: Job) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.link.ask(what, job)

        self.push_screen(Confirm(question), answered)
