# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases: nothing to do, a bad one, a port that is taken, and taking an agent off its host."""

from __future__ import annotations

from pathlib import Path

import fleet
from mqtt import drained, listening

from demo.ask import ask, new_task


def test_a_second_deploy_changes_nothing(agents: dict[str, fleet.Agent]) -> None:
    processes = {name: agent.pid for name, agent in agents.items()}
    assert set(fleet.deploy().changed().values()) == {0}
    assert {name: agent.pid for name, agent in agents.items()} == processes


def test_one_agent_is_deployed_alone(agents: dict[str, fleet.Agent]) -> None:
    assert set(fleet.deploy("-e", "agent=researcher").changed().values()) == {0}
    assert set(fleet.agents()) == set(agents)


def test_a_bad_release_leaves_the_old_one_serving(
    researcher: fleet.Agent, neighbour: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    # A provider that nobody answers for: the model check at the start fails.
    bad = {
        "overrides": {"llm": {"provider": "openai", "api_key_env": "OPENAI_API_KEY"}},
        "environment": {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"},
    }
    untouched = neighbour.pid
    outcome = fleet.play(
        "deploy.yml",
        "-e",
        "agent=researcher",
        fleet.variables(
            tmp_path,
            fleet={"researcher": bad, "writer": {"instances": "each", "overrides": fleet.OFFLINE}},
            agent_secrets={"SERPER_API_KEY": "x", "OPENAI_API_KEY": "sk-no-such-key"},
        ),
    )
    assert outcome.code != 0
    assert "researcher" in outcome.output
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready) == (researcher.release, True)
    assert ask(fleet.broker(), new_task(researcher.agent_id, "Still there?"))
    assert neighbour.pid == untouched


def test_a_taken_port_is_told_with_the_process_that_has_it(researcher: fleet.Agent, restored: None) -> None:
    machine = researcher.machine
    assert fleet.play("playbooks/remove.yml", "-e", "agent=researcher").code == 0
    squatter = (
        f"systemd-run --unit=squatter /usr/bin/python3 -m http.server --bind 127.0.0.1 {researcher.port}"
    )
    machine.check_output(squatter)
    try:
        fleet.until(lambda: researcher.get("/")[0] == 200, 10, "the squatter does not answer")
        outcome = fleet.play("deploy.yml", "-e", "agent=researcher")
        assert outcome.code != 0
        assert f"{researcher.port}" in outcome.output
        assert "python3" in outcome.output
    finally:
        machine.check_output("systemctl stop squatter")


def test_remove_takes_the_agent_and_keeps_its_data(researcher: fleet.Agent, restored: None) -> None:
    machine = researcher.machine
    data = f"/var/lib/private/{researcher.unit.removesuffix('.service')}"
    machine.check_output("touch %s/kept", data)
    outcome = fleet.play("playbooks/remove.yml", "-e", "agent=researcher")
    assert outcome.code == 0, outcome.output
    assert "researcher" not in fleet.agents()
    assert not machine.service(researcher.unit).is_running
    assert not machine.file(f"/etc/systemd/system/{researcher.unit}").exists
    assert not machine.file("/etc/muster/secrets/researcher.env").exists
    assert machine.file(f"{data}/kept").exists
    # Its last word is taken from the broker: a newcomer hears nothing of it.
    with listening(fleet.broker(), f"/control/agents/{researcher.agent_id}/status") as heard:
        assert drained(heard) == []


def test_purge_takes_the_data_too(researcher: fleet.Agent, restored: None) -> None:
    data = f"/var/lib/private/{researcher.unit.removesuffix('.service')}"
    assert researcher.machine.file(data).exists
    outcome = fleet.play("playbooks/remove.yml", "-e", "agent=researcher", "-e", "purge=true")
    assert outcome.code == 0, outcome.output
    assert not researcher.machine.file(data).exists
