# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan: which host gets which workloads, as finished bytes. A pure function of the fleet, the configs and the inventory.

Secrets stay references here; their values meet the plan only on their way to the host.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine import envfile, loader, manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.files import sha256_bytes
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout, workload_key
from ansible_collections.muster.agents.plugins.plugin_utils import fleet as fleet_module
from ansible_collections.muster.agents.plugins.plugin_utils.config_file import substitute
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    Diagnostic,
    InputError,
    fleet_error,
)
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import Entry
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_model import (
    Inputs,
    Instance,
    Survey,
    derived_login,
    environment_of,
    plain,
)
from ansible_collections.muster.agents.plugins.plugin_utils.hooks import CONTROLLER, HOST, Hook
from ansible_collections.muster.agents.plugins.plugin_utils.render_config import render_config
from ansible_collections.muster.agents.plugins.plugin_utils.render_unit import (
    render_trust,
    render_unit,
    trust_of,
)
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import Policy
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import Artifact, unbuilt
from ansible_collections.muster.agents.plugins.plugin_utils.spec import Mqtt

_LAYOUT = Layout()
# The file of an agent's release with what it verifies the broker with.
_BROKER_CA = "broker-ca.pem"
_TRUST = "trust"  # and the unit that adds it to what the agent trusts


@dataclass(frozen=True)
class UnitTemplate:
    """The template of the agents' units: its text, and the name under which people know it."""

    text: str
    name: str


@dataclass
class Plan:
    """`hosts`: host → list of {manifest, files}; a manifest's `secrets` maps a variable to where its value comes from.

    `names` are the selected fleet keys, `ids` every agent id of the whole fleet, `artifacts` what may have to be pushed.
    `rollout` is the policy of all, `rollouts` those of agents that have their own, `hooks` the agents' hooks that run on
    the controller, by moment.
    """

    names: list[str]
    fleet: list[str]
    pool: list[str]
    ids: list[str]
    rollout: Policy
    rollouts: dict[str, Policy] = field(default_factory=dict)
    hooks: dict[str, dict[str, Hook]] = field(default_factory=dict)
    hosts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)


SECRET, DERIVED_PASSWORD = "secret", "mqtt_password"


def as_document(plan: Plan) -> dict[str, Any]:
    """The plan as Ansible passes it on. The bulk, what each host gets, is text: Ansible goes through every value of a
    structure in each task that is given it, for each host.
    """
    document = dataclasses.asdict(dataclasses.replace(plan, hosts={}))
    document["hosts"] = {host: json.dumps(plan.hosts.get(host, [])) for host in plan.pool}
    return document


