# SPDX-License-Identifier: MIT
"""One table: each operation of the hub against what Python itself could do at best; with --peers, every peer too.

python benchmarks/ratios.py [--keys N ...] [--peers] [--json FILE] [--markdown]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import _report
import _standings
from _goals import every_goal
from _machine import description, in_words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, nargs="+", default=[10_000, 1_000_000], help="how many are watched")
    parser.add_argument("--peers", action="store_true", help="also what users take instead; needs the group `bench`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")
    parser.add_argument("--markdown", action="store_true", help="print it once more, as Markdown")
    options = parser.parse_args()

    about = description()
    print(f"{in_words(about)}; all sides in turn; goals of the project", flush=True)
    print(_report.GOALS_HEAD, flush=True)
    ratios = []
    for n_keys in options.keys:
        for ratio in every_goal(n_keys):
            ratios.append(ratio)
            print(_report.goal_line(ratio), flush=True)

    standings = []
    if options.peers:
        print(f"\n{_report.PEERS_HEAD}", flush=True)
        asked = [(question, n_keys) for n_keys in options.keys for question in (_standings.beats, _standings.expiry)]
        for question, n_keys in [*asked, (_standings.memory, max(options.keys))]:
            for one in question(n_keys, say):
                standings.append(one)
                print(_report.peer_line(one), flush=True)
        print(f"\n{_report.notes()}")

    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"about": about, "goals": [asdict(one) for one in ratios], "peers": [asdict(one) for one in standings]}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        print(f"\n{about['date']}, {in_words(about)}:\n\n{_report.markdown(ratios, standings)}")


def say(what: str) -> None:
    print(f"{'':>9}  {what}", flush=True)


if __name__ == "__main__":
    main()
