# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One task's dialogue with the model: the model may call tools, within the task's budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from muster_agent import logs
from muster_agent.config import AgentConfig
from muster_agent.errors import LlmError, TaskError, ToolBroken, ToolError
from muster_agent.llm.base import Completion, Message, Provider, ToolCall
from muster_agent.metrics import Metrics
from muster_agent.protocol import messages
from muster_agent.tools import schema
from muster_agent.tools.base import Tool


class Dialogue:
    """Answers instructions with the configured model and tools. Safe to use for several tasks at once."""

    def __init__(
        self, config: AgentConfig, provider: Provider, tools: Mapping[str, Tool], metrics: Metrics
    ) -> None:
        self._config = config
        self._provider = provider
        self._tools = tools
        self._metrics = metrics
        self._price = config.price()

    async def answer(self, instruction: str | None, data: Any) -> str:
        """The model's final text. Raises TaskError with the protocol's code for what went wrong."""
        turns = [
            Message("system", self._config.llm.system_prompt + f"\n\nCurrent date: {_today()} (UTC)"),
            Message("user", _request(instruction, data)),
        ]
        budget = self._config.budget
        calls_left, spent = budget.max_tool_calls, 0.0
        for iteration in range(1, budget.max_iterations + 1):
            offered = [tool.spec for tool in self._tools.values()] if calls_left > 0 else []
            try:
                completion = await self._provider.complete(turns, offered)
            except LlmError as error:
                raise TaskError(messages.LLM_ERROR, str(error)) from None
            spent += self._count(completion)
            if not completion.tool_calls:
                if not completion.text.strip():
                    raise TaskError(messages.LLM_ERROR, "the model gave an empty answer")
                return completion.text
            if budget.max_cost_per_task is not None and spent >= budget.max_cost_per_task:
                raise self._exceeded("max_cost_per_task", budget.max_cost_per_task)
            logs.get().info(
                "llm_tool_calls", iteration=iteration, tools=[call.name for call in completion.tool_calls]
            )
            turns.append(Message("assistant", completion.text, completion.tool_calls))
            for call in completion.tool_calls:
                if calls_left > 0:
                    result = await self._call(call)
                else:
                    self._metrics.budget_exhausted.labels("max_tool_calls").inc()
                    result = _failure("the budget for tool calls is used up")
                calls_left -= 1
                turns.append(Message("tool", result, tool_call_id=call.id))
        raise self._exceeded("max_iterations", budget.max_iterations)

    def _exceeded(self, limit: str, value: float) -> TaskError:
        self._metrics.budget_exhausted.labels(limit).inc()
        # The protocol has no code of its own for this; the public agent reports it as an internal error too.
        return TaskError(messages.INTERNAL_ERROR, f"the task's budget is used up: {limit} = {value:g}")

    def _count(self, completion: Completion) -> float:
        """Records the usage of one turn; gives its cost in US dollars, 0 where the price is not known."""
        usage = completion.usage
        self._metrics.tokens.labels("input").inc(usage.input_tokens)
        self._metrics.tokens.labels("output").inc(usage.output_tokens)
        return self._price.of(usage.input_tokens, usage.output_tokens) if self._price else 0.0

    async def _call(self, call: ToolCall) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            self._metrics.tool_calls.labels("unknown", "refused").inc()
            return _failure("there is no such tool")
        problem = schema.problem(tool.spec.parameters, call.arguments)
        if problem is not None:
            self._metrics.tool_calls.labels(call.name, "refused").inc()
            return _failure(problem)
        assert call.arguments is not None
        try:
            result = await tool.execute(call.arguments)
        except ToolError as error:
            self._metrics.tool_calls.labels(call.name, "failed").inc()
            logs.get().warning("tool_failed", tool=call.name, reason=str(error))
            return _failure(str(error))
        except ToolBroken as error:
            self._metrics.tool_calls.labels(call.name, "broken").inc()
            raise TaskError(messages.TOOL_EXECUTION_FAILED, f"{call.name}: {error}") from None
        self._metrics.tool_calls.labels(call.name, "ok").inc()
        return json.dumps(result, ensure_ascii=False)


def _request(instruction: str | None, data: Any) -> str:
    text = data if isinstance(data, str) else "" if data is None else json.dumps(data, ensure_ascii=False)
    return (
        "\n\n".join(part for part in (instruction, text and f"Input: {text}") if part) or "(no instruction)"
    )


def _failure(reason: str) -> str:
    return json.dumps({"error": reason})


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()
