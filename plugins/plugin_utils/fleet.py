# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory variable `fleet`, read into a model, and the choice that `-e agent=` makes among it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine.health import Health
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import SAFE_NAME
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import (
    BACKENDS,
    ENVIRONMENT_FILE,
    Notify,
)
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    Diagnostic,
    InputError,
    did_you_mean,
    fleet_error,
)
from ansible_collections.muster.agents.plugins.plugin_utils.health import read_health, read_notify
from ansible_collections.muster.agents.plugins.plugin_utils.hooks import Hook, read_hooks
from ansible_collections.muster.agents.plugins.plugin_utils.policy import read_silence
from ansible_collections.muster.agents.plugins.plugin_utils.pools import joined
from ansible_collections.muster.agents.plugins.plugin_utils.quantity import cpu_percent, memory_bytes
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import Policy, read_policy

EACH = "each"
DEFAULT_POOL = "agents"
WHERE = "fleet"
_KEYS = (
    "config", "deadline", "environment", "format", "health", "hooks", "hosts", "instances", "min_healthy_time", "notify",
    "overrides", "port", "resources", "rollout", "runtime", "secrets_backend", "silence",
)  # fmt: skip


@dataclass(frozen=True)
class Resources:
    """Limits, and what is asked for as a share when a host is short. Memory in bytes, CPU in per cent of one."""

    memory: int = 2**30
    cpu: int = 100
    tasks: int = 256
    memory_request: int | None = None
    cpu_request: int | None = None


@dataclass(frozen=True)
class Entry:
    """One agent of the fleet, as its person wrote it. `config` may end in `#id` where a file holds several agents.

    `resources` are those that are written, by the names of Resources' fields. `rollout`, `health`, `notify`: None where it
    goes with the fleet's.
    """

    name: str
    config: str = ""
    pool: str = DEFAULT_POOL
    instances: int | str = 1
    runtime: str = "reference"
    resources: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    port: int | None = None
    deadline: float = 120.0
    min_healthy_time: float = 3.0
    format: str = ""
    silence: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    rollout: Policy | None = None
    health: Health | None = None
    notify: Notify | None = None
    secrets_backend: str = ENVIRONMENT_FILE

    def instance_names(self, hosts: Iterable[str]) -> list[str]:
        """`writer`, or `writer-1`, `writer-2`, or one `writer-<host>` for each host of the pool."""
        if self.instances == EACH:
            return [f"{self.name}-{host}" for host in sorted(hosts)]
        count = int(self.instances)
        return [self.name] if count == 1 else [f"{self.name}-{number}" for number in range(1, count + 1)]


def read_backend(raw: object, where: str, problems: list[Diagnostic], default: str = ENVIRONMENT_FILE) -> str:
    """How secrets are kept on the hosts; what is wrong is added to `problems`, as MA403."""
    if raw is None:
        return default
    if raw not in BACKENDS:
        hint = did_you_mean(str(raw), BACKENDS)
        problems.append(fleet_error("MA403", where, f"must be {' or '.join(BACKENDS)}", hint))
        return default
    return str(raw)


def read_fleet(
    raw: object,
    problems: list[Diagnostic],
    rollout: Policy | None = None,
    health: Health | None = None,
    secrets_backend: str = ENVIRONMENT_FILE,
) -> dict[str, Entry]:
    """Every entry that can be read at all; every mistake is added to `problems`. `rollout`, `health` and `secrets_backend`
    are the fleet's.
    """
    if not isinstance(raw, Mapping) or not raw:
        message = "no agent in it; write `fleet: {researcher: {}}` in group_vars/all/fleet.yml"
        if raw and not isinstance(raw, Mapping):
            kind = "list" if isinstance(raw, (list, tuple)) else "text"
            message = f"is a {kind}; it must be a mapping: `fleet: {{researcher: {{}}}}`"
        problems.append(fleet_error("MA401", WHERE, message))
        return {}
    entries = {}
    for name, value in raw.items():
        where = f"{WHERE}.{name}"
        if not isinstance(name, str) or not SAFE_NAME.fullmatch(name):
            message = "a name begins with a letter or digit and holds only letters, digits, `.`, `_`, `-`"
            problems.append(fleet_error("MA401", where, message))
        elif value is not None and not isinstance(value, Mapping):
            message = "must be a mapping; write {} where there is nothing to say"
            problems.append(fleet_error("MA401", where, message, agent=name))
        else:
            given = {"secrets_backend": secrets_backend, **(value or {})}
            entries[name] = _entry(name, given, where, problems, rollout or Policy(), health or Health())
    return entries


