# SPDX-License-Identifier: MIT
"""Draws docs/images/*.png: each page of the panel, light and dark, with a monitor that is fed with 1,000 instances.

    make screenshots

Run by hand when the panel has changed its looks; look at the pictures before you commit them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

from playwright.sync_api import sync_playwright

from tests import ROOT
from tests.browser import conftest
from tests.browser.pages import Visit
from tests.browser.target import Target
from tests.monitor.serving import Serving, command, until

IMAGES = ROOT / "docs" / "images"
PAGES = {
    "overview": "/", "instances": "/instances", "services": "/services", "events": "/events?range=all",
    "webhooks": "/webhooks", "tokens": "/tokens", "settings": "/settings",
}  # fmt: skip
SIZE = (1280, 800)


def feed(monitor, instances):
    """Until somebody ends it."""
    arguments = command("demo", "--monitor", monitor.url, "--services", instances)
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL)


def furnish(monitor, target):
    """Two webhooks, of which one works, and two tokens."""
    hook = {"kind": "generic", "allow_private": True, "secret": "of these pictures"}
    monitor.post("/api/v1/webhooks", hook | {"name": "on call", "url": target.url})
    broken = {"name": "a chat that is gone", "url": "http://127.0.0.1:9/hook", "language": "zh"}
    monitor.post("/api/v1/webhooks", hook | broken | {"filter": {"services": ["ledger", "cat*"]}})
    for name, scopes in (("agents in Frankfurt", ["ingest"]), ("the wall in the office", ["read"])):
        monitor.post("/api/v1/tokens", {"name": name, "scopes": scopes})


def an_instance(monitor):
    """One that was lost and came back, if there is one by now."""
    changes = monitor.json("/api/v1/changes", limit=1000)["changes"]
    recovered = [one for one in changes if one["outage_ms"] and one["service"] != "jobs"]
    chosen = recovered[0]["id"] if recovered else monitor.json("/api/v1/instances", limit=1)["instances"][0]["id"]
    return f"/instances/{chosen}"


def shoot(browser, monitor, name, path, scheme):
    one = Visit(browser, monitor.url, path, size=SIZE, scheme=scheme)
    one.page.wait_for_selector("main h1", state="attached")
    one.page.wait_for_selector("[aria-busy=true]", state="detached")
    one.page.wait_for_timeout(1500)  # what is drawn by and by: charts, the pages of a table
    one.page.screenshot(path=IMAGES / f"{name}-{scheme}.png", full_page=name == "overview")
    for problem in one.end():
        print(f"{name}, {scheme}: {problem}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--after", type=float, default=180.0, metavar="SECONDS", help="how long it is fed before (180)")
    parser.add_argument("--only", nargs="+", choices=[*PAGES, "instance"], default=[*PAGES, "instance"])
    options = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, Target() as target, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=conftest.find_chromium(), args=conftest.FLAGS)
        os.chdir(data)  # the settings are in the pictures: no path of this machine
        monitor = Serving(data="heartfelt-data")
        monitor.wait_ready()
        furnish(monitor, target)
        feeding = feed(monitor, options.instances)
        try:
            until(lambda: monitor.json("/api/v1/instances", limit=1)["matched"] >= options.instances, "the fleet")
            time.sleep(options.after)
            for scheme in ("light", "dark"):
                for name, path in {**PAGES, "instance": an_instance(monitor)}.items():
                    if name in options.only:
                        shoot(browser, monitor, name, path, scheme)
        finally:
            feeding.terminate()
            feeding.wait()
            browser.close()
            monitor.end()
            os.chdir(ROOT)
    print(f"drawn: {len(list(IMAGES.glob('*.png')))} pictures in {IMAGES}")


if __name__ == "__main__":
    main()
