# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of fleet_targets: what Prometheus is to scrape, from the fleet alone. No host is touched."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import ERROR, InputError
from ansible_collections.muster.agents.plugins.plugin_utils.project import FLEET_OPTIONS, check_fleet
from ansible_collections.muster.agents.plugins.plugin_utils.report import tally
from ansible_collections.muster.agents.plugins.plugin_utils.targets import Scraper, make_targets

ADDRESS = "observability_address"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(
            {
                **FLEET_OPTIONS,
                "labels": {"type": "dict", "default": {}},
                "node_exporter_port": {"type": "int", "default": 9100},
                "prometheus_group": {"type": "str", "default": "prometheus"},
            }
        )[1]
        inputs, found, _silenced = check_fleet(self, options, variables, deploying=False)
        errors = [one for one in found.diagnostics if one.level == ERROR]
        if errors:
            return {**result, "failed": True, "msg": f"{tally(errors)} found:\n{InputError(errors)}"}
        groups, hostvars = variables.get("groups", {}), variables.get("hostvars", {})

        brokers = groups.get(options["broker_group"], []) if inputs.broker and inputs.broker.own else []

        def address(host: str) -> str:
            own = hostvars[host].get(ADDRESS) if host in hostvars else None
            return str(own or inputs.host_address(host))

        scraper = Scraper(
            address,
            groups.get(options["prometheus_group"], []),
            {str(name): str(value) for name, value in options["labels"].items()},
            options["node_exporter_port"],
        )
        targets = make_targets(inputs, found.instances, brokers, scraper)
        warnings = [f"{name} is not scraped: {why}" for name, why in targets.left_out.items()]
        return {**result, "changed": False, "warnings": warnings, **dataclasses.asdict(targets)}
