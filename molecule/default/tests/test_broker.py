# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What any MQTT client sees of the fleet, and what it may not see."""

from __future__ import annotations

import json

import fleet
import pytest
from mqtt import drained, listening
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from demo.ask import ask, new_task
from dev.shell import Failure


def test_every_agent_answers_a_task(agents: dict[str, fleet.Agent]) -> None:
    for agent in agents.values():
        assert ask(fleet.broker(), new_task(agent.agent_id, f"Who are you, {agent.name}?"))


def test_statuses_are_retained(agents: dict[str, fleet.Agent]) -> None:
    with listening(fleet.broker(), "/control/agents/+/status") as heard:
        statuses = {topic: json.loads(payload) for topic, payload in drained(heard)}
    for agent in agents.values():
        assert statuses[f"/control/agents/{agent.agent_id}/status"]["status"] == "available"


@pytest.mark.parametrize(("user", "password"), [("", ""), ("tester", "wrong"), ("nobody", "none")])
def test_strangers_are_refused(researcher: fleet.Agent, user: str, password: str) -> None:
    with pytest.raises(Failure, match="refuses"):
        ask(fleet.broker(user, password), new_task(researcher.agent_id, "Hello?"), timeout=10)


def test_an_agent_hears_no_other_agents_tasks_and_answers(
    researcher: fleet.Agent, neighbour: fleet.Agent
) -> None:
    with listening(fleet.broker(researcher.agent_id), "#") as heard:
        ask(fleet.broker(), new_task(neighbour.agent_id, "Not for the researcher's ears"))
        topics = {topic for topic, _ in drained(heard)}
    assert {topic for topic in topics if not topic.endswith("/status")} == set()


def test_an_agent_cannot_speak_as_another(researcher: fleet.Agent, neighbour: fleet.Agent) -> None:
    forged = (f"/control/agents/{neighbour.agent_id}/status", f"/conversations/forged/{neighbour.agent_id}")
    as_researcher = fleet.broker(researcher.agent_id)
    with (
        listening(fleet.broker(), "/conversations/#") as answers,
        listening(fleet.broker(), forged[0]) as status,
    ):
        drained(status, seconds=1)
        speaker = Client(CallbackAPIVersion.VERSION2, client_id="test-speaker")
        speaker.username_pw_set(as_researcher.user, as_researcher.password)
        speaker.connect(as_researcher.host, as_researcher.port)
        speaker.loop_start()
        for topic in forged:
            speaker.publish(topic, b"forged", qos=1).wait_for_publish(timeout=10)
        own = f"/conversations/forged/{researcher.agent_id}"
        speaker.publish(own, b"own", qos=1).wait_for_publish(timeout=10)
        speaker.disconnect()
        speaker.loop_stop()
        # What it may say arrives, so the way is open; what it may not say does not.
        assert drained(answers) == [(own, b"own")]
        assert drained(status, seconds=1) == []
