# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases that are cut short, or go wrong where it hurts: the host still ends on one release that serves."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import fleet
from mqtt import drained, listening

LOUD = {"environment": {"LOG_LEVEL": "debug"}}


def unfinished(agent: fleet.Agent) -> bool:
    state = agent.machine.check_output("cat /var/lib/muster/state.json")
    return json.loads(state)["transaction"] is not None


def test_a_killed_engine_is_reverted_by_its_host(
    researcher: fleet.Agent, neighbour: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    untouched = neighbour.pid
    running = fleet.start("deploy.yml", fleet.changed_fleet(tmp_path, researcher=LOUD))
    fleet.until(lambda: unfinished(researcher), 60, "no release began")
    researcher.machine.check_output("systemctl kill --signal=KILL 'muster-release-*'")
    output, _ = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "the release was killed" in output
    fleet.until(lambda: not unfinished(researcher), 60, "the host did not finish the release")
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready) == (researcher.release, True)
    assert neighbour.pid == untouched


def test_a_killed_controller_changes_nothing(researcher: fleet.Agent, tmp_path: Path, restored: None) -> None:
    running = fleet.start("deploy.yml", fleet.changed_fleet(tmp_path, researcher=LOUD))
    fleet.until(lambda: unfinished(researcher), 60, "no release began")
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    fleet.until(lambda: not unfinished(researcher), 60, "the host did not finish the release")
    after = fleet.agents()["researcher"]
    assert after.release != researcher.release
    assert after.ready
    assert "LOG_LEVEL=debug" in after.machine.check_output(
        "tr '\\0' '\\n' < /proc/%s/environ", str(after.pid)
    )


def test_a_new_id_that_fails_leaves_the_old_one_its_login(
    researcher: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    other = {"agent": {"id": "other-agent"}, **fleet.OFFLINE}
    unready = {"overrides": other, "environment": {"HEALTH_PORT": "1"}, "deadline": 20}
    bad = fleet.changed_fleet(tmp_path, researcher=unready)
    assert fleet.play("deploy.yml", bad).code != 0
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready, after.agent_id) == (researcher.release, True, researcher.agent_id)


def test_a_new_id_takes_leave_of_the_old_one(researcher: fleet.Agent, tmp_path: Path, restored: None) -> None:
    other = {"agent": {"id": "other-agent"}, **fleet.OFFLINE}
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"overrides": other}))
    after = fleet.agents()["researcher"]
    assert (after.agent_id, after.ready) == ("other-agent", True)
    with listening(fleet.broker(), f"/control/agents/{researcher.agent_id}/status") as heard:
        assert drained(heard) == []
    assert set(
        fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"overrides": other})).changed().values()
    ) == {0}


def test_what_was_damaged_by_hand_is_mended(researcher: fleet.Agent) -> None:
    machine = researcher.machine
    for damage in (
        f"echo '# by hand' >> /etc/systemd/system/{researcher.unit}",
        "echo '# by hand' >> /var/lib/muster/agents/researcher/current/agent.toml",
        "rm /etc/muster/secrets/researcher.env",
        "rm /var/lib/muster/agents/researcher/current",
        "rm -r /opt/muster/runtimes/*",
        f"systemctl disable --now {researcher.unit}",
    ):
        machine.check_output(damage)
        assert sum(fleet.deploy().changed().values()) > 0, damage
        after = fleet.agents()["researcher"]
        assert (after.release, after.ready) == (researcher.release, True), damage
        assert set(fleet.deploy().changed().values()) == {0}, damage


def test_removing_what_is_not_there_is_refused_before_anything_is_removed(
    agents: dict[str, fleet.Agent],
) -> None:
    outcome = fleet.play("playbooks/remove.yml", "-e", "agent=researcher,wrtier")
    assert outcome.code != 0
    assert "wrtier" in outcome.output
    assert set(fleet.agents()) == set(agents)


def test_a_name_that_is_a_path_purges_nothing(researcher: fleet.Agent) -> None:
    researcher.machine.check_output("mkdir -p /srv/victim")
    outcome = fleet.play(
        "playbooks/remove.yml", "-e", "agent=researcher/../../../../srv/victim", "-e", "purge=true"
    )
    assert outcome.code != 0
    assert researcher.machine.file("/srv/victim").exists
