# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan: which host gets which workloads, as finished bytes. A pure function of the fleet, the configs and the inventory.

Secrets stay references here (`SecretSource`); their values meet the plan only on their way to the host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine import envfile, manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.files import sha256_bytes
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import (
    SAFE_NAME,
    Layout,
    workload_key,
)
from ansible_collections.muster.agents.plugins.plugin_utils import fleet as fleet_module
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import Entry
from ansible_collections.muster.agents.plugins.plugin_utils.placement import assign_ports, place
from ansible_collections.muster.agents.plugins.plugin_utils.problems import InputError, Problem, nearest
from ansible_collections.muster.agents.plugins.plugin_utils.readers import agent2389
from ansible_collections.muster.agents.plugins.plugin_utils.render_unit import render_unit
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import Artifact, Runtime
from ansible_collections.muster.agents.plugins.plugin_utils.spec import SecretReference, Spec

_UNIT_DIRECTORY = "/etc/systemd/system"
_LAYOUT = Layout()


@dataclass(frozen=True)
class Broker:
    """`url` is what ${MQTT_BROKER_URL} becomes. `own`: the broker group's, so each agent's login can be derived."""

    url: str
    own: bool


@dataclass(frozen=True)
class Inputs:
    """All that a plan depends on. `resolve_hosts` turns a host pattern into names over the whole inventory."""

    fleet: Mapping[str, Entry]
    runtimes: Mapping[str, Runtime]
    config_path: Callable[[str], tuple[Path, str]]
    resolve_hosts: Callable[[str], Sequence[str]]
    broker: Broker | None
    secret_names: frozenset[str]
    unit_template: str
    unit_template_name: str
    vault_hint: str


@dataclass(frozen=True)
class Instance:
    """One running copy of an agent, on its host, with its port."""

    name: str
    entry: Entry
    host: str
    port: int


@dataclass
class Plan:
    """`hosts`: host → list of {manifest, files, secrets}, where `secrets` maps a variable to where its value comes from.

    `names` are the selected fleet keys, `ids` every agent id of the whole fleet, `artifacts` what may have to be pushed.
    """

    names: list[str]
    fleet: list[str]
    pool: list[str]
    ids: list[str]
    hosts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)


SECRET, DERIVED_PASSWORD = "secret", "mqtt_password"


def make_plan(inputs: Inputs, asked: object) -> Plan:
    """Raises InputError with every problem of every selected agent, before any host is touched."""
    own_ids = _read_ids(inputs)
    chosen = fleet_module.select(
        asked, {name: _other_names(inputs.fleet[name], own_ids[name]) for name in inputs.fleet}
    )
    instances = _place(inputs)
    problems = _duplicate_ids(instances, own_ids)
    plan = Plan(
        names=chosen,
        fleet=list(inputs.fleet),
        pool=_pool(inputs),
        ids=sorted(_instance_id(own_ids[one.entry.name], one) for one in instances),
    )
    for instance in instances:
        if instance.entry.name not in chosen:
            continue
        try:
            workload = _workload(inputs, instance, own_ids[instance.entry.name], plan)
        except InputError as error:
            problems.extend(error.problems)
        else:
            plan.hosts.setdefault(instance.host, []).append(workload)
    if problems:
        raise InputError(problems)
    return plan


def _pool(inputs: Inputs) -> list[str]:
    """Every host that may run an agent, or may still run one: a pool that shrank keeps the group `agents` in sight."""
    patterns = {fleet_module.DEFAULT_POOL, *(entry.pool for entry in inputs.fleet.values())}
    return sorted({host for pattern in patterns for host in inputs.resolve_hosts(pattern)})


def _other_names(entry: Entry, agent_id: str) -> tuple[str, str]:
    return Path(entry.config).stem, agent_id


def _read_ids(inputs: Inputs) -> dict[str, str]:
    """fleet key → agent id, for the whole fleet: the broker's users are all agents, not only those selected."""
    problems: list[Problem] = []
    ids = {}
    for name, entry in inputs.fleet.items():
        override = entry.overrides.get("agent")
        try:
            found = agent2389.read_id(*inputs.config_path(entry.config))
            ids[name] = str(override["id"]) if isinstance(override, Mapping) and "id" in override else found
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return ids


