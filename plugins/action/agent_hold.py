# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_hold: holds agents of one host stopped, or lets them go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.module_utils.engine.maintenance import COME_BACK
from ansible_collections.muster.agents.plugins.plugin_utils.host_action import DEFER, HostAction
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import call_engine


class ActionModule(HostAction):
    SPEC: ClassVar = {
        "names": {"type": "list", "elements": "str", "required": True},
        "held": {"type": "bool", "default": True},
        "note": {"type": "str", "default": ""},
        "moving": {"type": "bool", "default": False},
        **DEFER,
    }

    def work(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        going_on = COME_BACK if options["moving"] else "unhold"
        request = {
            "phase": "hold" if options["held"] else going_on,
            "names": options["names"],
            "note": options["note"],
        }
        return self._told(call_engine(self, variables, request, {}), host, options["defer"])

    def _told(self, report: dict[str, Any], host: str, defer: bool) -> dict[str, Any]:
        would = "would be " if self._task.check_mode else ""
        done = {word: report[word] for word in ("held", "unheld", "unchanged")}
        for word in ("held", "unheld"):
            for name in done[word]:
                Display().display(f"  {host}: {name} {would}{word}")
        unready = {
            one["name"]: f"{host}: {one['name']} is let go on and not ready: {one['reason']}"
            + "".join(f"\n    | {line}" for line in one["log"])
            for one in report["outcomes"]
            if not one["ready"]
        }
        told: dict[str, Any] = {"changed": bool(done["held"] or done["unheld"]), **done, "unready": unready}
        if not unready or defer:
            return told
        return {**told, "failed": True, "msg": "\n".join(unready.values())}
