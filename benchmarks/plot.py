# SPDX-License-Identifier: MIT
"""Draws the results of `ratios.py --peers --json FILE`: beat.svg and expiry.svg.

python benchmarks/plot.py FILE [--out DIRECTORY] [--png]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
from _machine import in_words
from _ours import OURS, ByKey
from _peers import PEERS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

DRAINED = "hub.events.get_many(n)"
OUR_NAMES = {kind.name for kind in OURS} | {DRAINED}
EXPIRY_NAMES = {ByKey.name: DRAINED} | {kind.name: f"{kind.name}, asked" for kind in PEERS if not kind.tells}
# Two hues that everybody can tell apart; lightness, which needs no hue, shows the number of keys.
DARK_AND_LIGHT = {True: ("#0072B2", "#7FC0E8"), False: ("#5F5F5F", "#BDBDBD")}
INK = "#222222"
STYLE = {
    "svg.hashsalt": "heartfelt",  # the same file from the same figures
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def in_units(ns: float) -> str:
    """Formats with two digits, or as a whole number."""
    unit, size = next((one for one in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)) if ns >= one[1]), ("ns", 1.0))
    value = ns / size
    return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"


def bars(axes: Axes, found: dict[str, dict[int, float]], sizes: list[int]) -> None:
    """Draws a group for each name, the first on top, with a bar for each number of keys."""
    thick = 0.8 / len(sizes)
    for place, (name, by_size) in enumerate(found.items()):
        for nth, (size, ns) in enumerate(sorted(by_size.items())):
            at = place + (nth - (len(by_size) - 1) / 2) * thick
            axes.barh(at, ns, thick * 0.92, color=DARK_AND_LIGHT[name in OUR_NAMES][sizes.index(size)])
            axes.annotate(in_units(ns), (ns, at), (4, 0), textcoords="offset points", va="center", size=8)
    axes.set_yticks(range(len(found)), found)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in OUR_NAMES else "normal")
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    every = [ns for by_size in found.values() for ns in by_size.values()]
    if max(every) / min(every) > 100:
        axes.set_xscale("log")
        axes.set_xlim(min(every) / 2, max(every) * 4)  # room for the figures at the ends of the bars
    else:
        axes.set_xlim(0, max(every) * 1.12)
    axes.xaxis.set_major_formatter(lambda ns, _: in_units(ns) if ns else "0")


def standings(peers: list[dict[str, Any]], question: str, sizes: list[int]) -> dict[str, dict[int, float]]:
    """{name: {keys: ns}}: ours first, in their order, then the others, from the quickest to the slowest."""
    found: dict[str, dict[int, float]] = {}
    for one in peers:
        if one["question"] == question and one["n_keys"] in sizes:
            found.setdefault(one["name"], {})[one["n_keys"]] = one["each"]
    others = sorted(found.keys() - OUR_NAMES, key=lambda name: min(found[name].values()))
    return {name: found[name] for name in [*(name for name in found if name in OUR_NAMES), *others]}


def draw(title: str, found: dict[str, dict[int, float]], sizes: list[int], about: str, to: Path, png: bool) -> None:
    n_bars = sum(len(by_size) for by_size in found.values())
    height = 1.2 + 0.18 * n_bars + 0.1 * len(found)
    figure = Figure(figsize=(7.6, height), layout="constrained", facecolor="white")  # white also on a dark page
    axes = figure.subplots()
    bars(axes, found, sizes)
    figure.suptitle(title, x=0.01, ha="left", size=11, weight="bold")
    figure.supxlabel(about, x=0.01, ha="left", size=7, color="#666666")
    if len(sizes) > 1:
        patches = [Patch(color=DARK_AND_LIGHT[False][nth], label=f"{size:,} keys") for nth, size in enumerate(sizes)]
        axes.legend(handles=patches, loc="upper right", frameon=True, facecolor="white", edgecolor="none", framealpha=1)
    figure.savefig(to, metadata={"Date": None, "Creator": None})
    print(f"drawn: {to}")
    if png:
        figure.savefig(to.with_suffix(".png"), dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("found", type=Path, help="what ratios.py --peers --json wrote")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to")
    parser.add_argument("--png", action="store_true", help="also as PNG")
    options = parser.parse_args()
    read = json.loads(options.found.read_text(encoding="utf-8"))
    if not read["peers"]:
        parser.error(f"{options.found} knows no peers: write it with ratios.py --peers")
    about = f"{read['about']['date']}, {in_words(read['about'])}"
    all_sizes = {one["n_keys"] for one in read["peers"] if one["question"] == "beat"}
    sizes = sorted({min(all_sizes), max(all_sizes)})
    with matplotlib.rc_context(STYLE):
        beats = standings(read["peers"], "beat", sizes)
        below = f"Logarithmic scale. {about}"
        draw("One beat of a watched key", beats, sizes, below, options.out / "beat.svg", options.png)
        most = sizes[-1]
        expiry = {
            EXPIRY_NAMES.get(name, name): {most: by_size[most] * most}
            for name, by_size in standings(read["peers"], "expiry", [most]).items()
        }
        title = f"{most:,} keys time out at one instant: until the user has every one of them"
        below = f"Asked: does not tell by itself which keys timed out. {about}"
        draw(title, expiry, [most], below, options.out / "expiry.svg", options.png)


if __name__ == "__main__":
    main()