def _instance_id(own: str, instance: Instance) -> str:
    """Two instances never share an id: they get the config's own, with the instance's suffix."""
    return own + instance.name[len(instance.entry.name) :]


def _place(inputs: Inputs) -> list[Instance]:
    problems: list[Problem] = []
    placed: dict[str, tuple[Entry, str]] = {}
    for name, entry in inputs.fleet.items():
        hosts = inputs.resolve_hosts(entry.pool)
        if not hosts:
            problems.append(
                Problem(f"fleet.{name}.hosts", f"the pattern {entry.pool!r} matches no host of the inventory")
            )
            continue
        names = entry.instance_names(hosts)
        where = (
            dict(zip(names, sorted(hosts))) if entry.instances == fleet_module.EACH else place(names, hosts)
        )
        for instance, host in where.items():
            if instance in placed:
                problems.append(
                    Problem(f"fleet.{name}", f"its instance {instance!r} has the name of another agent's")
                )
            if not SAFE_NAME.fullmatch(instance):
                problems.append(
                    Problem(
                        f"fleet.{name}", f"its instance {instance!r} is too long or unsafe as a unit's name"
                    )
                )
            placed[instance] = (entry, host)
    pinned = {name: entry.port for name, (entry, host) in placed.items() if entry.port is not None}
    for port in {port for port in pinned.values() if list(pinned.values()).count(port) > 1}:
        names = sorted(name for name, own in pinned.items() if own == port)
        problems.append(
            Problem(
                f"fleet.{names[0]}.port", f"{port} is given to {', '.join(names)}; each agent needs its own"
            )
        )
    if problems:
        raise InputError(problems)
    ports = assign_ports(placed, pinned)
    return [Instance(name, entry, host, ports[name]) for name, (entry, host) in placed.items()]


def _duplicate_ids(instances: Sequence[Instance], own_ids: Mapping[str, str]) -> list[Problem]:
    owners: dict[str, list[str]] = {}
    for one in instances:
        owners.setdefault(_instance_id(own_ids[one.entry.name], one), []).append(one.name)
    return [
        Problem(
            f"fleet.{names[0]}",
            f"agent.id {agent_id!r} is used by {', '.join(names)}; one id never runs twice",
        )
        for agent_id, names in owners.items()
        if len(names) > 1
    ]


def _workload(inputs: Inputs, instance: Instance, own_id: str, plan: Plan) -> dict[str, Any]:
    entry = instance.entry
    runtime = inputs.runtimes.get(entry.runtime)
    if runtime is None:
        known = ", ".join(sorted(inputs.runtimes))
        message = f"no runtime {entry.runtime!r} in agent_runtimes{nearest(entry.runtime, inputs.runtimes)}; known are {known}"
        raise InputError([Problem(f"fleet.{entry.name}.runtime", message)])
    environment = _environment(inputs, instance, runtime)
    overrides: dict[str, Any] = dict(entry.overrides)
    agent_id = _instance_id(own_id, instance)
    if agent_id != own_id:
        overrides["agent"] = {**dict(overrides.get("agent") or {}), "id": agent_id}
    path, source = inputs.config_path(entry.config)
    spec = agent2389.read(path, source, overrides, environment, inputs.secret_names)
    login = _derived_login(inputs, spec)
    secrets = _secret_sources(inputs, spec, instance, login)
    texts = {
        spec.config_name: spec.text,
        "env": _environment_text({**environment, **login}, entry),
        "unit": _unit(inputs, instance, runtime, spec, bool(secrets)),
    }
    for artifact in runtime.artifacts.values():
        plan.artifacts[artifact.sha256] = artifact
    return {
        "manifest": _manifest(instance, runtime, spec, texts, login),
        "files": texts,
        "secrets": secrets,
    }


def _environment(inputs: Inputs, instance: Instance, runtime: Runtime) -> dict[str, str]:
    """What every agent gets, below what its runtime and its fleet entry say."""
    derived = {
        "AGENT_NAME": instance.name,
        "AGENT_PORT": str(instance.port),
        "HEALTH_PORT": str(instance.port),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "info",
    }
    if inputs.broker is not None:
        derived["MQTT_BROKER_URL"] = inputs.broker.url
    return {**derived, **runtime.environment, **instance.entry.environment}