def _entry(
    name: str,
    raw: dict[str, Any],
    where: str,
    problems: list[Diagnostic],
    rollout: Policy,
    health: Health,
) -> Entry:
    for key in raw:
        if key not in _KEYS:
            problems.append(
                fleet_error(
                    "MA402",
                    f"{where}.{key}",
                    f"unknown; known are {', '.join(_KEYS)}",
                    did_you_mean(str(key), _KEYS),
                    agent=name,
                )
            )
    instances = raw.get("instances", 1)
    if isinstance(instances, str) and re.fullmatch(r"[0-9]{1,4}", instances):
        instances = int(instances)  # before ansible-core 2.19 a template makes a text of a number
    if instances != EACH and not (
        isinstance(instances, int) and not isinstance(instances, bool) and 1 <= instances <= 1000
    ):
        problems.append(
            fleet_error(
                "MA403",
                f"{where}.instances",
                "must be a whole number of at least 1, or `each` for one per host",
            )
        )
        instances = 1
    port = raw.get("port")
    if port is not None and not (isinstance(port, int) and 1024 <= port <= 65535):
        problems.append(fleet_error("MA403", f"{where}.port", "must be a port from 1024 to 65535"))
        port = None
    if port is not None and instances != 1:
        problems.append(
            fleet_error(
                "MA403",
                f"{where}.port",
                "cannot be shared by several instances; leave it out and each gets its own",
            )
        )
        port = None
    for key, example in (
        ("config", "agents/writer.toml"),
        ("format", "agent2389"),
        ("runtime", "reference"),
    ):
        if isinstance(raw.get(key), (bool, Mapping, list, tuple)):
            problems.append(fleet_error("MA403", f"{where}.{key}", f"must be a text such as {example!r}"))
            raw[key] = None
    for key in ("environment", "overrides", "resources"):
        if not isinstance(raw.get(key) or {}, Mapping):
            problems.append(fleet_error("MA403", f"{where}.{key}", "must be a mapping"))
            raw[key] = {}
    times = {}
    for key, default, least in (("deadline", 120.0, 1), ("min_healthy_time", 3.0, 0)):
        times[key] = raw.get(key, default)
        if (
            isinstance(times[key], bool)
            or not isinstance(times[key], (int, float))
            or not least <= times[key] <= 3600
        ):
            problems.append(
                fleet_error("MA403", f"{where}.{key}", f"must be a number of seconds from {least} to 3600")
            )
            times[key] = default
    if times["min_healthy_time"] >= times["deadline"]:
        message = f"must be less than the deadline of {times['deadline']:g} s, or no release could ever pass"
        problems.append(fleet_error("MA403", f"{where}.min_healthy_time", message))
    for key, value in (raw.get("environment") or {}).items():
        if value is None or isinstance(value, (Mapping, list)):
            problems.append(
                fleet_error(
                    "MA403", f"{where}.environment.{key}", "must be a text or a number; quote it to be sure"
                )
            )
    return Entry(
        name=name,
        config=str(raw.get("config") or ""),
        pool=_pool(raw.get("hosts"), f"{where}.hosts", problems),
        instances=instances,
        runtime=str(raw.get("runtime") or "reference"),
        resources=_resources(raw.get("resources") or {}, f"{where}.resources", problems),
        environment={
            str(key): _environment_word(value) for key, value in (raw.get("environment") or {}).items()
        },
        overrides=raw.get("overrides") or {},
        port=port,
        deadline=float(times["deadline"]),
        min_healthy_time=float(times["min_healthy_time"]),
        format=str(raw.get("format") or ""),
        silence=read_silence(raw.get("silence"), f"{where}.silence", problems),
        hooks=read_hooks(raw.get("hooks"), f"{where}.hooks", problems, name),
        rollout=read_policy(raw["rollout"], f"{where}.rollout", problems, rollout, name)
        if raw.get("rollout") is not None
        else None,
        health=read_health(raw["health"], f"{where}.health", problems, health, name)
        if raw.get("health") is not None
        else None,
        notify=read_notify(raw.get("notify"), f"{where}.notify", problems, name),
        secrets_backend=read_backend(raw["secrets_backend"], f"{where}.secrets_backend", problems),
    )


