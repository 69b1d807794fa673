# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_hold: holds agents of one host stopped, or lets them go on."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.plugin_utils.host_call import HostRefused, call_engine, problem

_PHASES = {True: "hold", False: "unhold"}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(
            {
                "names": {"type": "list", "elements": "str", "required": True},
                "held": {"type": "bool", "default": True},
                "note": {"type": "str", "default": ""},
            }
        )[1]
        host = variables.get("inventory_hostname", "")
        request = {"phase": _PHASES[options["held"]], "names": options["names"], "note": options["note"]}
        try:
            report = call_engine(self, variables, request, {})
        except HostRefused as error:
            return {**result, "failed": True, **problem(host, error)}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return {**result, **self._told(report, host)}

    def _told(self, report: dict[str, Any], host: str) -> dict[str, Any]:
        would = "would be " if self._task.check_mode else ""
        done = {word: report[word] for word in ("held", "unheld", "unchanged")}
        for word in ("held", "unheld"):
            for name in done[word]:
                Display().display(f"  {host}: {name} {would}{word}")
        bad = [
            f"{host}: {one['name']} is let go on and not ready: {one['reason']}"
            + "".join(f"\n    | {line}" for line in one["log"])
            for one in report["outcomes"]
            if not one["ready"]
        ]
        told: dict[str, Any] = {"changed": bool(done["held"] or done["unheld"]), **done}
        return {**told, "failed": True, "msg": "\n".join(bad)} if bad else told
