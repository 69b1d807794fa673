# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Prometheus is to scrape, as its `file_sd` documents: a pure function of who runs where. No host is asked."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muster.agents.plugins.plugin_utils.fleet_model import (
    Inputs,
    Instance,
    environment_of,
)
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import METRICS, REFERENCE

AGENT2389 = "agent2389"
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Scraper:
    """Who asks. `address`: under which name it reaches a host; `hosts`: where it runs, as far as the inventory knows;
    `labels`: what it puts on everything; `node_exporter`: that one's port on every host.
    """

    address: Callable[[str], str] = str
    hosts: Collection[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    node_exporter: int = 9100


@dataclass
class Targets:
    """`agents` and `hosts` are documents of `file_sd`. `left_out`: instance → why nobody can scrape it."""

    agents: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def make_targets(
    inputs: Inputs, instances: Iterable[Instance], brokers: Iterable[str], scraper: Scraper
) -> Targets:
    """Every agent that has Prometheus text within reach, and node_exporter on every host that has agents or the broker."""
    found = Targets()
    hosts = set(brokers)
    for one in sorted(instances, key=lambda instance: instance.name):
        hosts.add(one.host)
        path = one.agent.runtime.metrics
        local = _on_loopback(inputs, one)
        if path is None:
            found.left_out[one.name] = _no_metrics(one)
        elif local and set(scraper.hosts) != {one.host}:
            found.left_out[one.name] = (
                f"listens on loopback only; write HEALTH_HOST: 0.0.0.0 in fleet.{one.agent.name}.environment, and let a "
                "firewall allow its port to Prometheus alone: it asks for no password"
            )
        else:
            labels = {"agent": one.name, "base": one.agent.name, "host": one.host, **scraper.labels}
            if path != METRICS:
                labels["__metrics_path__"] = path
            address = _LOOPBACK if local else scraper.address(one.host)
            found.agents.append(_target(address, one.port, labels))
    for host in sorted(hosts):
        labels = {"host": host, **scraper.labels}
        found.hosts.append(_target(scraper.address(host), scraper.node_exporter, labels))
    return found


def _target(address: str, port: int, labels: Mapping[str, str]) -> dict[str, Any]:
    shown = f"[{address}]" if ":" in address else address
    return {"targets": [f"{shown}:{port}"], "labels": dict(labels)}


def _no_metrics(one: Instance) -> str:
    runtime = one.agent.runtime
    if runtime.config_schema == AGENT2389:
        return f"its runtime {runtime.name} answers {METRICS} with JSON, which Prometheus does not read"
    return f"agent_runtimes.{runtime.name}.metrics names no path with Prometheus text"


def _on_loopback(inputs: Inputs, one: Instance) -> bool:
    """Only the reference agent has a choice; it stays on loopback unless it is told otherwise."""
    agent = one.agent
    if agent.runtime.config_schema != REFERENCE:
        return False
    given = environment_of(inputs, agent.entry, agent.runtime, agent.spec, one.name, one.port)
    address = given.get("HEALTH_HOST", "").strip() or _LOOPBACK
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
