# SPDX-License-Identifier: MIT
"""Frame times of the panel's overview in chromium, with many instances that beat: `make bench-panel`.

python benchmarks/panel.py [--instances N ...] [--seconds S] [--interval S] [--json FILE]

A monitor, `heartfelt demo --monitor` as its fleet (each beats every 3 s; some are lost, leave, get stuck), and chromium
without a window, which paints in software. In turn with it, a page that does nothing in its frames: the best that the
machine and the browser can do. "Work" is the time that the page's own code takes in a frame.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _machine import description, in_words
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
VIEW = {"width": 1280, "height": 800}
PATIENCE_S = 120
SLOW_MS = 1.5 * 1000 / 60  # a frame that took longer was missed, at 60 a second

# Runs before the page's own code: notes when each frame began and how long its callbacks took.
NOTE_FRAMES = """
window.noted = { begins: [], work: [] };
const raf = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (fn) => raf((at) => {
  const begin = performance.now();
  fn(at);
  const took = performance.now() - begin;
  const { begins, work } = window.noted;
  if (begins.at(-1) === at) work[work.length - 1] += took;
  else { begins.push(at); work.push(took); }
});
"""
IDLE = "<!doctype html><title>idle</title>"
IDLE_LOOP = "const step = () => requestAnimationFrame(step); step();"


@contextmanager
def program(*command: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def monitored(instances: int, interval_s: float) -> Iterator[str]:
    """The URL of a monitor with this many instances that beat."""
    heartfelt = (sys.executable, "-m", "heartfelt")
    some = [part for name in ("http", "tcp", "udp") for part in (f"--{name}-port", "0")]
    some += ["--set", f"limits.instances_of_client={2 * instances}"]
    with (
        tempfile.TemporaryDirectory() as data,
        program(*heartfelt, "serve", "--data", data, "--ready-json", *some) as it,
    ):
        assert it.stdout is not None
        url = json.loads(it.stdout.readline())["url"]
        with program(
            *heartfelt,
            "demo",
            "--monitor",
            url,
            "--services",
            instances,
            "--interval",
            interval_s,
            "--timeout",
            3 * interval_s,
        ):
            give_up = time.monotonic() + PATIENCE_S
            while count(url) < instances:
                if time.monotonic() > give_up:
                    raise SystemExit(f"of {instances} instances {count(url)} joined in {PATIENCE_S} s")
                time.sleep(0.2)
            yield url


def count(url: str) -> int:
    with urllib.request.urlopen(f"{url}/api/v1/services", timeout=PATIENCE_S) as answer:
        return int(json.load(answer)["all"]["total"])


def frames(page: Page, seconds: float) -> dict[str, list[float]]:
    """The times between frames, and the work in each, in ms, during the next seconds."""
    page.evaluate("window.noted = { begins: [], work: [] }")
    page.wait_for_timeout(seconds * 1000)
    noted = page.evaluate("window.noted")
    begins = noted["begins"]
    return {"between": [later - one for one, later in itertools.pairwise(begins)], "work": noted["work"]}


def figures(found: dict[str, list[float]]) -> dict[str, float]:
    between, work = found["between"], found["work"]
    if len(between) < 10:
        raise SystemExit(f"the page drew only {len(between)} frames; is the machine busy, or the page broken?")
    return {
        "frames_per_s": 1000 / statistics.fmean(between),
        "between_p50_ms": statistics.median(between),
        "between_p99_ms": statistics.quantiles(between, n=100)[98],
        "between_max_ms": max(between),
        "missed_share": sum(one > SLOW_MS for one in between) / len(between),
        "work_p50_ms": statistics.median(work),
        "work_p99_ms": statistics.quantiles(work, n=100)[98],
    }


def measure(browser: Browser, instances: int, seconds: float, interval_s: float) -> dict[str, dict[str, float]]:
    with monitored(instances, interval_s) as url:
        context = browser.new_context(viewport=VIEW)
        context.add_init_script(NOTE_FRAMES)
        pages = {"idle": context.new_page(), "overview": context.new_page()}
        pages["idle"].route("**/idle", lambda route: route.fulfill(body=IDLE, content_type="text/html"))
        pages["idle"].goto(f"{url}/idle")
        pages["idle"].evaluate(IDLE_LOOP)
        pages["overview"].goto(url)
        pages["overview"].wait_for_selector(".grid-label", timeout=PATIENCE_S * 1000)
        total: dict[str, dict[str, list[float]]] = {}
        rounds = 4
        for _ in range(rounds):
            for name, page in pages.items():
                page.bring_to_front()
                page.wait_for_timeout(500)
                found = frames(page, seconds / rounds)
                kept = total.setdefault(name, {"between": [], "work": []})
                for kind, values in found.items():
                    kept[kind] += values
        context.close()
    return {name: figures(found) for name, found in total.items()}


def chromium() -> str:
    named = os.environ.get("HEARTFELT_CHROMIUM")
    found = named or next((path for name in CHROMIUMS if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("there is no chromium: install it, or name one in HEARTFELT_CHROMIUM")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--instances", type=int, nargs="+", default=[10_000], metavar="N", help="how many (10000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each page is looked at (20)")
    parser.add_argument("--interval", type=float, default=3.0, metavar="S", help="between two beats of an instance (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    about = description()
    print(in_words(about))
    rows = []
    print(f"{'':22}{'frames/s':>10}{'p50':>9}{'p99':>9}{'max':>9}{'missed':>9}{'work p50':>11}{'work p99':>11}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for instances in options.instances:
            for name, row in measure(browser, instances, options.seconds, options.interval).items():
                rows.append({"instances": instances, "page": name, **row})
                print(
                    f"{f'{instances:,} {name}':22}{row['frames_per_s']:10.1f}{row['between_p50_ms']:6.1f} ms"
                    f"{row['between_p99_ms']:6.1f} ms{row['between_max_ms']:6.0f} ms{row['missed_share']:9.1%}"
                    f"{row['work_p50_ms']:8.2f} ms{row['work_p99_ms']:8.2f} ms"
                )
        browser.close()
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
