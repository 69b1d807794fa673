# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OpenAI's chat completions API, and every server that speaks it ($OPENAI_BASE_URL)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from muster_agent.config import LlmSection
from muster_agent.errors import LlmError
from muster_agent.llm.api_client import ApiClient, NotFound
from muster_agent.llm.base import Completion, Message, ToolCall, ToolSpec, Usage

# These models take max_completion_tokens and no temperature of the caller's.
_REASONING = re.compile(r"(o\d|gpt-5)")


class OpenAi:
    def __init__(self, section: LlmSection, base_url: str, api_key: str) -> None:
        self._section = section
        self._api = ApiClient("openai", base_url, {"Authorization": f"Bearer {api_key}"})

    async def check(self) -> None:
        model = self._section.model
        try:
            await self._api.get(f"/models/{quote(model)}")
        except NotFound:
            # Some compatible servers have only the list.
            listed = await self._api.get("/models")
            if not any(
                isinstance(item, dict) and item.get("id") == model for item in listed.get("data") or ()
            ):
                raise LlmError(f"openai does not know the model {model}") from None

    async def complete(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Completion:
        body: dict[str, Any] = {
            "model": self._section.model,
            "messages": [_message(item) for item in messages],
        }
        reasoning = _REASONING.match(self._section.model) is not None
        if self._section.max_tokens is not None:
            body["max_completion_tokens" if reasoning else "max_tokens"] = self._section.max_tokens
        if self._section.temperature is not None and not reasoning:
            body["temperature"] = self._section.temperature
        if tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.parameters,
                    },
                }
                for tool in tools
            ]
        return _completion(await self._api.post("/chat/completions", body))

    def trouble(self) -> str | None:
        return self._api.trouble()

    async def close(self) -> None:
        await self._api.close()


def _message(message: Message) -> dict[str, Any]:
    shaped: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_calls:
        shaped["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments or {})},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        shaped["tool_call_id"] = message.tool_call_id
    return shaped


def _completion(answer: dict[str, Any]) -> Completion:
    try:
        message = answer["choices"][0]["message"]
        calls = tuple(
            ToolCall(
                str(call["id"]), str(call["function"]["name"]), _arguments(call["function"].get("arguments"))
            )
            for call in message.get("tool_calls") or ()
        )
        usage = answer.get("usage") or {}
        return Completion(
            text=str(message.get("content") or ""),
            tool_calls=calls,
            usage=Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise LlmError("openai answered in a form that is not a chat completion") from None


def _arguments(text: Any) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except (ValueError, TypeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
