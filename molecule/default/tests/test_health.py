# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the agents' HTTP servers say."""

from __future__ import annotations

import json

import fleet


def test_every_agent_is_ready_and_says_who_it_is(agents: dict[str, fleet.Agent]) -> None:
    for agent in agents.values():
        assert agent.get("/live")[0] == 200
        assert agent.get("/ready")[0] == 200
        code, body = agent.get("/health")
        assert code == 200
        assert json.loads(body)["agent_id"] == agent.agent_id


def test_metrics_are_prometheus_text(researcher: fleet.Agent) -> None:
    code, body = researcher.get("/metrics")
    assert code == 200
    assert "# TYPE agent_requests_total counter" in body


def test_health_is_heard_on_its_own_host_only(researcher: fleet.Agent) -> None:
    other = next(host for host in ("agent-1", "agent-2") if host != researcher.host)
    asked = fleet.machine(other).run(f"curl -s -m 5 http://{researcher.host}:{researcher.port}/live")
    assert asked.exit_status != 0


def test_health_tells_the_truth_about_a_lost_broker(researcher: fleet.Agent) -> None:
    broker = fleet.machine("broker-1")
    broker.check_output("systemctl stop mosquitto")
    try:
        fleet.until(lambda: researcher.get("/health")[0] == 503, 30, "/health does not notice")
        assert researcher.get("/live")[0] == 200
    finally:
        broker.check_output("systemctl start mosquitto")
    fleet.until(lambda: researcher.get("/health")[0] == 200, 60, "/health does not recover")
