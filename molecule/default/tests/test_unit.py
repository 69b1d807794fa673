# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The services, as systemd sees them."""

from __future__ import annotations

import re

import fleet


def test_the_whole_fleet_runs(agents: dict[str, fleet.Agent]) -> None:
    assert set(agents) == {"researcher", "writer-agent-1", "writer-agent-2"}
    assert all(agent.ready for agent in agents.values())
    assert len({agent.agent_id for agent in agents.values()}) == 3


def test_units_are_active_and_start_at_boot(agents: dict[str, fleet.Agent]) -> None:
    for agent in agents.values():
        assert agent.unit == f"agent-{agent.name}.service"
        service = agent.machine.service(agent.unit)
        assert service.is_running
        assert service.is_enabled


def test_exposure_is_at_most_2(agents: dict[str, fleet.Agent]) -> None:
    for agent in agents.values():
        verdict = agent.machine.check_output("systemd-analyze security --no-pager %s", agent.unit)
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", verdict)
        assert exposure, verdict
        assert float(exposure[1]) <= 2.0, verdict


def test_processes_have_no_root_and_no_capabilities(agents: dict[str, fleet.Agent]) -> None:
    for agent in agents.values():
        status = agent.machine.file(f"/proc/{agent.pid}/status").content_string
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert fields["NoNewPrivs"] == "1"


def test_resources_are_limited(researcher: fleet.Agent) -> None:
    assert int(researcher.show("MemoryMax")) <= 2**30
    assert researcher.show("CPUQuotaPerSecUSec") != "infinity"
    assert int(researcher.show("TasksMax")) <= 512


def test_a_killed_agent_comes_back_by_itself(researcher: fleet.Agent) -> None:
    before = researcher.pid
    researcher.machine.check_output(f"kill -9 {before}")
    fleet.until(lambda: researcher.pid not in (0, before), 30, "no new process")
    fleet.until(lambda: researcher.get("/ready")[0] == 200, 30, "not ready again")
    assert researcher.machine.service(researcher.unit).is_running


def test_the_journal_has_lines_under_the_agents_own_name(researcher: fleet.Agent) -> None:
    lines = researcher.machine.check_output("journalctl -t agent-%s -n 5 -o cat --no-pager", researcher.name)
    assert lines
