# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of playbooks/status.yml, for people and for programs."""

from __future__ import annotations

import json

import fleet
import pytest


def test_the_table_has_a_line_for_each_agent(agents: dict[str, fleet.Agent]) -> None:
    outcome = fleet.play("playbooks/status.yml")
    assert outcome.code == 0, outcome.output
    for agent in agents.values():
        line = next(line for line in outcome.output.splitlines() if line.startswith(f"{agent.name} "))
        assert {agent.host, agent.release[:8], "ready", str(agent.port)} <= set(line.split())


def test_programs_get_json(agents: dict[str, fleet.Agent]) -> None:
    outcome = fleet.play("playbooks/status.yml", "-e", "status_format=json", "-e", "agent=researcher")
    line = next(line for line in outcome.output.splitlines() if line.startswith("{"))
    (entry,) = json.loads(line)["agents"]
    assert (entry["name"], entry["release"]) == ("researcher", agents["researcher"].release)
    assert set(entry) >= {"host", "config_sha256", "state", "ready", "uptime_seconds", "restarts", "port"}


@pytest.mark.parametrize("host", fleet.AGENT_HOSTS)
def test_with_a_limit_the_agents_of_other_hosts_are_not_missed(
    agents: dict[str, fleet.Agent], host: str
) -> None:
    outcome = fleet.play("playbooks/status.yml", "--limit", host)
    assert outcome.code == 0, outcome.output
    rows = [line.split()[0] for line in outcome.output.splitlines() if f" {host} " in line]
    assert set(rows) >= {agent.name for agent in agents.values() if agent.host == host}
    assert "on none of the hosts" not in outcome.output
