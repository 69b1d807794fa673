# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""docs/benchmarks.md, written from the figures of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Result, Results, Verdict, median_steps, ratio

_SHORTEST_STEP = 0.02


@dataclass(frozen=True)
class Machine:
    """On what it was measured."""

    cores: int
    processor: str
    kernel: str
    system: str
    hosts: str
    ansible: str
    python: str
    pyinfra: str
    load: float

    @property
    def sentence(self) -> str:
        return (
            f"{self.cores} cores ({self.processor}), Linux {self.kernel}, {self.system}; hosts {self.hosts}; "
            f"ansible-core {self.ansible} on Python {self.python}; pyinfra {self.pyinfra}; "
            f"load before the start {self.load:.1f}."
        )


_HOW = (
    "Hosts are containers that boot systemd, reached over SSH at 127.0.0.1, with pipelining as in `ansible.cfg`. Each fleet has "
    "a broker of its own on a further host; an agent is the built-in reference agent, offline, with a config of its own.",
    "What counts is the command as a person runs it, from its start to its end by the clock. Cases take turns: each runs once "
    "before any runs again.",
    "Ansible's SSH connections are open already, as they are at the second command within a minute: a ping before each run, "
    "which does not count, sees to that for all playbooks, the ping that counts among them. pyinfra opens its own each time.",
    "The ping is Ansible's own module: Ansible's library travels with it and is compiled on the host, every time. A deploy asks "
    "the engine that is installed there, which is compiled; so it can be nearly as fast, though it does more.",
    "A run that was to change nothing and changes something is an error, and so is any run that fails.",
    "First deploys meet new hosts; Debian's mosquitto is installed on the broker's already, so no package mirror is measured.",
    "Memory is the largest resident set of any one process of the command on the controller; of all runs, the highest.",
    "The peers are in `bench/peers`: builtin tasks looped over the agents, and the same files and services by pyinfra.",
)
_GROWTH = (
    "More hosts: one fleet grows, with its broker on the first host; at each size its deploy and a ping of the same hosts "
    "take turns."
)


def page(results: Results, found: Sequence[Verdict], machine: Machine, notes: Sequence[str]) -> str:
    """The whole page, in Markdown."""
    how = [*_HOW, *([_GROWTH] if any(name.startswith("hosts-") for name in results) else [])]
    parts = [
        "# Benchmarks\n\nWritten by `make bench`. Ratios count: the seconds are this machine's.",
        "![Seconds of each case, and how many times a ping that is](benchmarks.svg)",
        "## Budgets\n\n" + budgets(found),
        "## Figures\n\n" + table(list(results.values()), results),
        *notes,
        _own_start(results),
        "## Where the time goes\n\n" + _where(results),
        f"## How it was measured\n\n{machine.sentence}\n\n" + "\n".join(f"- {line}" for line in how),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def budgets(found: Sequence[Verdict]) -> str:
    """The budgets, each with its figures and whether it is met."""
    if not found:
        return "Not all of what a budget compares was measured."
    rows = [
        f"| {one.text} | {one.measured:.2f} s | {one.allowed:.2f} s | {'met' if one.met else '**missed**'} |"
        for one in found
    ]
    return "\n".join(["| budget | measured | allowed | |", "|---|--:|--:|---|", *rows])


def table(shown: Sequence[Result], results: Results) -> str:
    """One line for each case that was measured."""
    rows = []
    for one in shown:
        times = ratio(results, one.name)
        rows.append(
            f"| {one.title} | {len(one.samples)} | {one.median:.2f} | {one.low:.2f} to {one.high:.2f} | "
            f"{'' if times is None else f'{times:.1f} ×'} | {one.megabytes:.0f} |"
        )
    head = "| | runs | median, s | lowest to highest, s | times the ping | memory, MB |"
    return "\n".join([head, "|---|--:|--:|--:|--:|--:|", *rows])


def _own_start(results: Results) -> str:
    """How long the agents themselves took, of the cases that start one."""
    own = [f"{one.title}: {one.own:.2f} s" for one in results.values() if one.own is not None]
    if not own:
        return ""
    return (
        "An agent's own start is in those figures, as the engine's history has it: the old process stops, the new one gets ready "
        f"and stays healthy for `min_healthy_time` (3 s). {'; '.join(own)}."
    )


def _where(results: Results) -> str:
    """What a deploy with nothing to change is at, step by step, and the ping beside it."""
    tables = [_steps(results[name]) for name in ("ping", "nothing-20", "nothing-200") if name in results]
    return "\n\n".join(tables) if tables else "Not measured."


def _steps(result: Result) -> str:
    found = median_steps(result.samples)
    short = sum(seconds for _name, seconds in found if seconds < _SHORTEST_STEP)
    rows = [f"| {name} | {seconds * 1000:.0f} |" for name, seconds in found if seconds >= _SHORTEST_STEP]
    if short:
        rows.append(f"| steps shorter than {_SHORTEST_STEP * 1000:.0f} ms, in all | {short * 1000:.0f} |")
    return "\n".join([f"| {result.title} | ms |", "|---|--:|", *rows])
