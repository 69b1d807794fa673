# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_info: asks the engine on a host what runs there and whether it is ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.muster.agents.plugins.plugin_utils.host_action import DEFER, HostAction
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import call_engine


class ActionModule(HostAction):
    SPEC: ClassVar = DEFER

    def work(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        report = call_engine(self, variables, {"phase": "status"}, {})
        agents = [{"host": host, **entry} for entry in report["workloads"] if entry.pop("kind") == "agent"]
        return {"changed": False, "agents": agents}
