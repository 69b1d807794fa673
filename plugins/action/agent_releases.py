# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_releases: which releases of which agents a host has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import KINDS
from ansible_collections.muster.agents.plugins.plugin_utils.host_action import DEFER, HostAction
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import call_engine

_AGENTS = f"{KINDS['agent']}/"


class ActionModule(HostAction):
    SPEC: ClassVar = {"names": {"type": "list", "elements": "str", "default": []}, **DEFER}

    def work(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        report = call_engine(self, variables, {"phase": "releases", "names": options["names"]}, {})
        agents = [
            {**other_names, "releases": report["releases"][key]}
            for key, other_names in report["workloads"].items()
            if key.startswith(_AGENTS)
        ]
        return {"changed": False, "agents": agents}