def _environment_text(environment: Mapping[str, str], entry: Entry) -> str:
    try:
        return envfile.render(environment)
    except EngineError as error:
        raise InputError([Problem(f"fleet.{entry.name}.environment", str(error))]) from None


def _derived_login(inputs: Inputs, spec: Spec) -> dict[str, str]:
    """The agent's name on our own broker, which is its id and no secret; {} where the vault gives the login."""
    if inputs.broker is None or not inputs.broker.own or spec.mqtt.username_env in inputs.secret_names:
        return {}
    if not (spec.mqtt.username_env and spec.mqtt.password_env):
        message = (
            "mqtt.username_env and mqtt.password_env are needed: the broker lets nobody in without a name"
        )
        raise InputError([Problem(spec.source, message)])
    return {spec.mqtt.username_env: spec.agent_id}


def _secret_sources(
    inputs: Inputs, spec: Spec, instance: Instance, login: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """variable → {"from": …, "name": …}. The vault wins; an agent's password on our own broker is derived."""
    sources = {}
    missing = []
    for reference in spec.secrets:
        if reference.variable in inputs.secret_names:
            sources[reference.variable] = {"from": SECRET, "name": reference.variable}
        elif login and reference.variable == spec.mqtt.password_env:
            sources[reference.variable] = {"from": DERIVED_PASSWORD, "name": spec.agent_id}
        elif reference.variable not in login:
            missing.append(_missing(inputs, reference, instance))
    if missing:
        raise InputError(missing)
    return sources


def _missing(inputs: Inputs, reference: SecretReference, instance: Instance) -> Problem:
    return Problem(
        reference.where,
        f"agent {instance.entry.name}: {reference.field} names {reference.variable}, and agent_secrets has no such key"
        f"{nearest(reference.variable, inputs.secret_names)}; put it there with `ansible-vault edit {inputs.vault_hint}`",
    )


def _unit(inputs: Inputs, instance: Instance, runtime: Runtime, spec: Spec, with_secrets: bool) -> str:
    unit = f"agent-{instance.name}.service"
    key = workload_key("agent", instance.name)
    current = _LAYOUT.current(key)
    words = {
        "{program}": f"{current}/runtime/program",
        "{config}": f"/run/credentials/{unit}/{spec.config_name}",
    }
    variables = {
        "name": instance.name,
        "agent_id": spec.agent_id,
        "description": spec.description,
        "command": [words.get(word, word) for word in runtime.run],
        "config": spec.config_name,
        "release": str(current),
        "secrets_file": str(_LAYOUT.secrets_file(key)) if with_secrets else None,
        "notify": runtime.notify,
        "watchdog": runtime.watchdog,
        "start_timeout": round(instance.entry.deadline) + 30,
        "resources": dataclasses.asdict(instance.entry.resources),
        "port": instance.port,
    }
    try:
        return render_unit(inputs.unit_template, variables)
    except ValueError as error:
        raise InputError([Problem(inputs.unit_template_name, str(error))]) from None


def _manifest(
    instance: Instance, runtime: Runtime, spec: Spec, texts: Mapping[str, str], login: Mapping[str, str]
) -> dict[str, Any]:
    unit = f"agent-{instance.name}.service"
    return {
        "format": manifest.FORMAT,
        "kind": "agent",
        "name": instance.name,
        "base": instance.entry.name,
        "unit": unit,
        "config": spec.config_name,
        "files": {name: sha256_bytes(text.encode()) for name, text in texts.items()},
        "install": {f"{_UNIT_DIRECTORY}/{unit}": {"file": "unit", "mode": "0644"}},
        "runtime": {
            "name": runtime.name,
            "version": runtime.version,
            "artifacts": {machine: artifact.sha256 for machine, artifact in runtime.artifacts.items()},
        },
        "check": list(runtime.check),
        "gate": {
            "port": instance.port,
            "ready": runtime.ready,
            "identity": runtime.identity,
            "agent_id": spec.agent_id,
            "deadline": instance.entry.deadline,
            "min_healthy_time": instance.entry.min_healthy_time,
        },
        "mqtt": {
            "url": spec.mqtt.url,
            "status_topic": f"/control/agents/{spec.agent_id}/status",
            "username": login.get(spec.mqtt.username_env or ""),
            "username_env": spec.mqtt.username_env,
            "password_env": spec.mqtt.password_env,
        },
    }
