# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints what agent_info found on all hosts of the play, once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.plugin_utils.status_table import status_table


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self.validate_argument_spec(
            {
                "found": {"type": "dict", "required": True},
                "hosts": {"type": "list", "elements": "str", "required": True},
                "names": {"type": "list", "elements": "str", "default": []},
                "format": {"type": "str", "default": "table", "choices": ["table", "json"]},
            }
        )[1]
        names = set(options["names"])
        answers = {host: options["found"].get(host) or {} for host in options["hosts"]}
        agents = [
            agent
            for answer in answers.values()
            for agent in answer.get("agents", ())
            if not names or {agent["name"], agent["base"], agent["agent_id"]} & names
        ]
        silent = {host: _why(answer) for host, answer in answers.items() if "agents" not in answer}
        if options["format"] == "json":
            Display().display(json.dumps({"agents": agents, "silent": silent}, default=str))
        else:
            Display().display(status_table(agents, silent))
        unready = sorted(f"{agent['name']} on {agent['host']}" for agent in agents if not agent["ready"])
        result.update(changed=False, agents=agents, silent=silent)
        if unready or silent:
            parts = [f"not ready: {', '.join(unready)}"] * bool(unready) + [
                f"no answer from: {', '.join(sorted(silent))}"
            ] * bool(silent)
            result.update(failed=True, msg="; ".join(parts))
        return result


def _why(answer: Mapping[str, Any]) -> str:
    return str(answer.get("msg") or "unreachable").splitlines()[0].removeprefix("Task failed: ")
