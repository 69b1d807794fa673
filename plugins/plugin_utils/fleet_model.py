# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the fleet's checks and its plan work with: the inventory, the agents with their configs, the running copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.muster.agents.plugins.module_utils.engine.health import Health
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import Notify
from ansible_collections.muster.agents.plugins.plugin_utils.config_file import substitute
from ansible_collections.muster.agents.plugins.plugin_utils.configs import (
    Library,
)
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    Diagnostic,
)
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import Entry, Resources
from ansible_collections.muster.agents.plugins.plugin_utils.formats import catalogue
from ansible_collections.muster.agents.plugins.plugin_utils.quantity import cpu_percent, memory_bytes
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import Policy
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import Runtime
from ansible_collections.muster.agents.plugins.plugin_utils.spec import Spec

HOST_MEMORY = "agent_host_memory"


@dataclass(frozen=True)
class Broker:
    """`url` is what ${MQTT_BROKER_URL} becomes. `own`: the broker group's, so each agent's login can be derived. `ca`: PEM of
    what agents verify it with; "" where that is the trust store of their hosts.
    """

    url: str
    own: bool
    ca: str = ""


@dataclass(frozen=True)
class Inputs:
    """All that the fleet's checks and its plan depend on.

    `config_path` finds a config on the controller, and raises InputError. `resolve_hosts` turns a host pattern into names
    over the whole inventory. `secret_names`: the keys of `agent_secrets`; None where they are not known, and then none is
    missed; `vault_hint` says how to add one. `credentials_key`: the fleet's is there. `host_address`: under which name other
    hosts reach one. `host_memory`: bytes that a host declares for agents, or None. `whole`: every entry of the fleet could
    be read. `rollout`, `health`, `notify`: of every agent that has none of its own.
    """

    fleet: Mapping[str, Entry]
    runtimes: Mapping[str, Runtime]
    config_path: Callable[[Entry], tuple[Path, str]]
    resolve_hosts: Callable[[str], Sequence[str]]
    broker: Broker | None
    secret_names: frozenset[str] | None
    vault_hint: str
    credentials_key: bool = True
    schema_path: Callable[[str], Path] = Path
    host_address: Callable[[str], str] = str
    host_memory: Callable[[str], int | None] = lambda host: None
    library: Library = field(default_factory=Library)
    whole: bool = True
    rollout: Policy = field(default_factory=Policy)
    health: Health = field(default_factory=Health)
    notify: Notify | None = None


@dataclass(frozen=True)
class Agent:
    """One entry of the fleet with its runtime and what its config says."""

    entry: Entry
    runtime: Runtime
    spec: Spec

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def resources(self) -> Resources:
        """The fleet's; what it does not say, the config's own; then the defaults."""
        return Resources(**{**_asked(self.spec), **self.entry.resources})


@dataclass(frozen=True)
class Instance:
    """One running copy of an agent, on its host, with its port."""

    name: str
    agent: Agent
    host: str
    port: int

    @property
    def agent_id(self) -> str:
        """Two instances never share an id: they get the config's own, with the instance's suffix."""
        return self.agent.spec.agent_id + self.name[len(self.agent.name) :]


@dataclass
class Survey:
    """What the fleet is: its agents as far as they could be read, where they run, and everything found wrong.

    `whole`: every agent could be read. Where one could not, nobody can say that an agent or a use of a secret is missing.
    """

    agents: dict[str, Agent] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    whole: bool = False


def environment_of(
    inputs: Inputs, entry: Entry, runtime: Runtime, spec: Spec | None, name: str, port: int
) -> dict[str, str]:
    """What an agent's process gets, below what its config, its runtime and its fleet entry say, in this order."""
    derived = {
        "AGENT_NAME": name,
        "AGENT_PORT": str(port),
        "HEALTH_PORT": str(port),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "info",
    }
    if inputs.broker is not None:
        derived["MQTT_BROKER_URL"] = inputs.broker.url
    given = {**runtime.environment, **entry.environment}
    if spec is None:
        return {**derived, **given}
    known = {**derived, **given}
    own = {variable: substitute(value, known.get) for variable, value in spec.environment.items()}
    if own.get("AGENT_NAME") == spec.agent_id:  # each instance goes by its own
        own["AGENT_NAME"] += name[len(entry.name) :]
    return {**derived, **own, **given}


# Which port it will be does not matter for what a config says; that there is one does.
SOME_PORT = 8080


def plain(name: str) -> str:
    """A name as another format would write it: `My_Agent` and `my-agent` are one."""
    return name.lower().replace("_", "-")


def _asked(spec: Spec) -> dict[str, int]:
    """The resources that a config asks for, as far as they can be read; its reader has said where they cannot."""
    found = {}
    if spec.resources is not None:
        for key, text, convert in (
            ("memory", spec.resources.memory, memory_bytes),
            ("cpu", spec.resources.cpu, cpu_percent),
        ):
            with suppress(ValueError):
                found.update({key: convert(text)} if text else {})
    return found


def in_fleet(
    code: str, path: str, message: str, agent: str = "", suggestion: str | None = None
) -> Diagnostic:
    return Diagnostic(code, catalogue()[code].level, message, path=path, suggestion=suggestion, agent=agent)


def derived_login(inputs: Inputs, spec: Spec, agent_id: str) -> dict[str, str]:
    """The agent's name on our own broker, which is its id and no secret; {} where the vault gives the login."""
    if spec.mqtt is None or inputs.broker is None or not inputs.broker.own:
        return {}
    if not (spec.mqtt.username_env and spec.mqtt.password_env):
        return {}
    if spec.mqtt.username_env in (inputs.secret_names or ()):
        return {}
    return {spec.mqtt.username_env: agent_id}
