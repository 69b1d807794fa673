# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_release: hands the plan of one host to the engine there, and tells what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.module_utils.engine.commit import RELEASED
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import workload_key
from ansible_collections.muster.agents.plugins.plugin_utils import artifacts
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import (
    HostRefused,
    Secrets,
    call_engine,
    missing,
    sentence,
)
from ansible_collections.muster.agents.plugins.plugin_utils.problems import InputError

_PHASES = ("stage", "retire", "switch", "remove")


class ActionModule(ActionBase):
    TRANSFERS_FILES = False  # only a missing runtime is transferred, and makes its own temporary directory
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self.validate_argument_spec(
            {
                "phase": {"type": "str", "required": True, "choices": list(_PHASES)},
                "plan": {"type": "dict", "default": {}},
                "staged": {"type": "dict", "default": {}},
                "names": {"type": "list", "elements": "str", "default": []},
                "purge": {"type": "bool", "default": False},
                "assume_gone": {"type": "bool", "default": False},
                "parallel": {"type": "int", "default": 8},
            }
        )[1]
        self._host = (task_vars or {}).get("inventory_hostname", "")
        try:
            result.update(getattr(self, f"_{options['phase']}")(options, task_vars or {}))
        except HostRefused as error:
            result.update(failed=True, kind=error.kind, msg=f"{self._host}: {error}")
        except InputError as error:
            result.update(failed=True, msg=str(error))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _stage(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        plan = options["plan"]
        workloads = plan["hosts"].get(self._host, [])
        request = self._request("stage", options, workloads)
        secrets = _secrets(self, variables, workloads)
        report = call_engine(self, variables, request, secrets)
        needed = report["missing_runtimes"]
        if needed and not self._task.check_mode:
            request["runtime_files"] = self._push(needed, plan["artifacts"])
            report = call_engine(self, variables, request, secrets)
        pending = {one["name"]: one["reasons"] for one in report["workloads"] if one["action"] != "nothing"}
        if report["orphans"]:
            names = ",".join(report["orphans"])
            Display().warning(
                f"{self._host} runs what no fleet names any more: playbooks/remove.yml -e agent={names}"
            )
        return {
            "changed": bool(pending or report["retire"]) and not report["refused"],
            "pending": pending,
            "retire": report["retire"],
            "refused": report["refused"],
            "orphans": report["orphans"],
            "diff": report["diff"]
            + [missing("runtime", f"{name} {digest}") for digest, name in needed.items()],
            "msg": "; ".join(f"{name}: {', '.join(reasons)}" for name, reasons in sorted(pending.items())),
        }

    def _push(self, missing: Mapping[str, str], known: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Bring runtimes to the host; digest → path there. They are proven again before they are installed."""
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        paths = {}
        for digest in missing:
            local = artifacts.local_file(digest, known[digest])
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, f"runtime-{digest}")
            paths[digest] = self._transfer_file(str(local), remote)
        return paths

    def _retire(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        names = options["staged"]["retire"]
        if not self._task.check_mode:
            names = call_engine(
                self, variables, self._request("retire", options, self._workloads(options)), {}
            )["retired"]
        for name in names:
            Display().display(
                f"  {self._host}: {name} {'would be ' if self._task.check_mode else ''}retired, it moved away"
            )
        return {"changed": bool(names), "retired": names}

    def _switch(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        pending = options["staged"]["pending"]
        if self._task.check_mode:
            return {"changed": bool(pending), "results_by_agent": {}}
        workloads = [one for one in self._workloads(options) if one["manifest"]["name"] in pending]
        request = self._request("switch", options, workloads)
        report = call_engine(self, variables, request, _secrets(self, variables, workloads))
        outcomes = report["outcomes"]
        results = {outcome["name"]: outcome["result"] for outcome in outcomes}
        bad = [outcome for outcome in outcomes if outcome["result"] != RELEASED]
        for outcome in outcomes:
            if outcome not in bad:
                why = ", ".join(pending.get(outcome["name"], []))
                Display().display(
                    f"  {self._host}: {outcome['name']} released {outcome['after']} ({why}), healthy"
                )
        result: dict[str, Any] = {"changed": bool(outcomes), "outcomes": results}
        if bad:
            sentences = [f"{self._host}: {sentence(outcome)}" for outcome in bad]
            result.update(failed=True, msg="\n".join(sentences))
        return result

    def _remove(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        report = call_engine(
            self, variables, {"phase": "remove", "names": options["names"], "purge": options["purge"]}, {}
        )
        for entry in report["removed"]:
            if entry.get("warning"):
                Display().warning(f"{self._host}: {entry['name']}: {entry['warning']}")
            Display().display(
                f"  {self._host}: {entry['name']} {'would be ' if self._task.check_mode else ''}removed"
            )
        return {"changed": bool(report["removed"] or report["purged"]), **report}

    def _workloads(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(options["plan"]["hosts"].get(self._host, []))

    def _request(
        self, phase: str, options: Mapping[str, Any], workloads: list[dict[str, Any]]
    ) -> dict[str, Any]:
        plan = options["plan"]
        return {
            "phase": phase,
            "workloads": [{"manifest": one["manifest"], "files": one["files"]} for one in workloads],
            "names": plan["names"],
            "fleet": plan["fleet"],
            "ids": plan["ids"],
            "assume_gone": options["assume_gone"],
            "parallel": options["parallel"],
        }


def _secrets(
    action: ActionBase, variables: Mapping[str, Any], workloads: list[dict[str, Any]]
) -> dict[str, dict[str, str]]:
    secrets = Secrets(action, variables)
    return {
        workload_key(one["manifest"]["kind"], one["manifest"]["name"]): secrets.of(one["secrets"])
        for one in workloads
    }
