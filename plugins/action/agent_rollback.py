# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_rollback: agents of one host back to releases that are still there, with today's secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import workload_key
from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import RELEASED
from ansible_collections.muster.agents.plugins.plugin_utils.host_action import DEFER, HostAction
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import (
    call_engine,
    secret_names,
    sentence,
    values_of,
)
from ansible_collections.muster.agents.plugins.plugin_utils.plan import SECRET


class ActionModule(HostAction):
    SPEC: ClassVar = {
        "targets": {"type": "dict", "required": True},
        "source": {"type": "dict", "default": {}},
        "parallel": {"type": "int", "default": 8},
        "keep": {"type": "int", "default": 5},
        **DEFER,
    }

    def work(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        targets: dict[str, str] = options["targets"]
        known = call_engine(self, variables, {"phase": "releases", "names": list(targets)}, {})["releases"]
        needs = [
            {"kind": "agent", "name": name, "secrets": self._known(one["secrets"], variables)}
            for name, target in targets.items()
            for one in known.get(workload_key("agent", name), ())
            if one["release"] == target
        ]
        if self._task.check_mode:
            now = {name: _current(known.get(workload_key("agent", name), ())) for name in targets}
            return {
                "changed": bool(targets),
                "outcomes": [_predicted(name, now[name], one) for name, one in targets.items()],
            }
        request = {
            "phase": "rollback",
            "names": list(targets),
            "targets": targets,
            "who": options["source"],
            "parallel": options["parallel"],
            "keep": options["keep"],
        }
        report = call_engine(self, variables, request, values_of(self, variables, needs))
        bad = []
        for one in report["outcomes"]:
            one["why"] = "rollback"
            if one["result"] != RELEASED:
                bad.append(f"{host}: {sentence(one)}")
            else:
                Display().display(f"  {host}: {one['name']} is back on {one['after']}, healthy")
        result: dict[str, Any] = {"changed": bool(report["outcomes"]), "outcomes": report["outcomes"]}
        if bad and not options["defer"]:
            result.update(failed=True, msg="\n".join(bad))
        return result

    def _known(
        self, sources: Mapping[str, Mapping[str, str]], variables: Mapping[str, Any]
    ) -> dict[str, Mapping[str, str]]:
        """Without what the vault no longer has: the host may still have its value, and says so where it has not."""
        vault = secret_names(self, variables)
        return {
            variable: source
            for variable, source in sources.items()
            if source["from"] != SECRET or source["name"] in vault
        }


def _current(releases: Iterable[Mapping[str, Any]]) -> str | None:
    return next((str(one["release"]) for one in releases if one["current"]), None)


def _predicted(name: str, before: str | None, after: str) -> dict[str, Any]:
    return {
        "name": name,
        "result": RELEASED,
        "before": before,
        "after": after,
        "why": "rollback",
        "reason": "",
        "log": [],
    }
