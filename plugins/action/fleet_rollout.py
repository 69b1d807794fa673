# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides once for all hosts what deploy.yml, rollback.yml and rotate_secrets.yml do next, and tells what came of it."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.vars.hostvars import HostVars

from ansible_collections.muster.agents.plugins.plugin_utils import course
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic, InputError
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import read_fleet
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_commit import FleetCommit
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import secret_names
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import read_policy
from ansible_collections.muster.agents.plugins.plugin_utils.rotation import (
    CannotRotate,
    make_rotation,
    with_the_silent,
)

_STEPS = ("begin", "rollback", "rotate", "broker", "stopped", "wave", "end")
# The mosquitto role's tasks in their order: the last that ran tells.
_BROKER_TASKS = ("_mosquitto_release", "_mosquitto_installed", "_mosquitto_released")


class ReportFailed(Exception):
    """`fleet_report` names a file that cannot be written."""


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self.validate_argument_spec(
            {
                "step": {"type": "str", "required": True, "choices": list(_STEPS)},
                "hosts": {"type": "list", "elements": "str", "default": []},
                "course": {"type": "dict", "default": {}},
                "wave": {"type": "int", "default": 0},
                "names": {"type": "list", "elements": "str", "default": []},
                "release": {"type": "str", "default": ""},
                "secrets": {"type": "list", "elements": "str", "default": []},
                "fleet": {"type": "raw", "default": {}},
                "rollout": {"type": "raw"},
                "report": {"type": "str"},
            }
        )[1]
        results = _Results((task_vars or {})["hostvars"])
        self._variables: Mapping[str, Any] = task_vars or {}
        self._folder = str(self._variables.get("inventory_dir") or ".")
        try:
            follows = getattr(self, f"_{options['step']}")(options, results)
        except (course.NoSuchRelease, CannotRotate, InputError, ReportFailed) as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": False, **follows}

    def _begin(self, options: Mapping[str, Any], results: _Results) -> dict[str, Any]:
        hosts = options["hosts"]
        if options["report"] and not os.access(Path(options["report"]).parent, os.W_OK):
            raise ReportFailed(f"fleet_report: {options['report']} cannot be written; nothing was switched")
        staged: Mapping[str, Mapping[str, Any]] = results.of(hosts, "_agent_staged")
        plan = results.of(hosts[:1], "planned")[hosts[0]]["plan"]
        if plan.get("rotation"):
            staged = with_the_silent(staged, results.of(hosts, "_agent_releases"))
        begun = course.begin(plan, hosts, staged)
        for host, name in course.stranded(begun, staged):
            Display().warning(f"{name} stays on {host}: the host where it belongs could not stage it")
        if len(begun["waves"]) > 1 and not begun["stop"]:
            sizes = ", ".join(str(len(wave["switch"])) for wave in begun["waves"])
            Display().display(f"  in {len(begun['waves'])} waves, of {sizes} hosts")
        return self._ended_if_over(begun, 0, options, results)

    def _ended_if_over(
        self, now: course.Course, waves_done: int, options: Mapping[str, Any], results: _Results
    ) -> dict[str, Any]:
        """The course with `over`; where it is over, at its end already, as every further task costs time on every host."""
        over = course.over(now, waves_done)
        return {**(self._end({**options, "course": now}, results) if over else now), "over": over}

    def _rollback(self, options: Mapping[str, Any], results: _Results) -> dict[str, Any]:
        hosts = options["hosts"]
        begun = course.begin_rollback(
            hosts, results.of(hosts, "_agent_releases"), options["names"], options["release"]
        )
        return {**begun, "source": FleetCommit(self._folder).answer()}

    def _rotate(self, options: Mapping[str, Any], results: _Results) -> dict[str, Any]:
        found = {
            host: one["agents"]
            for host, one in results.of(options["hosts"], "_agent_releases").items()
            if "agents" in one
        }
        problems: list[Diagnostic] = []
        rollout = read_policy(options["rollout"], "fleet_rollout", problems)
        fleet = read_fleet(options["fleet"], problems, rollout)
        if problems:
            raise InputError(problems)
        plan = make_rotation(
            found,
            options["names"],
            options["secrets"],
            secret_names(self, self._variables),
            fleet,
            rollout,
            complete=len(found) == len(options["hosts"]),
        )
        return {"plan": {**plan, "source": FleetCommit(self._folder).answer()}}

    def _stopped(self, options: Mapping[str, Any], results: _Results) -> dict[str, Any]:
        before: course.Course = options["course"]
        index = options["wave"]
        retired = results.of(before["waves"][index]["retire"], "_agent_retired")
        return before if before["stop"] else course.without_the_unstopped(before, index, retired)

    def _wave(self, options: Mapping[str, Any], results: _Results) -> dict[str, Any]:
        before: course.Course = options["course"]
        index = options["wave"]
        if before["stop"]:
            return before
        after = course.after_wave(
            before,
            index,
            results.of(before["waves"][index]["switch"], "_agent_switched"),
            results.of(before["waves"][index]["retire"], "_agent_retired"),
        )
        if after["stop"] and index + 1 < len(after["waves"]):
            Display().warning(
                f"the rollout stops after wave {index + 1} of {len(after['waves'])}: {after['stop']}"
            )
        pause = course.pause_before(after, index + 1)
        if pause and not self._task.check_mode:
            Display().display(f"  wave {index + 2} begins in {pause:g} s")
            time.sleep(pause)
        return self._ended_if_over(after, index + 1, options, results)

    def _broker(self, options: Mapping[str, Any], results: _Results) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {}
        for task in _BROKER_TASKS:
            found.update(results.of(options["course"]["hosts"], task))
        after = course.after_broker(options["course"], found)
        if after["stay"]:
            Display().warning(
                "the broker restarted and went back, so all its agents restart on the releases that they have"
            )
        return after

    def _end(self, options: Mapping[str, Any], results: _Results) -> dict[str, Any]:
        hosts = options["course"]["hosts"]
        ended = course.finished(
            options["course"],
            results.of(hosts, "_agent_went_back"),
            results.of(hosts, "_agent_came_back"),
            results.of(options["course"]["moved"], "_agent_retired"),
            check_mode=bool(self._task.check_mode),
        )
        Display().display("\n" + ended["text"])
        if options["report"]:
            document = {key: ended[key] for key in ("counts", "outcomes", "problems", "stop", "held")}
            text = json.dumps(document, indent=1, default=str) + "\n"
            try:
                Path(options["report"]).write_text(text, "utf-8")
            except OSError as error:
                raise ReportFailed(
                    f"fleet_report: {options['report']}: {error.strerror}; all else is as told above"
                ) from None
        return ended


class _Results:
    """What earlier tasks registered, by host; read here and not passed through templates, for they can be large."""

    def __init__(self, hostvars: HostVars) -> None:
        self._raw = functools.cache(hostvars.raw_get)

    def of(self, hosts: Any, name: str) -> dict[str, dict[str, Any]]:
        """host → its registered result, where it has one and the task was not skipped."""
        found = {host: self._raw(host).get(name) for host in hosts}
        return {host: one for host, one in found.items() if one and not one.get("skipped")}