def _pool(raw: object, where: str, problems: list[Diagnostic]) -> str:
    """A host pattern, or as in a play a list of them."""
    given = raw if isinstance(raw, (list, tuple)) else [DEFAULT_POOL if raw in (None, "") else raw]
    patterns = [one for one in given if isinstance(one, str) and one]
    if not patterns or len(patterns) < len(given):
        message = f"must be a host pattern such as {DEFAULT_POOL}, or a list of them"
        problems.append(fleet_error("MA403", where, message))
        return DEFAULT_POOL
    return joined(patterns)


def _environment_word(value: object) -> str:
    # YAML's `true` reaches programs as they and their documents write it.
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise ValueError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _resources(raw: Mapping[str, Any], where: str, problems: list[Diagnostic]) -> dict[str, int]:
    """Flat (`memory: 1Gi`), or as in Kubernetes with `requests` and `limits`; what is written, as fields of Resources."""
    for key in ("limits", "requests"):
        if not isinstance(raw.get(key) or {}, Mapping):
            problems.append(fleet_error("MA403", f"{where}.{key}", "must be a mapping"))
            raw = {**raw, key: {}}
    limits = {**raw, **(raw.get("limits") or {})}
    requests = raw.get("requests") or {}
    for key in {*limits, *requests} - {"limits", "requests", "memory", "cpu", "tasks"}:
        problems.append(
            fleet_error("MA403", f"{where}.{key}", "unknown; known are memory, cpu, tasks, limits, requests")
        )
    found = {}
    for name, value, key, convert in (
        ("memory", limits.get("memory"), "memory", memory_bytes),
        ("cpu", limits.get("cpu"), "cpu", cpu_percent),
        ("tasks", limits.get("tasks"), "tasks", _count),
        ("memory_request", requests.get("memory"), "memory", memory_bytes),
        ("cpu_request", requests.get("cpu"), "cpu", cpu_percent),
    ):
        if value is None:
            continue
        try:
            found[name] = convert(str(value))
        except ValueError as error:
            problems.append(fleet_error("MA403", f"{where}.{key}", str(error)))
    return found


def _by_other_name(word: str, known: Mapping[str, Iterable[str]]) -> str | None:
    """The agent whose file has this name, else the one whose id it is."""
    found = [
        (rank, name) for name, others in known.items() for rank, other in enumerate(others) if other == word
    ]
    return min(found, key=lambda one: one[0])[1] if found else None


def select(asked: object, known: Mapping[str, Iterable[str]]) -> list[str]:
    """The fleet keys that `-e agent=` means. `known`: fleet key → its other names (file stem, agent id).

    A name resolves by fleet key, then file stem, then id. Raises InputError naming what is known and the nearest.
    """
    words = [
        str(word).strip() for word in (asked if isinstance(asked, (list, tuple)) else str(asked).split(","))
    ]
    words = [word for word in words if word]
    if words == ["all"]:
        return list(known)
    if not words:
        raise InputError([fleet_error("MA404", "agent", "is empty; write `all` for the whole fleet")])
    chosen: list[str] = []
    problems = []
    for word in words:
        key = word if word in known else _by_other_name(word, known)
        if key is None:
            everything = [*known, *(other for others in known.values() for other in others)]
            message = f"no agent {word!r} in the fleet; known are {', '.join(sorted(known))}"
            problems.append(fleet_error("MA404", "agent", message, did_you_mean(word, everything)))
        elif key not in chosen:
            chosen.append(key)
    if problems:
        raise InputError(problems)
    return chosen
