# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of broker_release: the broker's files go through the same engine as an agent's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import workload_key
from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import RELEASED
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import CREDENTIALS, RESTART
from ansible_collections.muster.agents.plugins.plugin_utils.broker import (
    BROKER,
    BROKER_OPTIONS,
    broker_given,
    broker_secrets,
    broker_workload,
)
from ansible_collections.muster.agents.plugins.plugin_utils.host_action import HostAction
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import (
    Secrets,
    call_engine,
    missing,
    sentence,
)

_AT_ONCE = "deploy them all at once, without -e agent and --limit"
# What concerns every agent is not done in a deploy of some.
_NO_REKEY = {
    CREDENTIALS: f"fleet_credentials_key is a new one, so every agent gets a new password: {_AT_ONCE}",
    RESTART: f"the broker has to restart, and after it all its agents: {_AT_ONCE}",
}


class ActionModule(HostAction):
    SPEC: ClassVar = {
        **BROKER_OPTIONS,
        "agents": {"type": "list", "elements": "str", "required": True},
        "rekey": {"type": "bool", "default": True},
    }

    def work(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        key = Secrets(self, variables).credentials_key
        given = broker_given(self, options, variables)
        workload = broker_workload(options, key, options["agents"], given)
        request = {
            "workloads": [workload],
            "phase": "release",
            "forbid": {} if options["rekey"] else _NO_REKEY,
        }
        secrets = {workload_key("service", BROKER): broker_secrets(given)}
        report = call_engine(self, variables, request, secrets)
        changes = {one["name"]: one["reasons"] for one in report["workloads"] if one["action"] != "nothing"}
        outcomes = report.get("outcomes", [])
        result = {
            "changed": bool(changes) and not report["refused"],
            "missing_packages": report["missing_packages"],
            "diff": report["diff"] + [missing("package", name) for name in report["missing_packages"]],
            "outcomes": outcomes,
        }
        problems = [f"{host}: {reason}" for reason in report["refused"].values()]
        for outcome in outcomes:
            outcome["why"] = ", ".join(changes.get(outcome["name"], ()))
            if outcome["result"] != RELEASED:
                problems.append(f"{host}: {sentence(outcome)}")
            else:
                Display().display(f"  {host}: broker released {outcome['after']} ({outcome['why']}), healthy")
        return {**result, "failed": True, "msg": "\n".join(problems)} if problems else result
