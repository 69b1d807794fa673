# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The task envelope, versions 1.0 and 2.0 (RFC section 6.1): checked once, then passed on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from muster_agent.errors import TaskError
from muster_agent.protocol import messages, topics

MAX_DEPTH = 16
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# What a 2.0 envelope has more than a 1.0 one; carried on unread.
_CARRIED = ("version", "context", "routing_trace")


@dataclass(frozen=True)
class Task:
    """A valid task for this agent. `next` is the rest of the pipeline as it came, already checked."""

    task_id: str
    conversation_id: str
    topic: str
    instruction: str | None
    input: Any
    next: dict[str, Any] | None
    carried: dict[str, Any] = field(default_factory=dict)


def decode(payload: bytes) -> dict[str, Any]:
    """The JSON object of a message. Raises TaskError(invalid_input) for anything else."""
    try:
        value = json.loads(payload.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _invalid("the task is not valid JSON") from None
    if not isinstance(value, dict):
        raise _invalid("the task is not a JSON object")
    return value


def conversation_id(raw: dict[str, Any]) -> str | None:
    """The conversation that an answer can be published to, or None when there is no usable one."""
    value = raw.get("conversation_id")
    return value if topics.is_conversation_id(value) else None


def task_id(raw: dict[str, Any]) -> str | None:
    """The task id in its one canonical spelling, or None when it is not a UUID."""
    value = raw.get("task_id")
    return value.lower() if isinstance(value, str) and _UUID.fullmatch(value) else None


def depth(raw: dict[str, Any]) -> int:
    """Agents in the pipeline, this one included (as the public agent counts them)."""
    count, step = 1, raw.get("next")
    while isinstance(step, dict):
        count, step = count + 1, step.get("next")
    return count


def parse(raw: dict[str, Any], agent_id: str) -> Task:
    """The checked task. Raises TaskError(invalid_input) that names the field, never its value."""
    identity = task_id(raw)
    if identity is None:
        raise _invalid("task_id must be a UUID")
    if not topics.is_conversation_id(raw.get("conversation_id")):
        raise _invalid("conversation_id must be one topic level without wildcards")
    if not isinstance(raw.get("topic"), str):
        raise _invalid("topic must be a string")
    if "input" not in raw:
        raise _invalid("input is missing")
    _check_instruction(raw, "instruction")
    following = raw.get("next")
    _check_next(following, agent_id)
    return Task(
        task_id=identity,
        conversation_id=raw["conversation_id"],
        topic=topics.canonical(raw["topic"]),
        instruction=raw.get("instruction"),
        input=raw["input"],
        next=following,
        carried={name: raw[name] for name in _CARRIED if name in raw},
    )


def following(task: Task, answer: str) -> tuple[str, bytes]:
    """Topic and message that a task with a `next` leads to.

    Another agent gets an envelope with the same task_id and conversation, and the answer as its input. A
    conversation topic is a final destination: it gets the answer as any conversation does.
    """
    step = task.next or {}
    topic = topics.canonical(step["topic"])
    if topics.input_agent(topic) is None:
        return topic, messages.response(task.task_id, answer)
    envelope = {
        "task_id": task.task_id,
        "conversation_id": task.conversation_id,
        "topic": topic,
        "instruction": step.get("instruction"),
        "input": answer,
        "next": step.get("next"),
        **task.carried,
    }
    return topic, messages.encode(envelope)


def _check_next(step: Any, agent_id: str) -> None:
    """Refuses a pipeline with a bad step before a model is paid for the first one."""
    where = "next"
    while step is not None:
        if not isinstance(step, dict):
            raise _invalid(f"{where} must be an object or null")
        topic = step.get("topic")
        if not isinstance(topic, str):
            raise _invalid(f"{where}.topic must be a string")
        _check_instruction(step, f"{where}.instruction")
        topic = topics.canonical(topic)
        if topics.input_agent(topic) is None:
            conversation = topics.conversation_of(topic)
            if conversation is None:
                raise _invalid(f"{where}.topic must be an agent's input or a conversation topic")
            # An agent speaks in a conversation as itself only; the broker's ACL would drop the rest in silence.
            if where == "next" and conversation[1] != agent_id:
                raise _invalid(f"{where}.topic must end in the id of the agent that answers")
            if step.get("next") is not None:
                raise _invalid(f"{where}.topic is a conversation, nothing can follow it")
        step, where = step.get("next"), where + ".next"


def _check_instruction(holder: dict[str, Any], where: str) -> None:
    if not isinstance(holder.get("instruction"), (str, type(None))):
        raise _invalid(f"{where} must be a string or null")


def _invalid(message: str) -> TaskError:
    return TaskError(messages.INVALID_INPUT, message)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
