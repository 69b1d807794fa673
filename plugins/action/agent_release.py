# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_release: hands the plan of one host to the engine there, and tells what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import workload_key
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import (
    POST_RELEASE,
    PRE_RELEASE,
    release_id,
)
from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import REFUSED, RELEASED
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import (
    BROKER_RESTARTED,
    DRIFT,
    RESTART,
)
from ansible_collections.muster.agents.plugins.plugin_utils import artifacts
from ansible_collections.muster.agents.plugins.plugin_utils.broker import (
    BROKER,
    broker_given,
    broker_options,
    broker_secrets,
    broker_workload,
)
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import InputError
from ansible_collections.muster.agents.plugins.plugin_utils.hooks import run_here
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import (
    HostRefused,
    Secrets,
    call_engine,
    failed_as,
    missing,
    problem,
    reaching,
    sentence,
    values_of,
    went_well,
)
from ansible_collections.muster.agents.plugins.plugin_utils.plan import workloads_of
from ansible_collections.muster.agents.plugins.plugin_utils.versions import version_change

_PHASES = ("stage", "retire", "switch", "remove")
_BROKER = workload_key("service", BROKER)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False  # only a missing runtime is transferred, and makes its own temporary directory
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self.validate_argument_spec(
            {
                "phase": {"type": "str", "required": True, "choices": list(_PHASES)},
                "plan": {
                    "type": "raw",
                    "default": {},
                },  # raw: it is large, and a copy of it for every task is slow
                "staged": {"type": "raw", "default": {}},
                "only": {"type": "list", "elements": "str"},
                "moves": {"type": "dict", "default": {}},
                "names": {"type": "list", "elements": "str", "default": []},
                "purge": {"type": "bool", "default": False},
                "assume_gone": {"type": "bool", "default": False},
                "parallel": {"type": "int", "default": 8},
                "keep": {"type": "int", "default": 5},
                "fail_on_drift": {"type": "bool", "default": False},
                "restart": {"type": "bool", "default": False},
                "stay": {"type": "bool", "default": False},
                "defer": {"type": "bool", "default": False},
            }
        )[1]
        self._host = (task_vars or {}).get("inventory_hostname", "")
        try:
            result.update(getattr(self, f"_{options['phase']}")(options, task_vars or {}))
        except HostRefused as error:
            told = problem(self._host, error)
            if options["defer"]:
                Display().warning(told["msg"])
                result.update(changed=False, problem=told)
            else:
                result.update(failed_as(told))
        except (InputError, ValueError) as error:
            result.update(failed=True, msg=str(error))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _stage(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        plan = options["plan"]
        workloads = self._workloads(options)
        request = self._request("stage", options, workloads)
        request["forbid_drift"] = options["fail_on_drift"]
        secrets = values_of(self, variables, [one["manifest"] for one in workloads])
        if self._host in plan["brokers"]:
            workload, secrets[_BROKER] = self._broker(plan, variables)
            request["workloads"] = [*request["workloads"], workload]
            request["look"] = [_BROKER]
        report = call_engine(self, variables, request, secrets)
        changed = self._recovered(report)
        needed = report["missing_runtimes"]
        if needed and not self._task.check_mode:
            try:
                request["runtime_files"] = self._push(needed, plan["artifacts"])
            except InputError as error:
                # The same artifact would be refused everywhere: like a config that a check refuses, it stops the run.
                report["refused"] = {name: str(error) for name in needed.values()}
            else:
                report = call_engine(self, variables, request, secrets)
        broker = [one for one in report["workloads"] if one["key"] == _BROKER]
        pending = [one for one in report["workloads"] if one["action"] != "nothing" and one not in broker]
        self._warn(report, {one["manifest"]["name"]: one["manifest"].get("version") for one in workloads})
        result = {
            "changed": changed
            or (bool(pending or report["retire"] or report["unfinished"]) and not report["refused"]),
            "here": [one["manifest"]["name"] for one in workloads],
            "ids": report["ids"],
            "pending": {one["name"]: one["reasons"] for one in pending},
            "releases": {one["name"]: {"before": one["before"], "after": one["after"]} for one in pending},
            "held": report["held"],
            "seconds": report.get("seconds", {}),
            "retire": report["retire"],
            "refused": report["refused"],
            "orphans": report["orphans"],
            "broker": {
                "pending": [why for one in broker for why in one["reasons"]],
                "restarts": any(one["action"] == RESTART for one in broker),
                "missing_packages": report["missing_packages"],
            },
            "diff": report["diff"]
            + [missing("runtime", f"{name} {digest}") for digest, name in needed.items()],
            "msg": "; ".join(f"{one['name']}: {', '.join(one['reasons'])}" for one in pending),
        }
        if report["refused"]:
            told = "\n".join(f"{name}: {why}" for name, why in sorted(report["refused"].items()))
            refusal = {"kind": REFUSED, "msg": f"{self._host}: {told}"}
            result.update({"problem": refusal} if options["defer"] else {"failed": True, **refusal})
        return result

    def _broker(
        self, plan: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The broker as it is to be in the end, and its secrets; only to be compared: its own task releases it."""
        key = Secrets(self, variables).credentials_key
        options = broker_options(self, variables)
        given = broker_given(self, options, variables)
        return broker_workload(options, key, plan["ids"], given), broker_secrets(given)

    def _warn(self, report: Mapping[str, Any], versions: Mapping[str, str | None]) -> None:
        for one in report["workloads"]:
            if warning := version_change(one["version_before"], versions.get(one["name"])):
                Display().warning(f"{self._host}: {one['name']}: {warning}")
        if report["orphans"]:
            names = ",".join(report["orphans"])
            Display().warning(
                f"{self._host} runs what no fleet names any more: playbooks/remove.yml -e agent={names}"
            )
        for name, hold in report["held"].items():
            note = f" ({hold['note']})" if hold.get("note") else ""
            Display().warning(
                f"{self._host}: {name} is held since {hold['since']}{note}, and was left as it is"
            )

    def _push(self, missing: Mapping[str, str], known: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Bring runtimes to the host; digest → path there. They are proven again before they are installed."""
        files = {digest: artifacts.local_file(digest, known[digest]) for digest in missing}
        with reaching():
            if not self._connection._shell.tmpdir:
                self._make_tmp_path()
            folder = self._connection._shell.tmpdir
            return {
                digest: self._transfer_file(
                    str(local), self._connection._shell.join_path(folder, f"runtime-{digest}")
                )
                for digest, local in files.items()
            }

    def _retire(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        names = [name for name in options["staged"]["retire"] if name in (options["only"] or ())]
        moves = options["moves"]
        moving = [name for name in names if name in moves]
        report = {"retired": [name for name in names if name not in moving], "moving": moving}
        if names and not self._task.check_mode:
            request = self._request("retire", options, self._workloads(options))
            report = call_engine(self, variables, {**request, "retire": names, "moves": moves}, {})
        for name in report["retired"]:
            Display().display(f"  {self._host}: {name} {self._would_be}retired, it moved away")
        for name in report["moving"]:
            Display().display(f"  {self._host}: {name} {self._would_be}stopped, it moves to {moves[name]}")
        return {"changed": bool(names), "retired": report["retired"], "moving": report["moving"]}

    @property
    def _would_be(self) -> str:
        return "would be " if self._task.check_mode else ""

    def _recovered(self, report: Mapping[str, Any]) -> bool:
        """Tell what the engine had to finish first; True where there was something."""
        for outcome in report.get("recovered", ()):
            Display().warning(f"{self._host}: {outcome['name']} {outcome['reason']}; now {outcome['result']}")
        return bool(report.get("recovered"))

    def _switch(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        if options["stay"]:
            return self._restart(options, variables)
        staged = options["staged"]
        names = staged["pending"] if options["only"] is None else options["only"]
        pending = {name: ", ".join(staged["pending"].get(name, [BROKER_RESTARTED])) for name in names}
        workloads = [one for one in self._workloads(options) if one["manifest"]["name"] in pending]
        same = {one["manifest"]["name"]: release_id(one["manifest"]) for one in workloads}
        releases = {name: {"before": one, "after": one} for name, one in same.items()} | staged["releases"]
        if self._task.check_mode:
            outcomes = [
                {
                    "name": name,
                    "result": RELEASED,
                    "why": why,
                    "reason": "",
                    "log": [],
                    **releases[name],
                }
                for name, why in pending.items()
            ]
            return {"changed": bool(pending), "outcomes": outcomes}
        outcomes = self._with_hooks(PRE_RELEASE, options, workloads, releases)
        stopped = {one["name"] for one in outcomes}
        workloads = [one for one in workloads if one["manifest"]["name"] not in stopped]
        if workloads:
            request = self._request("switch", options, workloads)
            request["staged_seconds"] = staged["seconds"]
            request["force"] = [
                name
                for name in pending
                if any(why.startswith(DRIFT) for why in staged["pending"].get(name, ()))
            ]
            request["restart"] = list(pending) if options["restart"] else []
            secrets = values_of(self, variables, [one["manifest"] for one in workloads])
            report = call_engine(self, variables, request, secrets)
            self._recovered(report)
            outcomes += report["outcomes"]
            for warning in report.get("warnings", ()):
                Display().warning(f"{self._host}: {warning}")
        return self._told(outcomes, pending, options, workloads, releases)

    def _restart(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Agents restart on the releases that they have, and are gated; nothing of the plan goes out."""
        names = list(options["only"] or ())
        request = {**self._request("switch", options, []), "rotate": names, "restart": names}
        report = call_engine(self, variables, request, {})
        self._recovered(report)
        return self._told(report["outcomes"], dict.fromkeys(names, BROKER_RESTARTED), options, [], {})

    def _with_hooks(
        self,
        moment: str,
        options: Mapping[str, Any],
        workloads: list[dict[str, Any]],
        releases: Mapping[str, Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        """Run the controller's hooks of this moment; an outcome for each agent whose hook failed, which was left alone."""
        failed = []
        for one in workloads:
            about = one["manifest"]
            hook = options["plan"]["hooks"].get(about["base"], {}).get(moment)
            change = releases[about["name"]]
            why = run_here(hook["run"], hook["timeout"], self._about(moment, about, change)) if hook else ""
            if why:
                told = {"phase": moment, "reason": f"hook on the controller: {why}", "log": [], "seconds": {}}
                failed.append(
                    {
                        "name": about["name"],
                        "result": REFUSED,
                        "before": change["before"],
                        "after": change["before"],
                        **told,
                    }
                )
        return failed

    def _about(self, moment: str, about: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, str]:
        return {
            "MUSTER_HOOK": moment,
            "MUSTER_HOST": self._host,
            "MUSTER_AGENT": about["name"],
            "MUSTER_AGENT_ID": str(about["gate"]["agent_id"]),
            "MUSTER_RELEASE": str(change["after"] or ""),
            "MUSTER_RELEASE_BEFORE": str(change["before"] or ""),
        }

    def _told(
        self,
        outcomes: list[dict[str, Any]],
        pending: Mapping[str, str],
        options: Mapping[str, Any],
        workloads: list[dict[str, Any]],
        releases: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The result of a switch; said at once for people who watch."""
        good = {one["name"] for one in outcomes if one["result"] == RELEASED}
        released = [one for one in workloads if one["manifest"]["name"] in good]
        late = {
            one["name"]: one["reason"] for one in self._with_hooks(POST_RELEASE, options, released, releases)
        }
        bad = []
        for one in outcomes:
            one["why"] = pending.get(one["name"], "")
            if one["name"] in late:
                one["phase"] = POST_RELEASE
                one.setdefault("warnings", []).append(late[one["name"]])
            elif one.get("warnings"):
                Display().warning(f"{self._host}: {one['name']}: {'; '.join(one['warnings'])}")
            if went_well(one):
                did = "stays on" if options["plan"].get("rotation") or options["stay"] else "released"
                Display().display(
                    f"  {self._host}: {one['name']} {did} {one['after']} ({one['why']}), healthy"
                )
            else:
                bad.append(f"{self._host}: {sentence(one)}")
        result: dict[str, Any] = {"changed": bool(outcomes), "outcomes": outcomes}
        if bad and options["defer"]:
            for text in bad:  # the rest of it is told at the end
                Display().warning(text.split("\n", 1)[0])
        elif bad:
            result.update(failed=True, msg="\n".join(bad))
        return result

    def _remove(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        report = call_engine(
            self, variables, {"phase": "remove", "names": options["names"], "purge": options["purge"]}, {}
        )
        for entry in report["removed"]:
            if entry.get("warning"):
                Display().warning(f"{self._host}: {entry['name']}: {entry['warning']}")
            Display().display(f"  {self._host}: {entry['name']} {self._would_be}removed")
        return {"changed": bool(report["removed"] or report["purged"]), **report}

    def _workloads(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return workloads_of(options["plan"], self._host)

    def _request(
        self, phase: str, options: Mapping[str, Any], workloads: list[dict[str, Any]]
    ) -> dict[str, Any]:
        plan = options["plan"]
        wanted: dict[str, Any] = (
            {"rotate": [one["manifest"]["name"] for one in workloads]}
            if plan.get("rotation")
            else {"workloads": workloads}
        )
        return {
            "phase": phase,
            **wanted,
            "names": plan["names"],
            "fleet": plan["fleet"],
            "ids": plan["ids"],
            "who": plan["source"],
            "assume_gone": options["assume_gone"],
            "parallel": options["parallel"],
            "keep": options["keep"],
        }
