# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_releases: which releases of which agents a host has."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import KINDS
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import HostRefused, call_engine, problem

_AGENTS = f"{KINDS['agent']}/"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(
            {
                "names": {"type": "list", "elements": "str", "default": []},
                "defer": {"type": "bool", "default": False},
            }
        )[1]
        host = variables.get("inventory_hostname", "")
        try:
            report = call_engine(self, variables, {"phase": "releases", "names": options["names"]}, {})
        except HostRefused as error:
            told = problem(host, error)
            return {**result, **({"problem": told} if options["defer"] else {"failed": True, **told})}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        agents = [
            {**other_names, "releases": report["releases"][key]}
            for key, other_names in report["workloads"].items()
            if key.startswith(_AGENTS)
        ]
        return {**result, "changed": False, "agents": agents}
