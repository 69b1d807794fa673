# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the benchmark makes of its samples: medians, turns, budgets."""

from __future__ import annotations

import pytest

from bench.figures import Result, Sample, median_steps, ratio, round_robin, verdicts


def result(name: str, *seconds: float, own: float | None = None, floor: str = "ping") -> Result:
    return Result(name, name, floor, [Sample(one, 60.0, own) for one in seconds])


def results(*given: Result) -> dict[str, Result]:
    return {one.name: one for one in given}


def test_one_slow_run_moves_the_spread_and_not_the_median() -> None:
    one = result("nothing-20", 1.5, 1.4, 9.0, 1.6, 1.5)
    assert (one.median, one.low, one.high) == (1.5, 1.4, 9.0)


def test_memory_is_the_highest_of_all_runs() -> None:
    assert Result("x", "x", "ping", [Sample(1, 58), Sample(1, 71), Sample(1, 60)]).megabytes == 71


def test_every_case_runs_once_before_any_runs_again() -> None:
    turns = list(round_robin(["ping", "deploy", "pyinfra"], 5))
    assert len(turns) == 15
    for number in range(1, 6):
        assert sorted(case for turn, case in turns if turn == number) == ["deploy", "ping", "pyinfra"]
    assert [turn for turn, _case in turns] == sorted(turn for turn, _case in turns)


def test_no_case_has_the_same_place_in_every_round() -> None:
    turns = list(round_robin(["ping", "deploy", "pyinfra"], 3))
    assert [case for _turn, case in turns[::3]] == ["ping", "deploy", "pyinfra"]


def test_no_cases_have_no_turns() -> None:
    assert list(round_robin([], 5)) == []


def test_a_ratio_is_to_the_ping_of_the_same_hosts() -> None:
    found = results(
        result("ping", 1.0), result("ping-10", 2.0, floor="ping-10"), result("hosts-10", 5.0, floor="ping-10")
    )
    assert ratio(found, "hosts-10") == 2.5
    assert ratio(found, "ping-10") == 1.0
    assert ratio(results(result("nothing-1", 1.0)), "nothing-1") is None


def test_what_an_agent_takes_itself_is_taken_off_run_by_run() -> None:
    one = Result("changed", "", "ping", [Sample(10, 1, own=8), Sample(6, 1, own=3), Sample(5, 1, own=3)])
    assert one.beside_own == 2
    assert one.own == 3


@pytest.mark.parametrize(
    ("name", "seconds", "own", "others", "measured", "allowed"),
    [
        ("nothing-20", 1.4, None, {"ping": 1.0}, 1.4, 1.5),
        ("nothing-20", 1.4, None, {"pyinfra": 16.0}, 1.4, 2.0),
        ("nothing-200", 2.4, None, {"ping": 1.0}, 2.4, 2.5),
        ("changed", 6.0, 4.5, {"ping": 1.0}, 1.5, 2.0),
        ("rollback", 9.0, 4.5, {}, 4.5, 5.0),
    ],
)
def test_a_budget_is_met_up_to_what_it_allows(
    name: str, seconds: float, own: float | None, others: dict[str, float], measured: float, allowed: float
) -> None:
    beside = [result(other, value) for other, value in others.items()]
    (met,) = verdicts(results(result(name, seconds, own=own), *beside))
    assert (met.measured, met.allowed, met.met) == (measured, allowed, True)
    over = allowed - measured + 0.1
    (missed,) = verdicts(results(result(name, seconds + over, own=own), *beside))
    assert not missed.met


def test_a_budget_of_which_something_was_not_measured_is_no_verdict() -> None:
    assert verdicts(results(result("nothing-20", 1.0), result("changed", 5.0, own=4.0))) == []
    assert verdicts(results(result("nothing-20", 1.0), result("ping"))) == []


def test_a_step_has_its_median_and_the_order_of_the_first_run() -> None:
    samples = [
        Sample(1, 1, steps=(("start", 0.5), ("Ping", 0.2), ("Ping", 0.3), ("end", 0.1))),
        Sample(1, 1, steps=(("start", 0.7), ("Ping", 0.7), ("end", 0.1))),
        Sample(1, 1, steps=(("start", 0.6), ("Ping", 0.6), ("once", 9.0), ("end", 0.4))),
    ]
    assert median_steps(samples) == [("start", 0.6), ("Ping", 0.6), ("end", 0.1)]
    assert median_steps([]) == []
