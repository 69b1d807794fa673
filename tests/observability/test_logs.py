# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a log shipper finds in the reference agent's lines."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.reference_agent.world import AgentProcess
from tests.observability.prometheus import AGENT, RELEASE, Prometheus


def lines(agent: AgentProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in agent.output().splitlines()]


def test_every_line_is_json_and_names_agent_and_release(agent: AgentProcess) -> None:
    found = lines(agent)
    assert found and {(one["agent_id"], one["release"]) for one in found} == {(AGENT, RELEASE)}
    assert all(one["event"] and one["level"] and one["timestamp"] for one in found)


def test_a_request_and_a_task_can_be_followed(agent: AgentProcess, working: Prometheus) -> None:
    assert agent.get("/")[0] == 200
    (request,) = [one for one in lines(agent) if one["event"] == "request" and one["path"] == "/"]
    assert len(request["request_id"]) == 36
    tasks = [one for one in lines(agent) if one["event"].startswith("task_")]
    assert tasks and all(one["task_id"] and one["conversation_id"] for one in tasks)
