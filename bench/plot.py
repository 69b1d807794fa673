# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plot of docs/benchmarks.md, from the figures of a run: `plot.py FIGURES.json PLOT.svg`. Has a venv of its own."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

# Okabe and Ito's colours, which also people tell apart who see fewer.
OURS, PEER, FLOOR = "#0072B2", "#D55E00", "#8C8C8C"
INK, FAINT = "#222222", "#DDDDDD"
# The panels: title, and the names of the cases with the label of each.
PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Nothing to change",
        (
            ("ping", "a playbook that only pings"),
            ("nothing-1", "deploy.yml, 1 agent"),
            ("nothing-20", "deploy.yml, 20 agents"),
            ("nothing-200", "deploy.yml, 200 agents"),
            ("pyinfra", "pyinfra, 20 agents"),
            ("tasks", "looped tasks, 20 agents"),
        ),
    ),
    (
        "Something to change, 20 agents",
        (
            ("rollback", "rollback.yml, one of them"),
            ("changed", "deploy.yml, one changed"),
            ("first", "deploy.yml, all new"),
            ("first-tasks", "looped tasks, all new"),
        ),
    ),
)
COLOURS = {"ping": FLOOR, "pyinfra": PEER, "tasks": PEER, "first-tasks": PEER}


def draw(figures: dict[str, Any], target: Path) -> None:
    """`figures`: what a run wrote; cases that were not measured are left out."""
    results = {one["name"]: one for one in figures["results"]}
    panels = [(title, [one for one in cases if one[0] in results]) for title, cases in PANELS]
    panels = [(title, cases) for title, cases in panels if cases and "ping" in results]
    growth = _growth(results)
    heights = [len(cases) + 0.6 for _title, cases in panels] + ([3.4] if growth else [])
    if not heights:
        raise SystemExit("nothing to draw: the ping was not measured")
    figure, grid = pyplot.subplots(
        len(heights),
        1,
        figsize=(8.4, 0.40 * sum(heights) + 1.4),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    axes: list[Axes] = list(grid[:, 0])
    longest = max((_median(results[name]) for _title, cases in panels for name, _label in cases), default=1)
    for one, (title, cases) in zip(axes, panels):
        _bars(one, title, cases, results, longest)
    if growth:
        _lines(axes[-1], growth, f"Nothing to change, more hosts ({figures['each']} agents on each)")
    figure.suptitle(
        "Seconds from the start of a command to its end, and how many times a ping that is", color=INK
    )
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def _median(result: dict[str, Any]) -> float:
    return float(statistics.median(one["seconds"] for one in result["samples"]))


def _bars(
    axes: Axes, title: str, cases: list[tuple[str, str]], results: dict[str, dict[str, Any]], longest: float
) -> None:
    """Each stalk begins at the ping, so that on the logarithmic scale its length is the ratio; a thin line is the spread."""
    floor = _median(results["ping"])
    for at, (name, _label) in enumerate(cases):
        seconds = [one["seconds"] for one in results[name]["samples"]]
        median, colour = statistics.median(seconds), COLOURS.get(name, OURS)
        axes.plot([floor, median], [at, at], color=colour, linewidth=5, solid_capstyle="butt")
        axes.plot([min(seconds), max(seconds)], [at, at], color=colour, linewidth=1.5)
        axes.plot(median, at, "o", color=colour, markersize=10)
        times = f"   {median / floor:.1f} ×" if name != "ping" else ""
        axes.annotate(
            f"{median:.1f} s{times}",
            (max(seconds), at),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.axvline(floor, color=FLOOR, linewidth=1.0, linestyle=(0, (3, 3)), zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(floor * 0.88, max(longest, 2 * floor) * 3.5)
    axes.set_yticks(range(len(cases)), [label for _name, label in cases])
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.set_title(title, loc="left", fontweight="bold", color=INK)
    ticks = [times for times in (1, 2, 5, 10, 20, 50, 100, 200) if times * floor <= longest * 1.3]
    axes.set_xticks([times * floor for times in ticks], [f"{times} ×" for times in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    _calm(axes)


def _growth(results: dict[str, dict[str, Any]]) -> list[tuple[int, float, float]]:
    """(hosts, seconds of the deploy, seconds of the ping) of the fleet that grows."""
    return [
        (int(name.removeprefix("hosts-")), _median(result), _median(results[result["floor"]]))
        for name, result in results.items()
        if name.startswith("hosts-") and result["floor"] in results
    ]


def _lines(axes: Axes, growth: list[tuple[int, float, float]], title: str) -> None:
    hosts = [one[0] for one in growth]
    for column, colour, label in ((1, OURS, "deploy.yml"), (2, FLOOR, "ping")):
        seconds = [one[column] for one in growth]
        axes.plot(hosts, seconds, color=colour, marker="o", linewidth=2)
        times = f"   {seconds[-1] / growth[-1][2]:.1f} ×" if column == 1 else ""
        # Away from the other line, whose end may be near.
        upper = seconds[-1] == max(growth[-1][1:])
        axes.annotate(
            f"{label}  {seconds[-1]:.1f} s{times}",
            (hosts[-1], seconds[-1]),
            xytext=(10, 0),
            textcoords="offset points",
            va="bottom" if upper else "top",
            color=colour,
            fontweight="bold",
        )
    axes.set_xticks(hosts, [f"{one} host{'s' if one > 1 else ''}" for one in hosts])
    axes.set_xlim(min(hosts) - 0.05 * max(hosts), max(hosts) * 1.5)
    axes.set_ylim(0, max(max(one[1:]) for one in growth) * 1.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:g} s"))
    axes.set_title(title, loc="left", fontweight="bold", color=INK)
    _calm(axes)


def _calm(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(length=0, colors=INK)


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    # The same figures give the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "muster", "font.size": 10.5, "figure.facecolor": "white"})
    draw(json.loads(source.read_text()), target)


if __name__ == "__main__":
    main()
