# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints what agent_info found on all hosts of the play, once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import REFUSED
from ansible_collections.muster.agents.plugins.plugin_utils.host_action import DEFER
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import UNREACHABLE
from ansible_collections.muster.agents.plugins.plugin_utils.status_table import status_table
from ansible_collections.muster.agents.plugins.plugin_utils.status_verdicts import verdicts


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
                "instances": {"type": "dict", "default": {}},
                "names": {"type": "list", "elements": "str", "default": []},
                "format": {"type": "str", "default": "table", "choices": ["table", "json"]},
                **DEFER,
            }
        )[1]
        answers = {host: options["found"].get(host) or {} for host in options["hosts"]}
        names = set(options["names"])
        answered = {
            host: [
                agent
                for agent in answer["agents"]
                if not names or {agent["name"], agent["base"], agent["agent_id"]} & names
            ]
            for host, answer in answers.items()
            if "agents" in answer
        }
        silent = {host: _problem(host, answers[host]) for host in answers if host not in answered}
        agents = [agent for found in answered.values() for agent in found]
        seen = {agent[key] for agent in agents for key in ("name", "base", "agent_id")}
        absent = sorted((names or set(options["fleet"])) - seen)
        wanted = {name: number for name, number in options["instances"].items() if not names or name in names}
        fewer = _fewer(wanted, agents)
        reasons = {host: told["msg"].removeprefix(f"{host}: ") for host, told in silent.items()}
        if options["format"] == "json":
            document = {"agents": agents, "silent": reasons, "absent": absent, "fewer": fewer}
            Display().display(json.dumps(document, default=str))
        else:
            Display().display(status_table(agents, reasons, absent, fewer))
        against = verdicts(answered, silent, absent, fewer)
        result.update(changed=False, agents=agents, silent=reasons, absent=absent, verdicts=against)
        if against and not options["defer"]:
            result.update(failed=True, msg="; ".join(told["msg"] for told in against.values()))
        return result


def _fewer(wanted: Mapping[str, object], agents: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """fleet key → how many of its instances are there, of those of which some are and some are not."""
    there = Counter(agent["base"] for agent in agents)
    return {
        name: f"{there[name]} of {number}"
        for name, number in sorted(wanted.items())
        if isinstance(number, int) and 0 < there[name] < number
    }


def _problem(host: str, answer: Mapping[str, Any]) -> dict[str, str]:
    """What agent_info said in place of the agents, in one line."""
    told = answer.get("problem") or answer
    lines = str(told.get("msg") or "").splitlines() or [f"{host}: no answer"]
    kind = told.get("kind") or (UNREACHABLE if told.get("unreachable") else REFUSED)
    return {"kind": kind, "msg": lines[0] if lines[0].startswith(f"{host}: ") else f"{host}: {lines[0]}"}
