# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Models and tools over real HTTP: the tool loop, the budget, retries, and what the HTTP interface answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.reference_agent.conftest import OPENAI, StartAgent
from tests.integration.reference_agent.world import Client, HttpApi, task, until

ANTHROPIC = 'provider = "anthropic"\nmodel = "test-model"\napi_key_env = "ANTHROPIC_API_KEY"'
TOOLS = (
    '[tools]\nweb_search = { impl = "serper", api_key_env = "SERPER_API_KEY" }\nhttp_request = "builtin"\n'
)
COMPLETIONS = "POST /v1/chat/completions"


def openai_call(name: str, arguments: Any, call_id: str = "c1") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}
    message = {"content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}
    return {"choices": [{"message": message}], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}


def in_turn(*answers: tuple[int, Any]) -> Any:
    """A route that gives one answer after the other, the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


DONE = (200, {"choices": [{"message": {"content": "done"}}]})


def test_openai_uses_both_tools(agent: StartAgent, client: Client, api: HttpApi) -> None:
    api.routes["POST /search"] = lambda _: (
        200,
        {"organic": [{"title": "T", "link": "http://t", "snippet": "pepper"}]},
    )
    api.routes["GET /page"] = lambda _: (200, {"secret": "cumin"})
    api.routes[COMPLETIONS] = in_turn(
        (200, openai_call("web_search", {"query": "spice"})),
        (200, openai_call("http_request", {"url": f"{api.url}/page"}, "c2")),
        (200, openai_call("http_request", {"url": "http://169.254.169.254/latest"}, "c3")),
        (200, openai_call("rm_rf", {}, "c4")),
        (200, openai_call("web_search", {"query": 7}, "c5")),
        (200, openai_call("web_search", "not json", "c6")),
        DONE,
    )
    agent(llm=OPENAI, more=TOOLS).start().ready()
    assert client.answer(client.send("alpha", task("alpha")))[1]["response"] == "done"
    told = [turn["content"] for turn in api.called(COMPLETIONS)[-1]["messages"] if turn["role"] == "tool"]
    assert "pepper" in told[0]
    assert "cumin" in told[1]
    assert "link-local" in told[2]
    assert "no such tool" in told[3]
    assert "must be of type string" in told[4]
    assert "not a JSON object" in told[5]
    assert api.called("POST /search") == [{"q": "spice", "num": 10}]


def test_anthropic_uses_a_tool(agent: StartAgent, client: Client, api: HttpApi) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "http_request", "input": {"url": f"{api.url}/page"}}
    api.routes["GET /page"] = lambda _: (200, {"secret": "cumin"})
    api.routes["POST /v1/messages"] = in_turn(
        (200, {"content": [{"type": "text", "text": "Looking."}, call], "usage": {"input_tokens": 5}}),
        (200, {"content": [{"type": "text", "text": "done"}]}),
    )
    process = agent(llm=ANTHROPIC, more=TOOLS).start().ready()
    assert client.answer(client.send("alpha", task("alpha")))[1]["response"] == "done"
    first, second = api.called("POST /v1/messages")
    assert first["system"].startswith("You repeat.")
    assert [turn["role"] for turn in second["messages"]] == ["user", "assistant", "user"]
    assert "cumin" in second["messages"][2]["content"][0]["content"]
    headers = next(headers for made, headers, _ in api.calls if made == "POST /v1/messages")
    assert headers["x-api-key"] == "anthropic-canary-4711"
    assert "canary" not in process.output()


def test_refused_search_key_fails_the_task(agent: StartAgent, client: Client, api: HttpApi) -> None:
    api.routes["POST /search"] = lambda _: (403, {"message": "no"})
    api.routes[COMPLETIONS] = lambda _: (200, openai_call("web_search", {"query": "spice"}))
    agent(llm=OPENAI, more=TOOLS).start().ready()
    error = client.answer(client.send("alpha", task("alpha")))[1]["error"]
    assert error["code"] == "tool_execution_failed"


@pytest.mark.parametrize(
    ("budget", "limit", "completions"),
    [
        ("max_iterations = 3", "max_iterations = 3", 3),
        (
            "max_cost_per_task = 0.5\nprice_per_1k_input = 1.0\nprice_per_1k_output = 100.0",
            "max_cost_per_task",
            1,
        ),
    ],
)
def test_budget_ends_a_task(
    agent: StartAgent, client: Client, api: HttpApi, budget: str, limit: str, completions: int
) -> None:
    api.routes["GET /page"] = lambda _: (200, {})
    api.routes[COMPLETIONS] = lambda _: (200, openai_call("http_request", {"url": f"{api.url}/page"}))
    process = agent(llm=OPENAI, more=f"{TOOLS}\n[budget]\n{budget}").start().ready()
    error = client.answer(client.send("alpha", task("alpha")))[1]["error"]
    assert (error["code"], limit in error["message"]) == ("internal_error", True)
    assert len(api.called(COMPLETIONS)) == completions
    met = f'agent_budget_exhausted_total{{limit="{limit.split()[0]}"}} 1.0'
    assert met in process.get("/metrics")[1]


def test_tool_calls_stop_at_their_limit(agent: StartAgent, client: Client, api: HttpApi) -> None:
    def complete(body: dict[str, Any]) -> tuple[int, Any]:
        return (200, openai_call("http_request", {"url": f"{api.url}/page"})) if body.get("tools") else DONE

    api.routes["GET /page"] = lambda _: (200, {})
    api.routes[COMPLETIONS] = complete
    agent(llm=OPENAI, more=f"{TOOLS}\n[budget]\nmax_tool_calls = 2").start().ready()
    assert client.answer(client.send("alpha", task("alpha")))[1]["response"] == "done"
    assert len(api.called("GET /page")) == 2


def test_busy_provider_is_asked_again(agent: StartAgent, client: Client, api: HttpApi) -> None:
    api.routes[COMPLETIONS] = in_turn((429, {}), DONE)
    process = agent(llm=OPENAI).start().ready()
    assert client.answer(client.send("alpha", task("alpha")))[1]["response"] == "done"
    assert process.events("llm_retry")[0]["reason"] == "openai answered 429"


def test_failing_model_is_an_llm_error(agent: StartAgent, client: Client, api: HttpApi) -> None:
    api.routes[COMPLETIONS] = lambda _: (400, {"error": {"message": "a stack trace with openai-canary-4711"}})
    process = agent(llm=OPENAI).start().ready()
    error = client.answer(client.send("alpha", task("alpha")))[1]["error"]
    assert error == {"code": "llm_error", "message": "openai answered 400"}
    assert "canary" not in process.output()


def test_http_interface(agent: StartAgent) -> None:
    process = agent().start().ready()

    def generate(body: bytes) -> tuple[int, dict[str, Any]]:
        status, text = process.request("POST", "/generate", body)
        return status, json.loads(text)

    status, answer = generate(b'{"prompt": "salt", "instruction": "Repeat"}')
    assert (status, answer["agent_id"]) == (200, "alpha")
    assert "Repeat" in answer["response"]
    assert "salt" in answer["response"]
    line = until(lambda: process.events("request"), "the request's line")[0]
    assert line["request_id"] == answer["request_id"]
    assert "salt" not in process.output()
    assert generate(b"{")[0] == 400
    assert generate(b"[]")[0] == 400
    assert generate(b"{}")[0] == 422
    assert generate(b'{"prompt": 7}')[0] == 422
    assert generate(b"x" * 300_000)[0] == 413
    assert process.get("/generate")[0] == 405
    assert process.get("/nothing")[0] == 404
    assert process.request("HEAD", "/ready")[0] == 200
    root = json.loads(process.get("/")[1])
    assert (root["agent_id"], "POST /generate" in root["endpoints"]) == ("alpha", True)
    health = json.loads(process.get("/health")[1])
    assert (health["status"], health["agent_id"]) == ("healthy", "alpha")
    assert set(health["checks"]) == {"mqtt", "llm", "tools", "task_processing"}
    assert all(set(check) == {"status", "message", "last_check"} for check in health["checks"].values())


def test_metrics_are_prometheus_text(agent: StartAgent, client: Client) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    process = agent().start().ready()
    client.answer(client.send("alpha", task("alpha")))
    until(
        lambda: 'agent_tasks_total{outcome="answered"} 1.0' in process.get("/metrics")[1], "the task's count"
    )
    families = {family.name: family for family in text_string_to_metric_families(process.get("/metrics")[1])}
    assert families["agent_mqtt_connected"].samples[0].value == 1
    assert families["agent_info"].samples[0].labels["agent_id"] == "alpha"
    assert {"agent_requests", "agent_request_duration_seconds", "process_resident_memory_bytes"} <= set(
        families
    )


def test_no_prompt_in_the_log(agent: StartAgent, client: Client) -> None:
    process = agent(LOG_LEVEL="info").start().ready()
    client.answer(client.send("alpha", task("alpha", input="cardamom", instruction="saffron")))
    assert process.events("task_answered")[0]["conversation_id"] == "conversation-1"
    assert "cardamom" not in process.output()
    assert "saffron" not in process.output()


def test_pretty_logs(agent: StartAgent) -> None:
    process = agent(LOG_FORMAT="pretty").start().ready()
    assert "available" in process.output()
    assert "{" not in process.output()
