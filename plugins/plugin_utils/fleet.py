# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory variable `fleet`, read into a model, and the choice that `-e agent=` makes among it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import SAFE_NAME
from ansible_collections.muster.agents.plugins.plugin_utils.problems import InputError, Problem, nearest
from ansible_collections.muster.agents.plugins.plugin_utils.quantity import cpu_percent, memory_bytes

EACH = "each"
DEFAULT_POOL = "agents"
WHERE = "fleet"
_KEYS = (
    "config", "deadline", "environment", "hosts", "instances", "min_healthy_time", "overrides", "port", "resources", "runtime",
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
    """One agent of the fleet, as its person wrote it."""

    name: str
    config: str
    pool: str = DEFAULT_POOL
    instances: int | str = 1
    runtime: str = "reference"
    resources: Resources = Resources()
    environment: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    port: int | None = None
    deadline: float = 120.0
    min_healthy_time: float = 3.0

    def instance_names(self, hosts: Iterable[str]) -> list[str]:
        """`writer`, or `writer-1`, `writer-2`, or one `writer-<host>` for each host of the pool."""
        if self.instances == EACH:
            return [f"{self.name}-{host}" for host in sorted(hosts)]
        count = int(self.instances)
        return [self.name] if count == 1 else [f"{self.name}-{number}" for number in range(1, count + 1)]


def read_fleet(raw: object) -> dict[str, Entry]:
    """Every mistake at once. Raises InputError."""
    if not isinstance(raw, Mapping) or not raw:
        raise InputError(
            [Problem(WHERE, "no agent in it; write `fleet: {researcher: {}}` in group_vars/all/fleet.yml")]
        )
    problems: list[Problem] = []
    entries = {}
    for name, value in raw.items():
        where = f"{WHERE}.{name}"
        if not isinstance(name, str) or not SAFE_NAME.fullmatch(name):
            problems.append(
                Problem(
                    where,
                    "a name begins with a letter or digit and holds only letters, digits, `.`, `_`, `-`",
                )
            )
            continue
        if value is not None and not isinstance(value, Mapping):
            problems.append(Problem(where, f"must be a mapping such as {{}}, not {type(value).__name__}"))
            continue
        entries[name] = _entry(name, dict(value or {}), where, problems)
    if problems:
        raise InputError(problems)
    return entries


def _entry(name: str, raw: dict[str, Any], where: str, problems: list[Problem]) -> Entry:
    for key in raw:
        if key not in _KEYS:
            problems.append(
                Problem(f"{where}.{key}", f"unknown{nearest(str(key), _KEYS)}; known are {', '.join(_KEYS)}")
            )
    instances = raw.get("instances", 1)
    if instances != EACH and not (
        isinstance(instances, int) and not isinstance(instances, bool) and 1 <= instances <= 1000
    ):
        problems.append(
            Problem(f"{where}.instances", "must be a whole number of at least 1, or `each` for one per host")
        )
        instances = 1
    port = raw.get("port")
    if port is not None and not (isinstance(port, int) and 1024 <= port <= 65535):
        problems.append(Problem(f"{where}.port", "must be a port from 1024 to 65535"))
        port = None
    if port is not None and instances != 1:
        problems.append(
            Problem(
                f"{where}.port", "cannot be shared by several instances; leave it out and each gets its own"
            )
        )
    for key in ("environment", "overrides", "resources"):
        if not isinstance(raw.get(key) or {}, Mapping):
            problems.append(Problem(f"{where}.{key}", "must be a mapping"))
            raw[key] = {}
    times = {}
    for key, default, least in (("deadline", 120.0, 1), ("min_healthy_time", 3.0, 0)):
        times[key] = raw.get(key, default)
        if (
            isinstance(times[key], bool)
            or not isinstance(times[key], (int, float))
            or not least <= times[key] <= 3600
        ):
            problems.append(Problem(f"{where}.{key}", f"must be a number of seconds from {least} to 3600"))
            times[key] = default
    if times["min_healthy_time"] >= times["deadline"]:
        message = f"must be less than the deadline of {times['deadline']:g} s, or no release could ever pass"
        problems.append(Problem(f"{where}.min_healthy_time", message))
    for key, value in (raw.get("environment") or {}).items():
        if value is None or isinstance(value, (Mapping, list)):
            problems.append(
                Problem(f"{where}.environment.{key}", "must be a text or a number; quote it to be sure")
            )
    return Entry(
        name=name,
        config=str(raw.get("config") or f"{name}.toml"),
        pool=str(raw.get("hosts") or DEFAULT_POOL),
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
    )


def _environment_word(value: object) -> str:
    # YAML's `true` reaches programs as they and their documents write it.
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise ValueError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _resources(raw: Mapping[str, Any], where: str, problems: list[Problem]) -> Resources:
    """Flat (`memory: 1Gi`), or as in Kubernetes with `requests` and `limits`."""
    for key in ("limits", "requests"):
        if not isinstance(raw.get(key) or {}, Mapping):
            problems.append(Problem(f"{where}.{key}", "must be a mapping"))
            raw = {**raw, key: {}}
    limits = {**raw, **(raw.get("limits") or {})}
    requests = raw.get("requests") or {}
    for key in {*limits, *requests} - {"limits", "requests", "memory", "cpu", "tasks"}:
        problems.append(Problem(f"{where}.{key}", "unknown; known are memory, cpu, tasks, limits, requests"))

    def read(source: Mapping[str, Any], key: str, convert: Any, default: int | None) -> int | None:
        if source.get(key) is None:
            return default
        try:
            return int(convert(str(source[key])))
        except ValueError as error:
            problems.append(Problem(f"{where}.{key}", str(error)))
            return default

    standard = Resources()
    return Resources(
        memory=read(limits, "memory", memory_bytes, standard.memory) or standard.memory,
        cpu=read(limits, "cpu", cpu_percent, standard.cpu) or standard.cpu,
        tasks=read(limits, "tasks", _count, standard.tasks) or standard.tasks,
        memory_request=read(requests, "memory", memory_bytes, None),
        cpu_request=read(requests, "cpu", cpu_percent, None),
    )


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
    if not words or words == ["all"]:
        return list(known)
    chosen: list[str] = []
    problems = []
    for word in words:
        key = word if word in known else _by_other_name(word, known)
        if key is None:
            everything = [*known, *(other for others in known.values() for other in others)]
            message = f"no agent {word!r} in the fleet{nearest(word, everything)}; known are {', '.join(sorted(known))}"
            problems.append(Problem("agent", message))
        elif key not in chosen:
            chosen.append(key)
    if problems:
        raise InputError(problems)
    return chosen
