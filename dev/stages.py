# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make test``: the stages, one line each; the first that fails ends the run and shows the end of its log."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dev import engine, hosts, image, sanity, unpacked
from dev.hosts import FAULTS, PACKAGE, SCENARIOS, Lab
from dev.log import Log
from dev.progress import Steps
from dev.shell import Failure, environment


@dataclass(frozen=True)
class Stage:
    """One line of ``make test``: the name that ``make NAME`` takes, what its line says, what it does."""

    name: str
    title: str
    deed: Callable[[Log], str]


def lint(log: Log) -> str:
    log.run("ruff", "format", "--check", ".")
    log.run("ruff", "check", ".")
    log.run("shellcheck", ".ci/run")
    log.run("antsibull-changelog", "lint")
    return "clean"


def types(log: Log) -> str:
    collection = "ansible_collections.muster.agents.plugins"
    log.run("mypy", "-p", collection, "-p", "muster_agent", "-p", "dev", "-p", "demo", "-p", "bench")
    return "no errors"


def ansible_lint(log: Log) -> str:
    log.run("ansible-lint", "--offline", "--profile", "production", "--strict")
    return "profile production"


def unit(log: Log) -> str:
    log.run(sys.executable, "src/build.py")  # a plan is made for a runtime that is there
    log.run("pytest", "tests/unit", env=_mosquitto())
    return log.tests()


def agent(log: Log) -> str:
    log.run(sys.executable, "src/build.py")
    log.run("pytest", "tests/integration/reference_agent", env=_mosquitto())
    return log.tests()


def observability(log: Log) -> str:
    """A real Prometheus scrapes a real agent, and is asked whatever the rules and the dashboard ask."""
    log.run(sys.executable, "src/build.py")
    found = [unpacked.folder(name, name) for name in ("prometheus", "prometheus-node-exporter")]
    log.run("pytest", "tests/observability", env=_mosquitto(*found))
    return log.tests()


def package(log: Log) -> str:
    """The built collection, installed where no clone is, deploys to a host."""
    _ready(log, PACKAGE)
    log.run("pytest", "tests/packaging")
    return log.tests()


def molecule(log: Log) -> str:
    for scenario, lab in SCENARIOS.items():
        _ready(log, lab)
        try:
            log.run("molecule", "test", "--scenario-name", scenario)
        finally:
            # Molecule destroys its hosts itself, but not when it is interrupted.
            hosts.down(lab)
    return log.tests()


def faults(log: Log) -> str:
    """Some faults of every kind; `make test-faults` has all of them and the random ones."""
    _ready(log, FAULTS)
    try:
        log.run("pytest", "tests/faults")
    finally:
        hosts.down(FAULTS)
    return log.tests()


def _mosquitto(*more: Path) -> dict[str, str]:
    """A real broker on PATH; without one the tests that need it fail, they are not skipped. `more` are further folders."""
    folders = [environment()["PATH"], unpacked.folder("mosquitto", "mosquitto"), *more]
    return {"PATH": os.pathsep.join(map(str, folders)), "MUSTER_REQUIRE_MOSQUITTO": "1"}


def _ready(log: Log, lab: Lab) -> None:
    log.run(sys.executable, "src/build.py")
    engine.start()
    for suite in sorted({host.suite for host in lab.hosts()}):
        image.ensure(suite)


STAGES = (
    Stage("lint", "Format and lint", lint),
    Stage("types", "Types", types),
    Stage("ansible-lint", "ansible-lint", ansible_lint),
    Stage("sanity", "ansible-test sanity", sanity.check),
    Stage("unit", "Unit tests", unit),
    Stage("agent", "Reference agent, real broker", agent),
    Stage("observability", "Prometheus, rules, dashboard", observability),
    Stage("package", "Built collection, no clone", package),
    Stage("molecule", "Molecule, systemd hosts", molecule),
    Stage("faults", "Faults at every step", faults),
)


def run_stages(stages: tuple[Stage, ...]) -> int:
    """Run the stages in order; return how many tests passed. Raises Failure at the first that fails."""
    steps = Steps(len(stages))
    found_engine = engine.answers()
    passed = 0
    try:
        for stage in stages:
            log = Log(stage.name)
            steps.step(stage.title, partial(stage.deed, log))
            passed += sum(int(count) for count in re.findall(r"(\d+) passed", log.tests()))
    finally:
        # An engine that was there before, perhaps for the demo, is left alone.
        if not found_engine:
            engine.stop()
    return passed


def main() -> int:
    """``python -m dev.stages [NAME …]``: all stages, or those named."""
    names = sys.argv[1:] or [stage.name for stage in STAGES]
    try:
        passed = run_stages(tuple(stage for stage in STAGES if stage.name in names))
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted", file=sys.stderr)
        return 130
    if passed:
        print(f"{passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
