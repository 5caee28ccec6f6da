# SPDX-License-Identifier: MIT
"""`heartfelt top` without a terminal: its screen as text, its keys pressed, its link to a monitor real."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import html
import re
import time

from rich.cells import cell_len

from heartfelt.cli._client import ApiClient
from heartfelt.cli._top.app import TopApp
from heartfelt.cli._top.link import MonitorLink
from tests.cli.fake_monitor import view_of

PATIENCE_S = 40
COLUMN = 12.2  # how wide a column is in such an SVG
TEXT = re.compile(r'<text([^>]*) x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', re.DOTALL)


def joined(parts):
    """Texts at their places: what is blank is left out of an SVG."""
    line = ""
    for x, text in parts:
        line += " " * (round(x / COLUMN) - cell_len(line)) + text
    return line


class Screen:
    """A running program."""

    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    @property
    def lines(self):
        """Returns the lines on the screen, taken from its SVG export."""
        found = {}
        for attributes, x, y, text in TEXT.findall(self.app.export_screenshot()):
            if "-title" not in attributes and text != "\n":
                found.setdefault(float(y), []).append((float(x), html.unescape(text).replace("\xa0", " ")))
        return [joined(sorted(found[y])) for y in sorted(found)]

    @property
    def text(self):
        return "\n".join(self.lines)

    async def until(self, condition, what):
        """Waits until the condition is true and returns its value. If it stays false, the test fails with the
        screen."""
        give_up = time.monotonic() + PATIENCE_S
        while not (value := condition()):
            assert time.monotonic() < give_up, f"{what} did not come about:\n{self.text}"
            await self.pilot.pause(0.02)
        return value

    async def shows(self, *texts):
        """Once all of these texts are on the screen."""
        for text in texts:
            await self.until(lambda text=text: text in self.text, f"{text!r}")

    async def press(self, *keys):
        await self.pilot.press(*keys)
        await self.pilot.pause()


@contextlib.asynccontextmanager
async def screen_of(url, size=(80, 24), token_env=None):
    link = MonitorLink(lambda timeout_s: ApiClient(url, timeout_s=timeout_s, token_env=token_env), jitter_seed=1)
    app = TopApp(link, url)
    async with app.run_test(size=size) as pilot:
        yield Screen(app, pilot)
    assert not any(thread.is_alive() for thread in link._threads)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE_S + 10))


def on_screen(**options):
    """The test is given the screen of a program that watches its monitor."""

    def wrap(test):
        @functools.wraps(test)
        def wrapped(monitor):
            async def main():
                monitor.put(view_of(1), view_of(2, state="LOST"), view_of(3, "cart", "STUCK"), view_of(4, "cart"))
                async with screen_of(monitor.url, **options) as screen:
                    await screen.shows("live")
                    await test(monitor, screen)

            run(main())

        del wrapped.__wrapped__  # pytest is to see the fixture alone
        return wrapped

    return wrap
