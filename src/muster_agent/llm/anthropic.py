# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Anthropic's messages API, and every server that speaks it ($ANTHROPIC_BASE_URL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from muster_agent.config import LlmSection
from muster_agent.errors import LlmError
from muster_agent.llm.api_client import ApiClient, NotFound
from muster_agent.llm.base import Completion, Message, ToolCall, ToolSpec, Usage

API_VERSION = "2023-06-01"
# The API insists on a limit; the config need not name one.
DEFAULT_MAX_TOKENS = 4096


class Anthropic:
    def __init__(self, section: LlmSection, base_url: str, api_key: str) -> None:
        self._section = section
        self._api = ApiClient("anthropic", base_url, {"x-api-key": api_key, "anthropic-version": API_VERSION})

    async def check(self) -> None:
        try:
            await self._api.get(f"/v1/models/{quote(self._section.model)}")
        except NotFound:
            raise LlmError(f"anthropic does not know the model {self._section.model}") from None

    async def complete(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Completion:
        body: dict[str, Any] = {
            "model": self._section.model,
            "max_tokens": self._section.max_tokens or DEFAULT_MAX_TOKENS,
            "messages": _turns(messages),
        }
        system = "\n\n".join(item.text for item in messages if item.role == "system" and item.text)
        if system:
            body["system"] = system
        if self._section.temperature is not None:
            # This API's scale ends at 1, the config's at 2.
            body["temperature"] = min(self._section.temperature, 1.0)
        if tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
                for tool in tools
            ]
        return _completion(await self._api.post("/v1/messages", body))

    def trouble(self) -> str | None:
        return self._api.trouble()

    async def close(self) -> None:
        await self._api.close()


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """User and assistant turns in alternation: results of several tools belong into one user turn."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(_blocks(message))
        else:
            turns.append({"role": role, "content": _blocks(message)})
    return turns


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.text}]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text else []
    blocks.extend(
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments or {}}
        for call in message.tool_calls
    )
    return blocks


def _completion(answer: dict[str, Any]) -> Completion:
    try:
        blocks = answer["content"]
        usage = answer.get("usage") or {}
        return Completion(
            text="".join(str(block["text"]) for block in blocks if block.get("type") == "text"),
            tool_calls=tuple(
                ToolCall(
                    str(block["id"]),
                    str(block["name"]),
                    block["input"] if isinstance(block.get("input"), dict) else None,
                )
                for block in blocks
                if block.get("type") == "tool_use"
            ),
            usage=Usage(int(usage.get("input_tokens") or 0), int(usage.get("output_tokens") or 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise LlmError("anthropic answered in a form that is not a message") from None
