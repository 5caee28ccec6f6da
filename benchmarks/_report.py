# SPDX-License-Identifier: MIT
"""Shows results: as lines while they come, or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from _ours import ByKey
from _peers import PEERS
from _sides import Ratio
from _standings import Standing

GOALS_HEAD = f"{'keys':>9}  {'operation':<23}{'':>11}  {'against':<22}{'':>11}  {'ratio':>6}   goal"
PEERS_HEAD = f"{'keys':>9}  {'question':<10}{'way':<25}{'':>11}  {'times ours':>10}"


def goal_line(ratio: Ratio) -> str:
    goal = "" if ratio.goal is None else f"{ratio.goal:5.2f}  {'reached' if ratio.ratio <= ratio.goal else 'MISSED'}"
    return (
        f"{ratio.n_keys:>9,}  {ratio.name:<23}{ratio.ours:>8.1f} {ratio.unit:<2}  "
        f"{ratio.against:<22}{ratio.theirs:>8.1f} {ratio.unit:<2}  {ratio.ratio:>6.2f}  {goal}"
    ).rstrip()


def peer_line(one: Standing) -> str:
    return f"{one.n_keys:>9,}  {one.question:<10}{one.name:<25}{one.each:>8,.0f} {one.unit:<2}  {one.times_ours:>10.2f}"


def notes() -> str:
    """The notes on each peer for its users."""
    return "\n".join(f"{kind.name}: {kind.note}" for kind in PEERS)


def markdown(ratios: list[Ratio], standings: list[Standing]) -> str:
    parts = []
    if ratios:
        parts.append("\n".join(goals_table(ratios)))
    if standings:
        parts.append("\n".join(peers_table(standings)))
    return "\n\n".join(parts)


def goals_table(ratios: list[Ratio]) -> Iterable[str]:
    sizes = sorted({ratio.n_keys for ratio in ratios})
    found = {(ratio.name, ratio.n_keys): ratio for ratio in ratios}
    yield row("operation", "against", *(f"{size:,} keys" for size in sizes))
    yield "|---" * (2 + len(sizes)) + "|"
    for name, against in dict.fromkeys((ratio.name, ratio.against) for ratio in ratios):
        yield row(*coded(name, against), *(goal_cell(found.get((name, size))) for size in sizes))


def goal_cell(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    if ratio.unit == "B":
        return f"{ratio.ours:.0f} B (goal {ratio.theirs:.0f})" if ratio.goal is not None else f"{ratio.ours:.0f} B"
    return f"{ratio.ratio:.2f}" + ("" if ratio.goal is None else f" (goal {ratio.goal:g})")


def peers_table(standings: list[Standing]) -> Iterable[str]:
    """Beats with each number of keys; everything else with the largest number."""
    sizes = sorted({one.n_keys for one in standings if one.question == "beat"})
    columns = [("beat", size) for size in sizes] + [("expiry", sizes[-1])]
    found = {(one.name, one.question, one.n_keys): one for one in standings}
    bytes_a_key = {one.name: one for one in standings if one.question == "memory"}
    why = {kind.name: kind.note for kind in PEERS}
    heads = [f"a beat, {size:,} keys" for size in sizes]
    yield row("", *heads, f"{sizes[-1]:,} expire", "bytes a key", "")
    yield "|---" * (len(sizes) + 4) + "|"
    for name in dict.fromkeys(one.name for one in standings):
        cells = [peer_cell(found.get((name, *column))) for column in columns]
        yield row(
            *coded(name), *cells, f"{bytes_a_key[name].each:,.0f}" if name in bytes_a_key else "", why.get(name, "")
        )


def peer_cell(one: Standing | None) -> str:
    if one is None:
        return ""
    if one.question == "expiry":
        return f"{one.each * one.n_keys / 1e6:,.0f} ms"
    ours = f" (x {one.times_ours:,.{0 if one.times_ours >= 10 else 1 if one.times_ours >= 1 else 2}f})"
    return f"{one.each:,.0f} ns" + ("" if one.name == ByKey.name else ours)


def coded(*names: str) -> list[str]:
    """Marks code as code."""
    return [f"`{name}`" if any(sign in name for sign in "=(.") else name for name in names]


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
