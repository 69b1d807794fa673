# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every tool is (RFC section 8): describe, initialize, execute, shut down."""

from __future__ import annotations

from typing import Any, Protocol

from muster_agent.llm.base import ToolSpec


class Tool(Protocol):
    spec: ToolSpec

    async def initialize(self) -> None:
        """Called once before the agent says that it is available. Raises ToolBroken."""

    async def execute(self, arguments: dict[str, Any]) -> Any:
        """A JSON-serialisable result. `arguments` fit the schema. Raises ToolError or ToolBroken."""

    async def close(self) -> None:
        """Ends open connections."""
