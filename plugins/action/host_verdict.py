# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ends a host's part of a play as what it was: failed or unreachable, so that Ansible's recap and exit code say so."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.plugin_utils.host_call import failed_as


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        verdict = self.validate_argument_spec({"verdict": {"type": "dict", "required": True}})[1]["verdict"]
        return {**result, "changed": False, **failed_as(verdict)}
