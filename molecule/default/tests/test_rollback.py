# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Back to an earlier release: in one command, with today's secrets, and not where there is nothing to go back to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fleet
import pytest

from demo.ask import ask, new_task

LOUD = {"environment": {"LOG_LEVEL": "debug"}}


@dataclass(frozen=True)
class Two:
    """The researcher in each of its two releases."""

    first: fleet.Agent
    louder: fleet.Agent


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """One release on top of the other, for all tests here but the last."""
    first = fleet.agents()["researcher"]
    fleet.deploy(fleet.changed_fleet(tmp_path_factory.mktemp("fleet"), researcher=LOUD))
    yield Two(first, fleet.agents()["researcher"])
    fleet.deploy()


@pytest.fixture
def two(both: Two) -> Two:
    """The newer one runs when the test begins."""
    now = fleet.agents()["researcher"]
    if now.release != both.louder.release:
        assert roll_back("-e", "agent=researcher", "-e", f"release={both.louder.release}").code == 0
        now = fleet.agents()["researcher"]
    return Two(both.first, now)


def roll_back(*arguments: str) -> fleet.Outcome:
    return fleet.play("rollback.yml", *arguments)


def test_check_mode_says_what_would_be_and_does_nothing(two: Two) -> None:
    pid = two.louder.pid
    outcome = roll_back("-e", "agent=researcher", "--check")
    assert outcome.code == 0, outcome.output
    assert f"{two.louder.release[:8]} -> {two.first.release[:8]}" in outcome.output
    after = fleet.agents()["researcher"]
    assert (after.release, after.pid) == (two.louder.release, pid)


def test_an_unknown_release_is_answered_with_those_there_are(two: Two) -> None:
    pid = two.louder.pid
    outcome = roll_back("-e", "agent=researcher", "-e", "release=ffffffff")
    assert outcome.code == 2
    assert "nothing was changed" in outcome.output
    assert two.first.release in outcome.output
    assert two.louder.release in outcome.output
    assert fleet.agents()["researcher"].pid == pid


def test_the_previous_release_comes_back(two: Two) -> None:
    assert two.louder.release != two.first.release
    outcome = roll_back("-e", "agent=researcher")
    assert outcome.code == 0, outcome.output
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready) == (two.first.release, True)
    assert after.environ()["LOG_LEVEL"] == "info"
    assert ask(fleet.broker(), new_task(after.agent_id, "Which release is this?"))
    last = json.loads(after.machine.check_output("tail -n 1 /var/lib/muster/history.jsonl"))
    assert (last["via"], last["before"], last["after"]) == (
        "rollback",
        two.louder.release,
        two.first.release,
    )


def test_the_host_alone_goes_back_too(two: Two) -> None:
    two.louder.machine.check_output("muster rollback researcher")
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready) == (two.first.release, True)


def test_a_release_is_chosen_by_the_beginning_of_its_id_and_brings_todays_secrets(
    two: Two, tmp_path: Path
) -> None:
    rotated = fleet.variables(tmp_path, agent_secrets={"SERPER_API_KEY": "canary-serper-of-today"})
    outcome = roll_back("-e", "agent=researcher", "-e", f"release={two.first.release[:8]}", rotated)
    assert outcome.code == 0, outcome.output
    assert "canary-serper" not in outcome.output
    after = fleet.agents()["researcher"]
    assert after.release == two.first.release
    assert after.environ()["SERPER_API_KEY"] == "canary-serper-of-today"


def test_nothing_to_go_back_to_is_said(researcher: fleet.Agent, restored: None) -> None:
    assert fleet.play("playbooks/remove.yml", "-e", "agent=researcher").code == 0
    fleet.deploy()
    pid = fleet.agents()["researcher"].pid
    outcome = roll_back("-e", "agent=researcher")
    assert outcome.code == 2
    assert "no proven release to go back to" in outcome.output
    assert fleet.agents()["researcher"].pid == pid
