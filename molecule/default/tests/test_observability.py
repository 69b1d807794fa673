# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/observability.yml: each host tells of its agents, and no agent notices."""

from __future__ import annotations

import re
from collections.abc import Iterator

import fleet
import pytest

PROM = "/var/lib/prometheus/node-exporter/muster.prom"
LIMITS = ("-e", "observability_journal_max_use=200M", "-e", "observability_metrics_interval=5")


@pytest.fixture
def quiet_again() -> Iterator[None]:
    """The hosts of the other tests have better things to do every five seconds."""
    yield
    for host in ("agent-1", "agent-2", "broker-1"):
        fleet.machine(host).check_output("systemctl disable --now muster-metrics.timer")


@pytest.mark.usefixtures("quiet_again")
def test_hosts_tell_of_their_agents_while_these_run_on(agents: dict[str, fleet.Agent]) -> None:
    before = {name: agent.pid for name, agent in agents.items()}
    first = fleet.play("playbooks/observability.yml", *LIMITS)
    assert first.code == 0, first.output
    second = fleet.play("playbooks/observability.yml", *LIMITS)
    assert second.code == 0 and set(second.changed().values()) == {0}, second.output
    for name, agent in agents.items():
        machine = agent.machine
        fleet.until(lambda machine=machine: machine.file(PROM).exists, 15, f"no {PROM} on {agent.host}")
        told = machine.file(PROM).content_string
        assert f'\nmuster_agent_ready{{agent="{name}"}} 1\n' in told
        assert re.search(rf'^muster_agent_info{{agent="{name}",.*release="{agent.release}"', told, re.M)
        assert machine.file(PROM).mode == 0o644
        assert agent.pid == before[name]
    one = agents["researcher"].machine
    shown = one.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert "SystemMaxUse=200M" in shown.splitlines()
    written = one.file(PROM).mtime
    fleet.until(lambda: one.file(PROM).mtime > written, 20, "the timer does not come again")


def test_an_agents_log_goes_on_and_names_its_release(agents: dict[str, fleet.Agent]) -> None:
    """Also where the journal's service was restarted meanwhile, for its new limits."""
    agent = agents["researcher"]
    agent.get("/")
    line = agent.machine.check_output("journalctl -t agent-researcher -o cat -n 1")
    assert '"event": "request"' in line and f'"release": "{agent.release}"' in line
    assert re.search(r'"request_id": "[0-9a-f-]{36}"', line)
