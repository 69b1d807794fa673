# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The offline provider: no model, no network, the same answer to the same task. For demos and tests."""

from __future__ import annotations

from collections.abc import Sequence

from muster_agent.llm.base import Completion, Message, ToolSpec


class Echo:
    async def check(self) -> None:
        return None

    async def complete(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Completion:
        task = "\n\n".join(message.text for message in messages if message.role == "user")
        return Completion(f"[offline echo provider, no language model was asked] {task}")

    def trouble(self) -> str | None:
        return None

    async def close(self) -> None:
        return None
