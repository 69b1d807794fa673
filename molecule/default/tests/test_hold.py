# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maintenance switch: a held agent stays stopped, whatever comes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import fleet
import pytest


@pytest.fixture
def held(researcher: fleet.Agent, restored: None) -> Iterator[fleet.Agent]:
    outcome = fleet.play("playbooks/hold.yml", "-e", "agent=researcher", "-e", 'note="new disk"')
    assert outcome.code == 0, outcome.output
    yield researcher
    researcher.machine.check_output("muster unhold researcher")


def running(agent: fleet.Agent) -> bool:
    return bool(agent.machine.service(agent.unit).is_running)


def test_it_stays_stopped_across_deploys_and_starts_by_hand(
    held: fleet.Agent, neighbour: fleet.Agent, tmp_path: Path
) -> None:
    assert not running(held)
    assert neighbour.ready
    again = fleet.play("playbooks/hold.yml", "-e", "agent=researcher")
    assert set(again.changed().values()) == {0}
    outcome = fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"environment": {"LOG_LEVEL": "debug"}}))
    assert "held since" in outcome.output
    assert "new disk" in outcome.output
    held.machine.run("systemctl start %s", held.unit)
    assert not running(held)
    # Nobody's mistake, so nothing fails.
    status = fleet.play("playbooks/status.yml")
    assert status.code == 0, status.output
    assert "held since" in status.output


def test_it_stays_stopped_across_a_reboot_and_goes_on_when_let_go(held: fleet.Agent) -> None:
    container = f"{fleet.LAB.name}-{held.host}"
    subprocess.run(["docker", "restart", "--time", "20", container], check=True, capture_output=True)
    fleet.until(
        lambda: held.machine.run("systemctl is-system-running --wait").rc == 0,
        60,
        f"{held.host} does not boot",
    )
    assert not running(held)
    outcome = fleet.play("playbooks/unhold.yml", "-e", "agent=researcher")
    assert outcome.code == 0, outcome.output
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready) == (held.release, True)
