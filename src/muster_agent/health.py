# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the agent knows about its own state, as /ready and /health tell it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

HEALTHY = "healthy"
UNHEALTHY = "unhealthy"


@dataclass
class Check:
    """State of one part; `last_check` is when it was last looked at, in seconds since the epoch."""

    status: str = UNHEALTHY
    message: str = "not checked yet"
    last_check: int = field(default_factory=lambda: int(time.time()))

    def set(self, healthy: bool, message: str) -> None:
        self.status = HEALTHY if healthy else UNHEALTHY
        self.message = message
        self.last_check = int(time.time())

    @property
    def healthy(self) -> bool:
        return self.status == HEALTHY


class Health:
    """The checks of the agent, by the name that /health gives them."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.mqtt = Check()
        self.llm = Check()
        self.tools = Check()
        self.task_processing = Check()
        self.started = False
        self.stopping = False
        # Brings the checks up to date; called when somebody asks, not all the time.
        self.look: Callable[[], None] = lambda: None

    @property
    def ready(self) -> bool:
        """Whether a task that is sent now would be taken now."""
        return self.started and not self.stopping and self.mqtt.healthy

    @property
    def uptime_seconds(self) -> int:
        return int(time.monotonic() - self._started)

    def report(self) -> dict[str, Any]:
        self.look()
        healthy = self.ready and all(check.healthy for check in self._checks().values())
        return {
            "status": HEALTHY if healthy else "degraded",
            "checks": {name: dict(vars(check)) for name, check in self._checks().items()},
            "uptime_seconds": self.uptime_seconds,
        }

    def _checks(self) -> dict[str, Check]:
        return {
            "mqtt": self.mqtt,
            "llm": self.llm,
            "tools": self.tools,
            "task_processing": self.task_processing,
        }
