# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_plan: reads configs and inventory, and computes who runs where. No host is touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ansible_collections.muster.agents.plugins.plugin_utils.fleet import read_fleet
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import secret_names
from ansible_collections.muster.agents.plugins.plugin_utils.plan import Broker, Inputs, make_plan
from ansible_collections.muster.agents.plugins.plugin_utils.problems import InputError, Problem
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import read_runtimes

_UNIT_TEMPLATE = Path(__file__).resolve().parents[2] / "roles/agent/templates/agent.service.j2"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(
            {
                "agent": {"type": "raw", "default": "all"},
                "fleet": {"type": "raw", "required": True},
                "runtimes": {"type": "raw", "default": {}},
                "agents_dir": {"type": "str", "default": "agents"},
                "unit_template": {"type": "str"},
                "broker_url": {"type": "str"},
                "broker_group": {"type": "str", "default": "broker"},
            }
        )[1]
        try:
            plan = make_plan(self._inputs(options, variables), options["agent"])
        except InputError as error:
            count = len(error.problems)
            word = "problem" if count == 1 else "problems"
            return {
                **result,
                "failed": True,
                "msg": f"{count} {word} found before any host was touched:\n"
                + "\n".join(map(str, error.problems)),
            }
        document = dataclasses.asdict(plan)
        document["hosts"] = {host: plan.hosts.get(host, []) for host in plan.pool}
        document["brokers"] = (
            list(variables.get("groups", {}).get(options["broker_group"], []))
            if not options["broker_url"]
            else []
        )
        return {**result, "changed": False, "plan": document}

    def _inputs(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> Inputs:
        directory = str(options["agents_dir"])
        template = Path(options["unit_template"]) if options["unit_template"] else _UNIT_TEMPLATE
        try:
            template_text = template.read_text("utf-8")
        except OSError as error:
            raise InputError([Problem("agent_unit_template", f"{template}: {error.strerror}")]) from None
        except UnicodeDecodeError:
            raise InputError([Problem("agent_unit_template", f"{template}: is not UTF-8")]) from None
        inventory_directory = variables.get("inventory_dir") or "."
        return Inputs(
            fleet=read_fleet(options["fleet"]),
            runtimes=read_runtimes(options["runtimes"]),
            config_path=lambda name: find_config(name, directory, search_roots(variables)),
            resolve_hosts=lambda pattern: self._hosts(pattern, variables),
            broker=_broker(options, variables),
            secret_names=frozenset(secret_names(self, variables)),
            unit_template=template_text,
            unit_template_name=str(template),
            vault_hint=_shown(Path(inventory_directory) / "group_vars/all/vault.yml"),
        )

    def _hosts(self, pattern: str, variables: Mapping[str, Any]) -> Sequence[str]:
        """Any host pattern of Ansible's, over the whole inventory whatever --limit says."""
        lookup = lookup_loader.get(
            "ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar
        )
        return list(lookup.run([pattern], variables=dict(variables)))


def search_roots(variables: Mapping[str, Any]) -> list[Path]:
    """Where a project's own files may stand: where the command runs, and the inventory's folder and those above it."""
    inventory = Path(variables.get("inventory_dir") or ".").resolve()
    return [Path.cwd(), inventory, *list(inventory.parents)[:3]]


def find_config(name: str, directory: str, roots: Sequence[Path]) -> tuple[Path, str]:
    """(path, the path as people know it); a bare file name is also found in a folder below `directory`.

    Raises InputError naming where it was looked for, or the several files that it could be.
    """
    for root in roots:
        for path in (root / directory / name, root / name):
            if path.is_file():
                return path, _shown(path)
        below = sorted((root / directory).glob(f"*/**/{name}")) if "/" not in name else []
        if len(below) == 1:
            return below[0], _shown(below[0])
        if below:
            message = f"could be any of {', '.join(map(_shown, below))}; say which in fleet.<agent>.config"
            raise InputError([Problem(f"{directory}/{name}", message)])
    looked = ", ".join(dict.fromkeys(_shown(root / directory) for root in roots[:3]))
    raise InputError([Problem(f"{directory}/{name}", f"no such agent config; looked in {looked}")])


def _shown(path: Path) -> str:
    """Relative to where the command runs, where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _broker(options: Mapping[str, Any], variables: Mapping[str, Any]) -> Broker | None:
    if options["broker_url"]:
        return Broker(options["broker_url"], own=False)
    hosts = variables.get("groups", {}).get(options["broker_group"], [])
    if not hosts:
        return None
    known = variables["hostvars"][hosts[0]]
    address = known.get("mosquitto_address") or known.get("ansible_host") or hosts[0]
    return Broker(f"mqtt://{address}:{known.get('mosquitto_port', 1883)}", own=True)
