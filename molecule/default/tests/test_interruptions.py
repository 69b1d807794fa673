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
_CURRENT = "/var/lib/muster/agents/{name}/current"
# What somebody does by hand, and what is true once it is mended. Every third one is for the agent that shares its host with no
# other, for the runtimes are shared.
DAMAGES = (
    ("echo '# by hand' >> /etc/systemd/system/{unit}", "! grep '# by hand' /etc/systemd/system/{unit}"),
    ("systemctl disable --now {unit}", "systemctl is-enabled {unit} && systemctl is-active {unit}"),
    (f"echo '# by hand' >> {_CURRENT}/agent.toml", f"! grep '# by hand' {_CURRENT}/agent.toml"),
    (f"rm {_CURRENT}", f"test -e {_CURRENT}/agent.toml"),
    ("rm /etc/muster/secrets/{name}.env", "test -s /etc/muster/secrets/{name}.env"),
    ("rm -r /opt/muster/runtimes/*", f"test -s {_CURRENT}/runtime/program"),
)


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


def test_what_was_damaged_by_hand_is_mended(
    agents: dict[str, fleet.Agent], researcher: fleet.Agent, neighbour: fleet.Agent
) -> None:
    """Each agent has another damage, so that none is mended by the way with that of another."""
    alone = next(agent for agent in agents.values() if agent.host != researcher.host)
    for number in range(2):
        damaged = dict(zip((researcher, neighbour, alone), DAMAGES[number::2]))
        for agent, (damage, _mended) in damaged.items():
            agent.machine.check_output(damage.format(name=agent.name, unit=agent.unit))
        outcome = fleet.deploy()
        for agent, (damage, mended) in damaged.items():
            assert agent.name in outcome.rows(), damage
            after = fleet.agents()[agent.name]
            assert (after.release, after.ready) == (agent.release, True), damage
            shell = mended.format(name=agent.name, unit=agent.unit)
            assert agent.machine.run(shell).rc == 0, f"{damage}: {shell}"
            assert agent.machine.run("muster diff %s", agent.name).rc == 0, damage
        assert set(fleet.deploy().changed().values()) == {0}


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
