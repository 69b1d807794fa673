# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints what agent_info found on all hosts of the play, once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.plugin_utils.status_table import is_half_moved, status_table


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
                "fleet": {"type": "list", "elements": "str", "default": []},
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
        silent = {host: _why(host, answer) for host, answer in answers.items() if "agents" not in answer}
        seen = {agent[key] for agent in agents for key in ("name", "base", "agent_id")}
        absent = sorted((names or set(options["fleet"])) - seen)
        if options["format"] == "json":
            Display().display(json.dumps({"agents": agents, "silent": silent, "absent": absent}, default=str))
        else:
            Display().display(status_table(agents, silent, absent))
        where = {f"{agent['name']} on {agent['host']}": agent for agent in agents}
        unready = [name for name, agent in where.items() if not agent["ready"] and not agent["held"]]
        ill = [f"{name} ({agent['ill']})" for name, agent in where.items() if agent["ready"] and agent["ill"]]
        half_moved = [name for name, agent in where.items() if is_half_moved(agent)]
        drifted = [name for name, agent in where.items() if agent["drift"]]
        parts = (
            ("not ready", unready),
            ("ready, and not well", ill),
            ("stopped in the middle of a move", half_moved),
            ("changed by hand", drifted),
            ("on no host", absent),
            ("no answer from", sorted(silent)),
        )
        problems = [f"{what}: {', '.join(sorted(who))}" for what, who in parts if who]
        result.update(changed=False, silent=silent, absent=absent)
        # The table has told all; a failure need not tell it again.
        result.update({"failed": True, "msg": "; ".join(problems)} if problems else {"agents": agents})
        return result


def _why(host: str, answer: Mapping[str, Any]) -> str:
    return (
        str((answer.get("problem") or answer).get("msg") or "no answer")
        .splitlines()[0]
        .removeprefix(f"{host}: ")
    )
