# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_plan: checks the whole fleet, and computes who runs where. No host is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.plugin_utils.broker import broker_given, broker_options
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    ERROR,
    HINT,
    WARNING,
    InputError,
    count,
    fleet_error,
)
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_commit import FleetCommit
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_model import Inputs
from ansible_collections.muster.agents.plugins.plugin_utils.plan import UnitTemplate, as_document, make_plan
from ansible_collections.muster.agents.plugins.plugin_utils.project import FLEET_OPTIONS, check_fleet
from ansible_collections.muster.agents.plugins.plugin_utils.report import tally

_UNIT_TEMPLATE = Path(__file__).resolve().parents[2] / "roles/agent/templates/agent.service.j2"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(
            {
                **FLEET_OPTIONS,
                "agent": {"type": "raw", "default": "all"},
                "unit_template": {"type": "str"},
            }
        )[1]
        commit = FleetCommit(str(variables.get("inventory_dir") or "."))
        try:
            inputs, found, _silenced = check_fleet(self, options, variables, deploying=True)
            if count(found.diagnostics)[ERROR]:
                raise InputError(one for one in found.diagnostics if one.level != HINT)
            brokers = _brokers(options, variables)
            inputs = self._with_ca(inputs, brokers, variables)
            plan = make_plan(inputs, found, _unit_template(options["unit_template"]), options["agent"])
        except InputError as error:
            message = f"{tally(error.diagnostics)} found before any host was touched:\n{error}"
            return {**result, "failed": True, "msg": message}
        document = as_document(plan)
        document["brokers"] = brokers
        document["source"] = commit.answer()
        warnings = [str(one) for one in found.diagnostics if one.level == WARNING]
        return {**result, "changed": False, "plan": document, "warnings": warnings}

    def _with_ca(self, inputs: Inputs, brokers: Sequence[str], variables: Mapping[str, Any]) -> Inputs:
        """What agents verify the broker with, once the certificates of all brokers are known to be good. Raises InputError."""
        found = []
        for host in brokers:
            about = variables["hostvars"][host]
            try:
                found.append(broker_given(self, broker_options(self, about), about))
            except ValueError as error:
                raise InputError([fleet_error("MA430", f"{host}.mosquitto_tls", str(error))]) from None
        for warning in (text for one in found for text in one.warnings):
            Display().warning(warning)
        if inputs.broker is None or not found:
            return inputs
        return replace(inputs, broker=replace(inputs.broker, ca=found[0].ca))


def _unit_template(given: str | None) -> UnitTemplate:
    path = Path(given) if given else _UNIT_TEMPLATE
    try:
        return UnitTemplate(path.read_text("utf-8"), str(path))
    except OSError as error:
        reason = str(error.strerror)
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    raise InputError([fleet_error("MA423", "agent_unit_template", f"{path}: {reason}")])


def _brokers(options: Mapping[str, Any], variables: Mapping[str, Any]) -> list[str]:
    if options["broker_url"]:
        return []
    return list(variables.get("groups", {}).get(options["broker_group"], []))
