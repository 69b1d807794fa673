# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The benchmark's fleets: which hosts, how many agents, and the files that a person would have written for them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from dev import ROOT
from dev.hosts import BENCH, Lab

sys.path.append(str(ROOT / "collections"))
from ansible_collections.muster.agents.plugins.plugin_utils import mosquitto

FOLDER = BENCH.state
TEMPLATES = ROOT / "bench" / "peers" / "templates"
RUNTIME = ROOT / "roles" / "agent" / "files" / "muster-agent.pyz"
# Not secret: it opens hosts that live for some minutes on this machine.
CREDENTIALS_KEY = "benchmark-0123456789abcdef0123456789abcdef"
FIRST_PORT = 20000


@dataclass(frozen=True)
class Fleet:
    """Some agents on some hosts, with a broker of their own. `each`: every agent runs on every host."""

    name: str
    broker: str
    hosts: tuple[str, ...]
    agents: int
    each: bool = False

    @property
    def folder(self) -> Path:
        return FOLDER / "fleets" / self.name

    @property
    def inventory(self) -> Path:
        return self.folder / "hosts.json"

    @property
    def machines(self) -> tuple[str, ...]:
        """Its hosts, the broker's among them, each once."""
        return tuple(dict.fromkeys((self.broker, *self.hosts)))

    @property
    def names(self) -> list[str]:
        return [f"agent-{number:03}" for number in range(1, self.agents + 1)]

    @property
    def processes(self) -> int:
        """How many agents run in all."""
        return self.agents * (len(self.hosts) if self.each else 1)


def write(fleet: Fleet, temperatures: dict[str, float] | None = None, *, peers: bool = False) -> None:
    """Write the fleet's inventory and configs. `temperatures`: agent → a value that its fleet entry overrides."""
    folder = fleet.folder / "agents"
    folder.mkdir(parents=True, exist_ok=True)
    template = jinja2.Template((TEMPLATES / "agent.toml.j2").read_text(), keep_trailing_newline=True)
    for name in fleet.names:
        text = template.render(agent={"name": name}, broker_url="${MQTT_BROKER_URL}")
        (folder / f"{name}.toml").write_text(text)
    variables = {**_connection(), **_ours(fleet, temperatures or {})}
    if peers:
        variables.update(_peers(fleet))
    tree = {"all": {"vars": variables, "children": _groups(fleet)}}
    fleet.inventory.write_text(json.dumps(tree, indent=1))


def write_lab(lab: Lab, needed: set[str]) -> None:
    """Write the list of hosts of a lab: of the benchmark's those that are needed."""
    chosen = {host.name: {"ansible_port": host.ssh_port} for host in BENCH.hosts() if host.name in needed}
    lab.inventory.mkdir(parents=True, exist_ok=True)
    (lab.inventory / "hosts.yml").write_text(json.dumps({"all": {"hosts": chosen}}))


def _connection() -> dict[str, Any]:
    known_hosts = str(BENCH.known_hosts)
    return {
        "ansible_host": "127.0.0.1",
        "ansible_user": "admin",
        "ansible_become": True,
        "ansible_ssh_private_key_file": str(BENCH.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o IdentitiesOnly=yes",
        "known_hosts": known_hosts,
    }


def _groups(fleet: Fleet) -> dict[str, Any]:
    ports = {host.name: host.ssh_port for host in BENCH.hosts()}
    return {
        group: {"hosts": {name: {"ansible_port": ports[name], "mosquitto_address": name} for name in names}}
        for group, names in {"broker": (fleet.broker,), "agents": fleet.hosts}.items()
    }


def _ours(fleet: Fleet, temperatures: dict[str, float]) -> dict[str, Any]:
    entries: dict[str, dict[str, Any]] = {
        name: {"instances": "each"} if fleet.each else {} for name in fleet.names
    }
    for name, temperature in temperatures.items():
        entries[name]["overrides"] = {"llm": {"temperature": temperature}}
    return {
        "fleet": entries,
        "agents_dir": str(fleet.folder / "agents"),
        "agent_secrets": {},
        "fleet_credentials_key": CREDENTIALS_KEY,
    }


def _peers(fleet: Fleet) -> dict[str, Any]:
    """What bench/peers needs: the agents as a list to loop over, and the broker's files as the collection makes them."""
    paths = mosquitto.BrokerPaths()
    texts = {
        "conf": mosquitto.render_conf(mosquitto.BrokerSettings(), paths),
        "passwords": mosquitto.render_passwords(CREDENTIALS_KEY, fleet.names),
        "acl": mosquitto.render_acl(fleet.names, []),
    }
    folder = fleet.folder / "broker"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    secret = {"group": "mosquitto", "mode": "0640"}
    return {
        "bench_agents": [
            {"name": name, "port": port, "password": mosquitto.derive_password(CREDENTIALS_KEY, name)}
            for port, name in enumerate(fleet.names, FIRST_PORT)
        ],
        "broker_url": f"mqtt://{fleet.broker}:1883",
        "broker_files": str(folder),
        "broker_install": [
            {"name": "conf", "path": "/etc/mosquitto/conf.d/muster.conf", "group": "root", "mode": "0644"},
            {"name": "passwords", "path": paths.passwords, **secret},
            {"name": "acl", "path": paths.acl, **secret},
        ],
        "runtime": str(RUNTIME),
    }
