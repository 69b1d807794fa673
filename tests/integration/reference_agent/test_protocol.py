# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The 2389 protocol as another program on the broker sees it."""

from __future__ import annotations

import time
from typing import Any

from tests.integration.reference_agent.conftest import OPENAI, StartAgent
from tests.integration.reference_agent.world import Broker, Client, HttpApi, task, until


def test_answers_on_the_conversation_topic(agent: StartAgent, client: Client) -> None:
    agent().start().ready()
    topic, message = client.answer(client.send("alpha", task("alpha")))
    assert topic == "/conversations/conversation-1/alpha"
    assert set(message) == {"response", "task_id"}
    assert "offline echo provider" in message["response"]
    assert "Repeat" in message["response"]
    assert "salt" in message["response"]


def test_available_only_after_the_model_check(agent: StartAgent, client: Client, api: HttpApi) -> None:
    states_during_check: list[list[str]] = []

    def check(_: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(0.5)
        states_during_check.append(client.states("alpha"))
        return 200, {"id": "test-model"}

    api.routes["GET /v1/models/test-model"] = check
    process = agent(llm=OPENAI).start()
    until(lambda: process.get("/live")[0] == 200, "/live during the start")
    assert process.get("/ready")[0] == 503
    process.ready()
    assert states_during_check == [[]]
    until(lambda: client.states("alpha") == ["available"], "the status")


def test_status_is_retained_with_capabilities(agent: StartAgent, broker: Broker) -> None:
    agent().start().ready()
    late = Client(broker)
    topic, message, retained = until(lambda: late.heard, "the retained status")[0]
    late.close()
    assert (topic, retained) == ("/control/agents/alpha/status", True)
    assert message["agent_id"] == "alpha"
    assert message["capabilities"] == ["echo"]
    assert message["timestamp"].endswith("Z")


def test_chain_of_two_agents(agent: StartAgent, client: Client) -> None:
    for process in [agent("alpha").start(), agent("beta").start()]:
        process.ready()
    chained = task(
        "alpha",
        version="2.0",
        context={"original_query": "q", "steps_completed": [], "iteration_count": 3},
        routing_trace=[],
        next={"topic": "//control/agents/beta/input/", "instruction": "Then", "input": None, "next": None},
    )
    task_id = client.send("alpha", chained)
    topic, message = client.answer(task_id)
    assert topic == "/conversations/conversation-1/beta"
    assert message["response"].count("offline echo provider") == 2
    passed_on = next(sent for heard, sent, _ in client.heard if heard == "/control/agents/beta/input")
    assert passed_on["task_id"] == task_id
    assert passed_on["context"] == chained["context"]
    assert (passed_on["version"], passed_on["routing_trace"]) == ("2.0", [])
    assert len(client.answers(task_id)) == 1


def test_duplicate_is_dropped_also_after_a_crash(agent: StartAgent, client: Client) -> None:
    process = agent().start().ready()
    first = task("alpha")
    client.send("alpha", first)
    client.send("alpha", {**first, "task_id": first["task_id"].upper()})
    client.answer(first["task_id"])
    until(lambda: process.events("task_ignored"), "the duplicate")
    process.kill()
    process.start().ready()
    client.send("alpha", first)
    until(lambda: len(process.events("task_ignored")) == 2, "the duplicate after the crash")
    assert len(client.answers(first["task_id"])) == 1


def test_retained_input_is_ignored(agent: StartAgent, client: Client) -> None:
    old = task("alpha")
    client.send("alpha", old, retain=True)
    process = agent().start().ready()
    client.answer(client.send("alpha", task("alpha")))
    client.forget_input("alpha")
    assert client.answers(old["task_id"]) == []
    assert [line["reason"] for line in process.events("task_ignored")] == ["retained"]


def test_wrong_topic_is_dropped(agent: StartAgent, client: Client) -> None:
    process = agent().start().ready()
    stray = client.send("alpha", task("somebody-else"))
    client.answer(client.send("alpha", task("alpha", topic="control//agents/alpha/input/")))
    assert client.answers(stray) == []
    assert len(process.events("task_ignored")) == 1


def test_bad_tasks_get_the_protocols_errors(agent: StartAgent, client: Client) -> None:
    agent().start().ready()

    def chain(length: int) -> Any:
        step: dict[str, Any] | None = None
        for _ in range(length):
            step = {"topic": "/control/agents/beta/input", "instruction": None, "input": None, "next": step}
        return step

    def error(**fields: Any) -> tuple[str, str]:
        failed = client.answer(client.send("alpha", task("alpha", **fields)))[1]["error"]
        return failed["code"], failed["message"]

    assert error(next=chain(16))[0] == "pipeline_depth_exceeded"
    assert error(instruction=7)[0] == "invalid_input"
    assert error(next={"topic": "/control/agents/+/input"})[0] == "invalid_input"
    assert error(next={"topic": "/conversations/conversation-1/beta"})[0] == "invalid_input"
    client.send("alpha", task("alpha", task_id="not-a-uuid"))
    until(lambda: any("UUID" in str(message) for _, message, _ in client.heard), "the error for a bad id")


def test_survives_garbage(agent: StartAgent, client: Client) -> None:
    process = agent().start().ready()
    wild = client.send("alpha", task("alpha", conversation_id="a/#"))
    for garbage in ("{", "[]", b"\xff\xfe", "[" * 50_000, "x" * 300_000, '{"task_id": 1}', '{"input": NaN}'):
        client.send("alpha", garbage)
    client.answer(client.send("alpha", task("alpha")))
    assert client.answers(wild) == []
    assert process.get("/health")[0] == 200
    assert "Traceback" not in process.output()