def workloads_of(document: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
    """What a plan that was passed on has for a host."""
    return list(json.loads(document["hosts"].get(host, "[]")))


def make_plan(inputs: Inputs, found: Survey, template: UnitTemplate, asked: object) -> Plan:
    """Of a fleet in which no errors were found. Raises InputError for what only rendering can find."""
    chosen = fleet_module.select(
        asked,
        {name: _other_names(agent.entry, agent.spec.agent_id) for name, agent in found.agents.items()},
    )
    plan = Plan(
        names=chosen,
        fleet=list(inputs.fleet),
        pool=_pool(inputs),
        ids=sorted(one.agent_id for one in found.instances if one.agent.spec.mqtt is not None),
        rollout=inputs.rollout,
        rollouts={name: policy for name in chosen if (policy := inputs.fleet[name].rollout)},
        hooks={name: here for name in chosen if (here := hooks_of(inputs.fleet[name], CONTROLLER))},
    )
    problems: list[Diagnostic] = []
    for instance in found.instances:
        if instance.agent.name not in chosen:
            continue
        try:
            workload = _workload(inputs, found, instance, template, plan)
        except InputError as error:
            problems.extend(error.diagnostics)
        else:
            plan.hosts.setdefault(instance.host, []).append(workload)
    if problems:
        raise InputError(problems)
    return plan


def hooks_of(entry: Entry, side: str) -> dict[str, Hook]:
    """Those that run on the host, or on the controller, by moment."""
    return {moment: hook for moment, hook in entry.hooks.items() if hook.where == side}


def _pool(inputs: Inputs) -> list[str]:
    """Every host that may run an agent, or may still run one: a pool that shrank keeps the group `agents` in sight."""
    patterns = {fleet_module.DEFAULT_POOL, *(entry.pool for entry in inputs.fleet.values())}
    return sorted({host for pattern in patterns for host in inputs.resolve_hosts(pattern)})


def _other_names(entry: Entry, agent_id: str) -> tuple[str, str]:
    return Path(entry.config.partition("#")[0] or entry.name).stem, agent_id


def _workload(
    inputs: Inputs, found: Survey, instance: Instance, template: UnitTemplate, plan: Plan
) -> dict[str, Any]:
    agent = instance.agent
    runtime, spec = agent.runtime, agent.spec
    if missing := unbuilt(runtime):
        raise InputError([missing])
    unit = f"agent-{instance.name}.service"
    words = {
        "{config}": f"/run/credentials/{unit}/{spec.config_name}",
        "{config_dir}": f"/run/credentials/{unit}",
        "{program}": f"{_LAYOUT.current(workload_key('agent', instance.name))}/runtime/program",
    }
    values = environment_of(inputs, agent.entry, runtime, spec, instance.name, instance.port)
    values.update(_service_urls(inputs, found, instance))
    environment = {name: _with_words(value, words) for name, value in values.items()}
    login = derived_login(inputs, spec, instance.agent_id)
    secrets = _secret_sources(inputs, instance, login, environment)
    configs = _configs(instance, environment)
    nested = sorted(name for name in configs if "/" in name)
    if nested:
        message = f"{', '.join(nested)}: the systemd target takes the files of one folder, none below it"
        raise InputError([fleet_error("MA425", f"fleet.{agent.name}.config", message, agent=agent.name)])
    mqtt = _resolved(spec.mqtt, environment)
    ca = inputs.broker.ca if inputs.broker and mqtt and mqtt.url == inputs.broker.url else ""
    texts = {
        **configs,
        "env": _environment_text({**environment, **login}, agent.entry),
        "unit": _unit(instance, template, sorted(configs), words, sorted(secrets), bool(ca)),
    }
    if ca:
        current = _LAYOUT.current(workload_key("agent", instance.name))
        texts[_BROKER_CA] = ca
        texts[_TRUST] = render_trust(instance.name, f"{current}/{_BROKER_CA}")
    for artifact in runtime.artifacts.values():
        plan.artifacts[artifact.sha256] = artifact
    return {
        "manifest": _manifest(inputs, instance, mqtt, texts, sorted(configs), login, secrets),
        "files": texts,
    }


def _configs(instance: Instance, environment: Mapping[str, str]) -> dict[str, str]:
    agent = instance.agent
    try:
        return render_config(agent.spec, instance.agent_id, environment)
    except ValueError as error:  # such as a YAML anchor that a prompt and a setting share
        message = f"{agent.spec.place.file.shown}: {error}"
        raise InputError(
            [fleet_error("MA426", f"fleet.{agent.name}.config", message, agent=agent.name)]
        ) from None


def _service_urls(inputs: Inputs, found: Survey, instance: Instance) -> dict[str, str]:
    """`SERVICE_URL_<NAME>` of what the agent depends on: where it runs, in place of a name that only Compose knows."""
    urls = {}
    for one in instance.agent.spec.dependencies:
        variable = f"SERVICE_URL_{re.sub('[^A-Z0-9]', '_', one.name.upper())}"
        given = {**instance.agent.runtime.environment, **instance.agent.entry.environment}
        written = instance.agent.spec.environment.get(variable, f"http://{one.name}:")
        target = next((other for other in found.instances if _is(other, one.name)), None)
        if target and variable not in given and re.fullmatch(f"http://{re.escape(one.name)}:[0-9]*", written):
            urls[variable] = f"http://{inputs.host_address(target.host)}:{target.port}"
    return urls


def _is(instance: Instance, name: str) -> bool:
    ours = (instance.agent.name, instance.agent.spec.agent_id, instance.name)
    return plain(name) in map(plain, ours)


def _with_words(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _resolved(mqtt: Mqtt | None, environment: Mapping[str, str]) -> Mqtt | None:
    return dataclasses.replace(mqtt, url=substitute(mqtt.url, environment.get)) if mqtt else None


def _environment_text(environment: Mapping[str, str], entry: Entry) -> str:
    try:
        return envfile.render(environment)
    except EngineError as error:
        where = f"fleet.{entry.name}.environment"
        raise InputError([fleet_error("MA403", where, str(error), agent=entry.name)]) from None


def _secret_sources(
    inputs: Inputs, instance: Instance, login: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """variable → {"from": …, "name": …}. The vault wins; an agent's password on our own broker is derived."""
    sources = {}
    mqtt = instance.agent.spec.mqtt
    for reference in instance.agent.spec.secrets:
        if reference.variable in (inputs.secret_names or ()):
            sources[reference.variable] = {"from": SECRET, "name": reference.variable}
        elif login and mqtt and reference.variable == mqtt.password_env:
            sources[reference.variable] = {"from": DERIVED_PASSWORD, "name": instance.agent_id}
    return sources


def _unit(
    instance: Instance,
    template: UnitTemplate,
    configs: list[str],
    words: Mapping[str, str],
    secrets: list[str],
    with_ca: bool,
) -> str:
    agent = instance.agent
    key = workload_key("agent", instance.name)
    sealed = agent.entry.secrets_backend == manifest.CREDENTIALS
    load = secrets and sealed and not agent.runtime.reads_credentials
    variables = {
        "name": instance.name,
        "agent_id": instance.agent_id,
        "description": agent.spec.description,
        "command": [
            *([loader.PATH, *secrets, "--"] if load else ()),
            *(_with_words(word, words) for word in agent.runtime.run),
        ],
        "configs": configs,
        "release": str(_LAYOUT.current(key)),
        "secrets_file": str(_LAYOUT.secrets_file(key)) if secrets and not sealed else None,
        "credentials": {name: str(_LAYOUT.credential(key, name)) for name in secrets if sealed},
        "trust": trust_of(instance.name) if with_ca else None,
        "notify": agent.runtime.notify,
        "watchdog": agent.runtime.watchdog,
        "start_timeout": round(agent.entry.deadline) + 30,
        "resources": dataclasses.asdict(agent.resources),
        "port": instance.port,
    }
    try:
        return render_unit(template.text, variables)
    except ValueError as error:
        raise InputError([fleet_error("MA423", template.name, str(error))]) from None


def _manifest(
    inputs: Inputs,
    instance: Instance,
    mqtt: Mqtt | None,
    texts: Mapping[str, str],
    configs: list[str],
    login: Mapping[str, str],
    secrets: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    agent = instance.agent
    runtime, spec, entry = agent.runtime, agent.spec, agent.entry
    unit = f"agent-{instance.name}.service"
    about: dict[str, Any] = {
        "format": manifest.FORMAT,
        "kind": "agent",
        "name": instance.name,
        "base": agent.name,
        "unit": unit,
        "config": spec.config_name,
        "files": {name: sha256_bytes(text.encode()) for name, text in texts.items()},
        "install": {str(_LAYOUT.units / unit): {"file": "unit", "mode": "0644"}},
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
            "agent_id": instance.agent_id,
            "deadline": entry.deadline,
            "min_healthy_time": entry.min_healthy_time,
        },
    }
    if len(configs) > 1:
        about["configs"] = configs
    if _TRUST in texts:
        place = str(_LAYOUT.units / trust_of(instance.name).unit)
        about["install"][place] = {"file": _TRUST, "mode": "0644"}
    if secrets:
        about["secrets"] = secrets
        if entry.secrets_backend == manifest.CREDENTIALS:
            about["secrets_backend"] = manifest.CREDENTIALS
            about["reads_credentials"] = runtime.reads_credentials
    about["health"] = dataclasses.asdict(entry.health or inputs.health)
    if notify := entry.notify or inputs.notify:
        about["notify"] = {"run": list(notify.run), "timeout": notify.timeout, "user": notify.user}
    if hooks := hooks_of(entry, HOST):
        about["hooks"] = {
            moment: {"run": list(hook.run), "timeout": hook.timeout} for moment, hook in hooks.items()
        }
    if spec.version:
        about["version"] = spec.version
    if mqtt is not None:
        about["mqtt"] = {
            "url": mqtt.url,
            "status_topic": f"/control/agents/{instance.agent_id}/status",
            "username": login.get(mqtt.username_env or ""),
            "username_env": mqtt.username_env,
            "password_env": mqtt.password_env,
            "heartbeat": mqtt.heartbeat,
            "resubscribes": runtime.resubscribes,
        }
        if _BROKER_CA in texts:
            about["mqtt"]["ca"] = texts[_BROKER_CA]
    return about
