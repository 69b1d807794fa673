# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happens to a message on the input topic: the nine steps of RFC section 7.4, in their order."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Protocol

from muster_agent import logs
from muster_agent.config import AgentConfig
from muster_agent.errors import TaskError
from muster_agent.llm.dialogue import Dialogue
from muster_agent.metrics import Metrics
from muster_agent.mqtt import Delivery
from muster_agent.protocol import envelope, messages, topics
from muster_agent.seen import SeenTasks


class Publish(Protocol):
    def __call__(self, topic: str, payload: bytes) -> Awaitable[None]: ...


class Pipeline:
    """Turns each delivery into exactly one of: an answer, a next task, an error message, a log line.

    `handle` returns when the message is done with and may be acknowledged; it raises nothing but cancellation,
    which leaves the task to be delivered again.
    """

    def __init__(
        self, config: AgentConfig, dialogue: Dialogue, seen: SeenTasks, publish: Publish, metrics: Metrics
    ) -> None:
        self._agent_id = config.agent.id
        self._dialogue = dialogue
        self._seen = seen
        self._publish = publish
        self._metrics = metrics
        self.last_task: float | None = None

    async def handle(self, delivery: Delivery) -> None:
        started = time.monotonic()
        outcome = await self._steps(delivery)
        self._metrics.tasks.labels(outcome).inc()
        if outcome in ("answered", "forwarded", "failed"):
            self._metrics.task_seconds.observe(time.monotonic() - started)
            self.last_task = time.time()

    async def _steps(self, delivery: Delivery) -> str:
        """Steps 1 to 9; gives the outcome for the metrics."""
        log = logs.get()
        if delivery.retained:
            log.warning("task_ignored", reason="retained")
            return "ignored"
        if len(delivery.payload) > messages.MAX_MESSAGE_BYTES:
            log.warning("task_ignored", reason="larger than 256 KB", size=len(delivery.payload))
            return "ignored"
        try:
            raw = envelope.decode(delivery.payload)
        except TaskError as error:
            log.warning("task_invalid", reason=error.message)
            return "invalid"
        task_id, conversation = envelope.task_id(raw), envelope.conversation_id(raw)
        with logs.bind(task_id=task_id or "", conversation_id=conversation or ""):
            declared = raw.get("topic")
            if isinstance(declared, str) and topics.canonical(declared) != topics.canonical(delivery.topic):
                log.warning("task_ignored", reason="its topic is not the one that it came on")
                return "ignored"
            if task_id is not None and task_id in self._seen:
                log.info("task_ignored", reason="duplicate")
                return "duplicate"
            return await self._work(raw, task_id, conversation)

    async def _work(self, raw: dict[str, object], task_id: str | None, conversation: str | None) -> str:
        """Steps 5 to 9 of a task that is new and meant for this agent."""
        log = logs.get()
        try:
            depth = envelope.depth(raw)
            if depth > envelope.MAX_DEPTH:
                reason = f"the pipeline has {depth} agents, at most {envelope.MAX_DEPTH} are allowed"
                raise TaskError(messages.PIPELINE_DEPTH_EXCEEDED, reason)
            task = envelope.parse(raw, self._agent_id)
            log.info("task_started", depth=depth, next=task.next is not None)
            answer = await self._dialogue.answer(task.instruction, task.input)
            topic, message = self._result(task, answer)
            if len(message) > messages.MAX_MESSAGE_BYTES:
                raise TaskError(messages.INTERNAL_ERROR, "the answer is larger than 256 KB")
            outcome = "answered" if task.next is None else "forwarded"
            log.info(f"task_{outcome}", topic=topic, size=len(message))
        except TaskError as error:
            outcome, failure = "failed", error
            log.warning("task_failed", code=error.code, reason=error.message)
        except Exception:
            # One bad task must not end the agent, and the conversation must not see our insides.
            log.exception("task_failed", code=messages.INTERNAL_ERROR)
            outcome, failure = "failed", TaskError(messages.INTERNAL_ERROR, "the agent failed on this task")
        if outcome == "failed":
            if conversation is None:
                return "invalid"
            topic = topics.conversation_topic(conversation, self._agent_id)
            message = messages.error(task_id, failure.code, failure.message)
        await self._publish(topic, message)
        if task_id is not None:
            self._remember(task_id)
        return outcome

    def _result(self, task: envelope.Task, answer: str) -> tuple[str, bytes]:
        if task.next is not None:
            return envelope.following(task, answer)
        topic = topics.conversation_topic(task.conversation_id, self._agent_id)
        return topic, messages.response(task.task_id, answer)

    def _remember(self, task_id: str) -> None:
        try:
            self._seen.add(task_id)
        except OSError as error:
            # A full disk must not stop the work; a crash right now could only answer this one task twice.
            logs.get().error("answered_task_not_saved", reason=error.strerror)
