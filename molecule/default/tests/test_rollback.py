# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Back to an earlier release: in one command, with today's secrets, and not where there is nothing to go back to."""

from __future__ import annotations

import json
from pathlib import Path

import fleet
import pytest

from demo.ask import ask, new_task

LOUD = {"environment": {"LOG_LEVEL": "debug"}}


@pytest.fixture
def louder(tmp_path: Path, restored: None) -> fleet.Agent:
    """The researcher in a release of its own; every test begins with a release to go back to."""
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher=LOUD))
    return fleet.agents()["researcher"]


def roll_back(*arguments: str) -> fleet.Outcome:
    return fleet.play("rollback.yml", *arguments)


def test_the_previous_release_comes_back(researcher: fleet.Agent, louder: fleet.Agent) -> None:
    assert louder.release != researcher.release
    outcome = roll_back("-e", "agent=researcher")
    assert outcome.code == 0, outcome.output
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready) == (researcher.release, True)
    assert "LOG_LEVEL=info" in after.machine.check_output("tr '\\0' '\\n' < /proc/%s/environ", str(after.pid))
    assert ask(fleet.broker(), new_task(after.agent_id, "Which release is this?"))
    last = json.loads(after.machine.check_output("tail -n 1 /var/lib/muster/history.jsonl"))
    assert (last["via"], last["before"], last["after"]) == ("rollback", louder.release, researcher.release)


def test_a_release_is_chosen_by_the_beginning_of_its_id(researcher: fleet.Agent, louder: fleet.Agent) -> None:
    assert roll_back("-e", "agent=researcher", "-e", f"release={researcher.release[:8]}").code == 0
    assert fleet.agents()["researcher"].release == researcher.release


def test_an_unknown_release_is_answered_with_those_there_are(
    researcher: fleet.Agent, louder: fleet.Agent
) -> None:
    pid = louder.pid
    outcome = roll_back("-e", "agent=researcher", "-e", "release=ffffffff")
    assert outcome.code == 2
    assert "nothing was changed" in outcome.output
    assert researcher.release in outcome.output
    assert louder.release in outcome.output
    assert fleet.agents()["researcher"].pid == pid


def test_nothing_to_go_back_to_is_said(researcher: fleet.Agent, restored: None) -> None:
    assert fleet.play("playbooks/remove.yml", "-e", "agent=researcher").code == 0
    fleet.deploy()
    pid = fleet.agents()["researcher"].pid
    outcome = roll_back("-e", "agent=researcher")
    assert outcome.code == 2
    assert "no proven release to go back to" in outcome.output
    assert fleet.agents()["researcher"].pid == pid


def test_a_rollback_brings_todays_secrets(
    researcher: fleet.Agent, louder: fleet.Agent, tmp_path: Path
) -> None:
    rotated = fleet.variables(tmp_path, agent_secrets={"SERPER_API_KEY": "canary-serper-of-today"})
    outcome = roll_back("-e", "agent=researcher", rotated)
    assert outcome.code == 0, outcome.output
    assert "canary-serper" not in outcome.output
    after = fleet.agents()["researcher"]
    assert after.release == researcher.release
    environment = after.machine.check_output("tr '\\0' '\\n' < /proc/%s/environ", str(after.pid))
    assert "SERPER_API_KEY=canary-serper-of-today" in environment


def test_the_host_alone_goes_back_too(researcher: fleet.Agent, louder: fleet.Agent) -> None:
    louder.machine.check_output("muster rollback researcher")
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready) == (researcher.release, True)


def test_check_mode_says_what_would_be_and_does_nothing(researcher: fleet.Agent, louder: fleet.Agent) -> None:
    outcome = roll_back("-e", "agent=researcher", "--check")
    assert outcome.code == 0, outcome.output
    assert f"{louder.release[:8]} -> {researcher.release[:8]}" in outcome.output
    assert fleet.agents()["researcher"].release == louder.release
