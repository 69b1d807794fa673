# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_agent.errors import TaskError
from muster_agent.protocol import envelope, messages

TASK: dict[str, Any] = {
    "task_id": "550e8400-e29b-41d4-a716-446655440000",
    "conversation_id": "c",
    "topic": "/control/agents/me/input",
    "instruction": None,
    "input": {},
    "next": None,
}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(payload: bytes) -> None:
    try:
        assert isinstance(envelope.decode(payload), dict)
    except TaskError as error:
        assert error.code == messages.INVALID_INPUT


@given(st.dictionaries(st.sampled_from(sorted(TASK)), ANY_JSON))
def test_any_fields_are_a_task_or_invalid_input(fields: dict[str, Any]) -> None:
    raw = {**TASK, **fields}
    try:
        task = envelope.parse(raw, "me")
    except TaskError as error:
        assert error.code == messages.INVALID_INPUT
    else:
        assert task.input == raw["input"]
        assert envelope.conversation_id(raw) == task.conversation_id
    assert envelope.depth(raw) >= 1


@given(ANY_JSON, st.text(max_size=50))
def test_what_follows_is_a_task_for_the_next_agent(data: Any, answer: str) -> None:
    step = {"topic": "control/agents/you/input/", "instruction": "go", "input": None, "next": None}
    raw = {**TASK, "input": data, "next": step, "version": "2.0", "context": {"iteration_count": 2}}
    topic, message = envelope.following(envelope.parse(raw, "me"), answer)
    assert topic == "/control/agents/you/input"
    passed_on = envelope.parse(envelope.decode(message), "you")
    assert (passed_on.task_id, passed_on.conversation_id) == (TASK["task_id"], "c")
    assert (passed_on.input, passed_on.instruction) == (answer, "go")
    assert passed_on.carried == {"version": "2.0", "context": {"iteration_count": 2}}


def test_a_conversation_as_the_end_gets_a_response() -> None:
    raw = {**TASK, "next": {"topic": "/conversations/other/me"}}
    topic, message = envelope.following(envelope.parse(raw, "me"), "done")
    assert topic == "/conversations/other/me"
    assert json.loads(message) == {"response": "done", "task_id": TASK["task_id"]}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("x", "next must be an object"),
        ({}, "next.topic must be a string"),
        ({"topic": "/elsewhere"}, "agent's input or a conversation"),
        ({"topic": "/conversations/+/me"}, "agent's input or a conversation"),
        ({"topic": "/conversations/c/you"}, "id of the agent that answers"),
        (
            {"topic": "/conversations/c/me", "next": {"topic": "/control/agents/a/input"}},
            "nothing can follow",
        ),
        ({"topic": "/control/agents/a/input", "next": {"topic": "/x"}}, "next.next.topic"),
        ({"topic": "/control/agents/a/input", "instruction": 1}, "next.instruction must be a string"),
    ],
)
def test_a_bad_pipeline_is_refused_before_any_work(step: Any, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        envelope.parse({**TASK, "next": step}, "me")


def test_depth_counts_this_agent_too() -> None:
    assert envelope.depth(TASK) == 1
    assert envelope.depth({**TASK, "next": {"next": {"next": None}}}) == 3
