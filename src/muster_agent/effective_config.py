# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The config that a run would use, as JSON: names of variables, never their values."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from muster_agent.config import AgentConfig
from muster_agent.settings import Settings


def render(config: AgentConfig, settings: Settings) -> str:
    shown: dict[str, Any] = dataclasses.asdict(config)
    del shown["hints"]
    shown["mqtt"]["broker_url"] = str(config.mqtt.broker)
    del shown["mqtt"]["broker"]
    shown["tools"] = {tool.pop("name"): tool for tool in shown["tools"]}
    shown["environment"] = dataclasses.asdict(settings)
    return json.dumps(shown, indent=2, ensure_ascii=False, default=str)
