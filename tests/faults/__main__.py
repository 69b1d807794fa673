# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults at every step of a release, on real hosts: `python -m tests.faults --kills 200 --seed 1`."""

from __future__ import annotations

import argparse
import sys
import time

from dev import engine, hosts, image
from dev.hosts import FAULTS
from dev.shell import Failure, attempt, run
from tests.faults import campaign, lab, trials
from tests.faults.trials import Trial


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="randomised ones (default: 200)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the random numbers (default: by the clock)"
    )
    parser.add_argument("--only", default="", help="numbers of trials, comma separated: these and no others")
    parser.add_argument("--list", action="store_true", help="print the trials with their numbers, run none")
    parser.add_argument("--keep", action="store_true", help="leave the hosts running")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else time.time_ns() % 1_000_000
    wanted = choose(seed, asked.kills, {int(word) for word in asked.only.split(",") if word})
    print(f"seed {seed}, {len(wanted)} trials", flush=True)
    if asked.list:
        print("\n".join(f"{trial.number:>5} {trial.label} ({trial.details})" for trial in wanted))
        return 0
    found_engine = engine.answers()
    try:
        make_ready()
        if not asked.only:
            prove_the_judge()
        return carry_out(wanted, seed)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        if not asked.keep:
            hosts.down(FAULTS)
            if not found_engine:
                engine.stop()


def choose(seed: int, kills: int, only: set[int]) -> list[Trial]:
    """All trials, or those with the numbers asked for."""
    whole = [name for name in lab.hosts() if name != lab.SMALL]
    # Numbers below 1000 are the randomised ones.
    highest = max([kills, *(number + 1 for number in only if number < 1000)])
    wanted = [
        *trials.random_kills(highest, seed, whole),
        *trials.interruptions(seed, whole),
        *trials.rollbacks(seed, whole),
        *trials.releases(seed, whole),
        *trials.full_disks(seed),
        *trials.clock_jumps(seed, whole),
        *trials.races(seed, whole),
    ]
    return [trial for trial in wanted if not only or trial.number in only]


def make_ready() -> None:
    """What a fresh clone lacks: the built-in runtime, an engine, the images."""
    run([sys.executable, "src/build.py"], "src/build.py")
    engine.start()
    for suite in sorted({host.suite for host in FAULTS.hosts()}):
        image.ensure(suite)


def prove_the_judge() -> None:
    """A judge that finds nothing is worth nothing. Raises Failure where it misses what was planted."""
    done = attempt(["pytest", "-q", "tests/faults/test_judge.py"])
    if done.code != 0:
        raise Failure(f"{done.out[-5000:]}\nthe judge misses what was planted: nothing was tried")
    print(f"the judge: {done.out.strip().splitlines()[-1]}", flush=True)


def carry_out(wanted: list[Trial], seed: int) -> int:
    """Run the trials and print the table; 1 where there was a violation."""
    machines = lab.lab(lab.hosts())
    begun = time.monotonic()
    # Twenty deploys at once leave the machine nothing for other hosts' trials, and those would be late for that alone.
    races = [trial for trial in wanted if trial.fault == trials.AT_ONCE]
    reports = campaign.run_trials(machines, [trial for trial in wanted if trial not in races], tell)
    for race in races:
        reports += campaign.run_trials(machines, [race], tell)
    print(f"\n{campaign.table(reports)}\nseed {seed}, {time.monotonic() - begun:.0f} s")
    return 1 if any(report.violations for report in reports) else 0


def tell(report: campaign.Report) -> None:
    """One line a trial as it ends, more where it found something."""
    print(report.row, flush=True)
    if report.violations:
        print(f"{campaign.complaint(report)}\n{report.output}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
