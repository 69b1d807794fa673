# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_info: asks the engine on a host what runs there and whether it is ready."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.plugin_utils.host_call import HostRefused, call_engine


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        self.validate_argument_spec({})
        host = variables.get("inventory_hostname", "")
        try:
            report = call_engine(self, variables, {"phase": "status"}, {})
        except HostRefused as error:
            return {**result, "failed": True, "kind": error.kind, "msg": f"{host}: {error}"}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        agents = [{"host": host, **entry} for entry in report["workloads"] if entry.pop("kind") == "agent"]
        return {**result, "changed": False, "agents": agents}
