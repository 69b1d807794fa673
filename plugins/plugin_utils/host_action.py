# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every action plugin that asks the engine on a host has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.plugin_utils.host_call import HostRefused, failed_as, problem

DEFER: dict[str, dict[str, Any]] = {"defer": {"type": "bool", "default": False}}


class HostAction(ActionBase):
    """A subclass has its options in `SPEC`, and its `work`. A host that refuses or cannot be reached fails the task as what it
    is, or with the option `defer` becomes its `problem`.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    SPEC: ClassVar[dict[str, dict[str, Any]]] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(self.SPEC)[1]
        host = str(variables.get("inventory_hostname", ""))
        try:
            return {**result, **self.work(options, variables, host)}
        except HostRefused as error:
            told = problem(host, error)
            deferred = {"changed": False, "problem": told}
            return {**result, **(deferred if options.get("defer") else failed_as(told))}
        except ValueError as error:
            return {**result, "failed": True, "msg": f"{host}: {error}"}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    @abstractmethod
    def work(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        """The result. May raise HostRefused, and ValueError for an option that cannot be used."""
