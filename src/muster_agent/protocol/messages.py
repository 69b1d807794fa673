# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the agent publishes (RFC sections 6.2 and 6.3), as JSON bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

AVAILABLE = "available"
UNAVAILABLE = "unavailable"

TOOL_EXECUTION_FAILED = "tool_execution_failed"
LLM_ERROR = "llm_error"
INVALID_INPUT = "invalid_input"
PIPELINE_DEPTH_EXCEEDED = "pipeline_depth_exceeded"
INTERNAL_ERROR = "internal_error"

MAX_MESSAGE_BYTES = 256 * 1024


def timestamp() -> str:
    """Now, RFC 3339 with a Z suffix."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def status(agent_id: str, state: str, capabilities: Sequence[str], description: str) -> bytes:
    message: dict[str, Any] = {"agent_id": agent_id, "status": state, "timestamp": timestamp()}
    if state == AVAILABLE:
        message.update(capabilities=list(capabilities), description=description)
    return encode(message)


def response(task_id: str, text: str) -> bytes:
    return encode({"response": text, "task_id": task_id})


def error(task_id: str | None, code: str, text: str) -> bytes:
    return encode({"error": {"code": code, "message": text}, "task_id": task_id})
