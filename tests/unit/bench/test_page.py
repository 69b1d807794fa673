# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a reader of docs/benchmarks.md finds."""

from __future__ import annotations

from bench.figures import Result, Sample, Verdict, verdicts
from bench.page import Machine, budgets, page, table

MACHINE = Machine(
    2, "Some CPU", "6.1.0", "Debian GNU/Linux 12", "Debian bookworm", "2.19.14", "3.11", "3.10.0", 0.2
)
STEPS = (("start of ansible-playbook", 0.6), ("Ping", 0.35), ("a", 0.01), ("b", 0.015))
RESULTS = {
    "ping": Result("ping", "A ping", "ping", [Sample(1.0, 59, steps=STEPS), Sample(1.2, 58, steps=STEPS)]),
    "changed": Result("changed", "One changed agent of 20", "ping", [Sample(6.6, 70, own=4.2)]),
}


def test_the_table_has_a_line_for_each_case() -> None:
    lines = table(list(RESULTS.values()), RESULTS).splitlines()
    assert lines[2] == "| A ping | 2 | 1.10 | 1.00 to 1.20 | 1.0 × | 59 |"
    assert lines[3] == "| One changed agent of 20 | 1 | 6.60 | 6.60 to 6.60 | 6.0 × | 70 |"


def test_a_budget_says_both_figures_and_whether_it_is_met() -> None:
    text = budgets([Verdict("fast", 1.0, 1.5), Verdict("faster", 2.0, 1.5)])
    assert "| fast | 1.00 s | 1.50 s | met |" in text
    assert "| faster | 2.00 s | 1.50 s | **missed** |" in text


def test_no_budget_is_said_rather_than_an_empty_table() -> None:
    assert budgets([]) == "Not all of what a budget compares was measured."


def test_the_page_says_where_it_was_measured_what_agents_take_and_what_was_left_out() -> None:
    text = page(RESULTS, verdicts(RESULTS), MACHINE, ["Rollback was not measured."])
    assert "2 cores (Some CPU), Linux 6.1.0, Debian GNU/Linux 12" in text
    assert "One changed agent of 20: 4.20 s." in text
    assert "Rollback was not measured." in text
    assert "![" in text and "(benchmarks.svg)" in text
    assert "More hosts" not in text


def test_where_the_time_goes_sums_up_what_is_short() -> None:
    text = page(RESULTS, [], MACHINE, [])
    assert "| start of ansible-playbook | 600 |" in text
    assert "| steps shorter than 20 ms, in all | 25 |" in text
    assert "| a |" not in text
