# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The short form of the fault suite: some of every kind. `make test-faults` runs all of it."""

from __future__ import annotations

import os

import pytest

from tests.faults import campaign, lab, trials
from tests.faults.trials import Trial

SEED = int(os.environ.get("MUSTER_FAULTS_SEED", "1"))
TRIALS = trials.short(SEED, [name for name in lab.hosts() if name != lab.SMALL])


@pytest.fixture(scope="session")
def reports(machines: dict[str, lab.Machine]) -> dict[int, campaign.Report]:
    """All trials, carried out on all hosts side by side; number → report."""
    found = campaign.run_trials(machines, TRIALS)
    print(f"\n{campaign.table(found)}\nseed {SEED}")
    return {report.trial.number: report for report in found}


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: f"{trial.number}: {trial.label}")
def test_a_host_ends_on_one_release(trial: Trial, reports: dict[int, campaign.Report]) -> None:
    report = reports[trial.number]
    assert not report.violations, f"{campaign.complaint(report)}\n{report.output}"
