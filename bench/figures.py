# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the benchmark's samples come to: medians, spreads, ratios, budgets. Pure functions; seconds and megabytes (10^6)."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Case = TypeVar("Case")

PING, PYINFRA, TASKS = "ping", "pyinfra", "tasks"
ONE, TWENTY, TWO_HUNDRED = "nothing-1", "nothing-20", "nothing-200"
CHANGED, ROLLBACK, FIRST, FIRST_TASKS = "changed", "rollback", "first", "first-tasks"


@dataclass(frozen=True)
class Sample:
    """One run of a command. `own`: seconds that the agent itself took to come up, where it was started; `steps`: what the
    command said it was at, in order, with the seconds until it said the next thing."""

    seconds: float
    megabytes: float
    own: float | None = None
    steps: tuple[tuple[str, float], ...] = ()


@dataclass
class Result:
    """All samples of one case. `floor` names the case that pings the same hosts; for the ping itself its own name."""

    name: str
    title: str
    floor: str
    samples: list[Sample] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(one.seconds for one in self.samples)

    @property
    def low(self) -> float:
        return min(one.seconds for one in self.samples)

    @property
    def high(self) -> float:
        return max(one.seconds for one in self.samples)

    @property
    def megabytes(self) -> float:
        """The highest of all runs: memory that was needed once must be there."""
        return max(one.megabytes for one in self.samples)

    @property
    def own(self) -> float | None:
        """The median of what the agents themselves took; None where none was started."""
        known = [one.own for one in self.samples if one.own is not None]
        return statistics.median(known) if known else None

    @property
    def beside_own(self) -> float:
        """The median of what the command took beside the agent's own start."""
        return statistics.median(one.seconds - (one.own or 0.0) for one in self.samples)


Results = Mapping[str, Result]


def round_robin(cases: Sequence[Case], rounds: int) -> Iterator[tuple[int, Case]]:
    """(round, case), rounds from 1: every case once before any comes again, so that a noisy minute hits all alike.

    Each round begins one case later, so that no case always follows the same pause.
    """
    for number in range(rounds):
        start = number % len(cases) if cases else 0
        for case in (*cases[start:], *cases[:start]):
            yield number + 1, case


def ratio(results: Results, name: str) -> float | None:
    """How many times the ping of the same hosts a case takes; None where that was not measured."""
    result = results[name]
    floor = results.get(result.floor)
    return result.median / floor.median if floor and floor.samples else None


@dataclass(frozen=True)
class Verdict:
    """One budget: `measured` against `allowed`, both in seconds."""

    text: str
    measured: float
    allowed: float

    @property
    def met(self) -> bool:
        return self.measured <= self.allowed


def verdicts(results: Results) -> list[Verdict]:
    """The budgets of design section 7 and of the benchmark's issue, those of which everything was measured."""

    def have(*names: str) -> bool:
        return all(name in results and results[name].samples for name in names)

    found = []
    if have(TWENTY, PING):
        text = "nothing to change, 20 agents ≤ 1.5 × the ping"
        found.append(Verdict(text, results[TWENTY].median, 1.5 * results[PING].median))
    if have(TWENTY, PYINFRA):
        text = "nothing to change, 20 agents ≤ 1/8 of pyinfra"
        found.append(Verdict(text, results[TWENTY].median, results[PYINFRA].median / 8))
    if have(TWO_HUNDRED, PING):
        text = "nothing to change, 200 agents ≤ 2.5 × the ping"
        found.append(Verdict(text, results[TWO_HUNDRED].median, 2.5 * results[PING].median))
    if have(CHANGED, PING):
        text = "one changed agent of 20, less its own start ≤ 2 × the ping"
        found.append(Verdict(text, results[CHANGED].beside_own, 2 * results[PING].median))
    if have(ROLLBACK):
        text = "rollback of one agent, less its own start ≤ 5 s"
        found.append(Verdict(text, results[ROLLBACK].beside_own, 5.0))
    return found


def median_steps(samples: Sequence[Sample]) -> list[tuple[str, float]]:
    """The steps that the runs have in common, in the order of the first, each with its median; a step met several times
    in one run counts as their sum."""
    totals = [_totals(one.steps) for one in samples]
    if not totals:
        return []
    return [
        (name, statistics.median(one[name] for one in totals))
        for name in totals[0]
        if all(name in one for one in totals)
    ]


def _totals(steps: Sequence[tuple[str, float]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for name, seconds in steps:
        totals[name] = totals.get(name, 0.0) + seconds
    return totals
