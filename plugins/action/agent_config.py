# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_config: reads agent configs, and says everything that is wrong with them. No host is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.plugin_utils import report
from ansible_collections.muster.agents.plugins.plugin_utils.configs import Choice, Library, Result, read_tree
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    ERROR,
    LEVELS,
    Diagnostic,
    count,
    in_order,
)
from ansible_collections.muster.agents.plugins.plugin_utils.policy import apply, read_silence
from ansible_collections.muster.agents.plugins.plugin_utils.project import (
    FLEET_OPTIONS,
    check_fleet,
    need_jsonschema,
    search_roots,
    shown,
)
from ansible_collections.muster.agents.plugins.plugin_utils.sarif_file import write_sarif
from ansible_collections.muster.agents.plugins.plugin_utils.spec import Spec
from ansible_collections.muster.agents.plugins.plugin_utils.spec_document import spec_document

_NEVER = "never"
_OPTIONS: dict[str, dict[str, Any]] = {
    **FLEET_OPTIONS,
    "path": {"type": "list", "elements": "str"},
    "format": {"type": "str", "default": ""},
    "fail_on": {"type": "str", "default": ERROR, "choices": [*LEVELS, _NEVER]},
    "sarif": {"type": "path"},
}
# The inventory's variables that stand for options which are not given, where the inventory's own fleet is checked.
_VARIABLES = {
    "fleet": "fleet",
    "runtimes": "agent_runtimes",
    "agents_dir": "agents_dir",
    "broker_url": "mqtt_broker_url",
    "broker_ca": "mqtt_broker_ca",
    "silence": "fleet_silence",
    "strict": "fleet_strict",
}


@dataclass
class _Found:
    specs: list[dict[str, Any]] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    silenced: list[tuple[Diagnostic, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self._options(variables)
        need_jsonschema()
        found = self._paths(options, variables) if options["path"] else self._fleet(options, variables)
        if options["sarif"]:
            _write_sarif(Path(options["sarif"]), found.diagnostics)
        text = report.people(found.diagnostics, len(found.specs), len(found.silenced))
        counts = count(found.diagnostics)
        result.update(
            changed=False,
            specs=found.specs,
            diagnostics=report.to_json(found.diagnostics),
            silenced=_silenced(found.silenced),
            counts=counts,
            left_out=found.left_out,  # `skipped` would tell Ansible that the task was
            msg=text,
        )
        if options["fail_on"] != _NEVER:
            bad = LEVELS[: LEVELS.index(options["fail_on"]) + 1]
            result["failed"] = any(counts[level] for level in bad)
        if (
            not options["path"]
            and not result.get("failed")
            and constants.DEFAULT_STDOUT_CALLBACK == "default"
        ):
            Display().display(text)  # a task that fails shows its message, one that does not is silent
        return result

    def _options(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What was given; without a path and a fleet, what the inventory says."""
        options: dict[str, Any] = self.validate_argument_spec(_OPTIONS)[1]
        options["path"] = [one for one in options["path"] or () if one]
        if options["path"] and options["fleet"] is not None:
            raise AnsibleActionFail(
                "give either path (files and folders) or fleet (an inventory's), not both"
            )
        if options["path"] or options["fleet"] is not None:
            return options
        if variables.get("fleet") is None:
            raise AnsibleActionFail("give path (files and folders), or fleet to check an inventory's agents")
        own = {
            option: self._templar.template(variables[name])
            for option, name in _VARIABLES.items()
            if option not in self._task.args and variables.get(name) is not None
        }
        self._task.args = {**self._task.args, **own}
        return dict(self.validate_argument_spec(_OPTIONS)[1])

    def _paths(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> _Found:
        """Files and folders without an inventory: secrets are listed, and what the fleet could give is not missed."""
        result, library = Result(), Library()
        for given in options["path"]:
            path = _located(given, search_roots(variables))
            result.add(read_tree(path, shown(path), Choice(format=options["format"]), library))
        problems: list[Diagnostic] = []
        silence = read_silence(options["silence"], "silence", problems)
        remaining, silenced = apply([*problems, *result.diagnostics], silence, {}, options["strict"])
        specs = [spec_document(spec) for spec in _once(result.specs)]
        return _Found(specs, in_order(remaining), silenced, sorted(set(result.skipped)))

    def _fleet(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> _Found:
        _inputs, found, silenced = check_fleet(self, options, variables, deploying=False)
        specs = [{**spec_document(agent.spec), "agent": name} for name, agent in found.agents.items()]
        return _Found(specs, found.diagnostics, silenced)


def _once(specs: Iterable[Spec]) -> list[Spec]:
    """A file can be reached by several of the paths that were given."""
    return list({(spec.place.file.path.absolute(), spec.place.path): spec for spec in specs}.values())


def _silenced(silenced: Sequence[tuple[Diagnostic, str]]) -> list[dict[str, Any]]:
    reasons = dict(silenced)
    return [
        {**document, "reason": reasons[one]}
        for one, document in zip(reasons, report.to_json(reasons), strict=True)
    ]


def _located(given: str, roots: Sequence[Path]) -> Path:
    """Relative to where the command runs; else to the inventory's folder and those above it."""
    path = Path(given).expanduser()
    if path.is_absolute():
        return path
    candidates = [root / path for root in roots]
    try:
        return next((one for one in candidates if one.exists() or one.is_symlink()), candidates[0])
    except (OSError, ValueError):
        return candidates[0]


def _write_sarif(path: Path, diagnostics: Sequence[Diagnostic]) -> None:
    try:
        write_sarif(path, diagnostics)
    except OSError as error:
        raise AnsibleActionFail(f"{path}: the SARIF report cannot be written: {error.strerror}") from None
