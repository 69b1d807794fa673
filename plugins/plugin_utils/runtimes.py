# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The programs that run agent configs, pinned by digest per architecture."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import SHA256
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    Diagnostic,
    did_you_mean,
    fleet_error,
)

REFERENCE = "reference"
METRICS = "/metrics"
_KINDS = ("binary", "python")
_HEALTH = ("ready", "identity")
_KEYS = (
    "artifacts", "check", "config_schema", "environment", "health", "kind", "metrics", "notify", "reads_credentials",
    "resubscribes", "run", "single", "tools", "version", "watchdog",
)  # fmt: skip
# What stands for a path in `run`, `check` and the environment.
_WORDS = ("{program}", "{config}", "{config_dir}")
_WORD = re.compile(r"\{[a-z_]+\}")
_MACHINES = (
    "any",
    "x86_64",
    "amd64",
    "aarch64",
    "arm64",
    "armv7l",
    "armhf",
    "i686",
    "ppc64le",
    "riscv64",
    "s390x",
)
_REFERENCE_FILE = Path(__file__).resolve().parents[2] / "roles/agent/files/muster-agent.pyz"


@dataclass(frozen=True)
class Artifact:
    """One file of a runtime: on the controller (`src`) or to be downloaded (`url`), always with its digest."""

    sha256: str
    src: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Runtime:
    """`run` and `check` are argument vectors with `{program}` and `{config}`; `artifacts` by machine name or `any`.

    `config_schema`: a format's name, or the path of the user's own JSON Schema; empty: recognised by content. `tools`: what
    this build has beside the format's own. `single`: two of it must never run. `metrics`: where it answers with Prometheus text.
    `reads_credentials`: where secrets are kept as credentials, it reads them from $CREDENTIALS_DIRECTORY by itself.
    `resubscribes`: after a restart of its broker it hears again by itself.
    """

    name: str
    version: str
    artifacts: Mapping[str, Artifact]
    run: tuple[str, ...]
    check: tuple[str, ...]
    notify: bool = False
    watchdog: int | None = None
    ready: str | None = "/ready"
    identity: str | None = "/health"
    environment: Mapping[str, str] = field(default_factory=dict)
    config_schema: str = ""
    tools: frozenset[str] = frozenset()
    single: bool = False
    metrics: str | None = None
    reads_credentials: bool = False
    resubscribes: bool = False


def read_runtimes(raw: object, problems: list[Diagnostic]) -> dict[str, Runtime]:
    """The user's runtimes and the reference one; every mistake is added to `problems`."""
    if not isinstance(raw, Mapping):
        problems.append(fleet_error("MA406", "agent_runtimes", "must be a mapping of names to runtimes"))
        raw = {}
    runtimes = {str(name): _read(str(name), value, problems) for name, value in raw.items()}
    if REFERENCE not in runtimes:
        runtimes[REFERENCE] = _reference()
    return runtimes


def unbuilt(runtime: Runtime) -> Diagnostic | None:
    """The built-in runtime is a file that a clone builds first; without it nothing can be deployed, only checked."""
    if runtime.artifacts:
        return None
    message = (
        f"the built-in runtime is not built ({_REFERENCE_FILE} is missing); run `make runtime` in the clone"
    )
    return fleet_error("MA406", f"agent_runtimes.{REFERENCE}", message)


def _reference() -> Runtime:
    command = ("/usr/bin/python3", "{program}", "--config", "{config}")
    artifacts = {}
    if _REFERENCE_FILE.is_file():
        artifacts["any"] = Artifact(file_sha256(_REFERENCE_FILE), src=str(_REFERENCE_FILE))
    return Runtime(
        name=REFERENCE,
        version="built-in",
        artifacts=artifacts,
        run=(*command, "run"),
        check=(*command, "config"),
        notify=True,
        watchdog=60,
        config_schema=REFERENCE,
        metrics=METRICS,
        resubscribes=True,
    )


@functools.lru_cache(maxsize=32)
def _digest(path: Path, size: int, modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def file_sha256(path: Path) -> str:
    """Digest of a file on the controller, computed once for each version of it."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


def _read(name: str, raw: object, problems: list[Diagnostic]) -> Runtime:
    where = f"agent_runtimes.{name}"
    if not isinstance(raw, Mapping):
        problems.append(fleet_error("MA406", where, "must be a mapping with kind, artifacts and run"))
        raw = {}
    for key in raw:
        if key not in _KEYS:
            problems.append(
                fleet_error(
                    "MA406",
                    f"{where}.{key}",
                    f"unknown; known are {', '.join(_KEYS)}",
                    did_you_mean(str(key), _KEYS),
                )
            )
    kind = raw.get("kind", "binary")
    if kind not in _KINDS:
        problems.append(
            fleet_error(
                "MA406",
                f"{where}.kind",
                f"{kind!r} cannot run on the systemd target; it takes {' or '.join(_KINDS)}",
            )
        )
    run, check = (_command(raw, key, where, problems) for key in ("run", "check"))
    if not raw.get("run"):
        problems.append(
            fleet_error(
                "MA406", f"{where}.run", 'missing; write it like ["{program}", "--config", "{config}", "run"]'
            )
        )
    health, environment = (_mapping(raw, key, where, problems) for key in ("health", "environment"))
    for key, path in health.items():
        if key not in _HEALTH:
            message = f"unknown; known are {', '.join(_HEALTH)}"
            meant = did_you_mean(str(key), _HEALTH)
            problems.append(fleet_error("MA406", f"{where}.health.{key}", message, meant))
        elif path is not None and not (isinstance(path, str) and path.startswith("/")):
            message = "must be a path such as /ready, or null"
            problems.append(fleet_error("MA406", f"{where}.health.{key}", message))
    watchdog = raw.get("watchdog")
    if watchdog is not None and (isinstance(watchdog, bool) or not isinstance(watchdog, int) or watchdog < 1):
        problems.append(fleet_error("MA406", f"{where}.watchdog", "must be a whole number of seconds"))
    for key in ("notify", "reads_credentials", "resubscribes", "single"):
        if not isinstance(raw.get(key, False), bool):
            problems.append(fleet_error("MA406", f"{where}.{key}", "must be true or false"))
    # Only of the reference agent these two are known without a word: agent2389 has JSON there, and stays deaf.
    reference = raw.get("config_schema") == REFERENCE
    metrics = raw.get("metrics", METRICS if reference else False)
    if metrics is not False and not (isinstance(metrics, str) and metrics.startswith("/")):
        message = f"must be a path with Prometheus text, such as {METRICS}, or false"
        problems.append(fleet_error("MA406", f"{where}.metrics", message))
    tools = raw.get("tools") or []
    if not isinstance(tools, (list, tuple)):
        problems.append(fleet_error("MA406", f"{where}.tools", "must be a list of the tools' names"))
        tools = []
    return Runtime(
        name=name,
        version=str(raw.get("version", "")),
        artifacts=_artifacts(raw.get("artifacts"), where, problems),
        run=run,
        check=check,
        notify=bool(raw.get("notify", False)),
        watchdog=watchdog,
        ready=health.get("ready", "/ready"),
        identity=health.get("identity", "/health"),
        environment={str(key): str(value) for key, value in environment.items()},
        config_schema=str(raw.get("config_schema") or ""),
        tools=frozenset(map(str, tools)),
        single=bool(raw.get("single", False)),
        metrics=metrics or None,
        reads_credentials=bool(raw.get("reads_credentials", False)),
        resubscribes=bool(raw.get("resubscribes", reference)),
    )


def _mapping(raw: Mapping[str, Any], key: str, where: str, problems: list[Diagnostic]) -> Mapping[str, Any]:
    value = raw.get(key) or {}
    if not isinstance(value, Mapping):
        problems.append(fleet_error("MA406", f"{where}.{key}", "must be a mapping"))
        return {}
    return value


def _command(raw: Mapping[str, Any], key: str, where: str, problems: list[Diagnostic]) -> tuple[str, ...]:
    words = raw.get(key) or []
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        problems.append(
            fleet_error(
                "MA406", f"{where}.{key}", "must be a list of words, not one string: no shell reads it"
            )
        )
        return ()
    for word in words:
        for name in _WORD.findall(word):
            if name not in _WORDS:
                message = f"{name} is not a word that is replaced; known are {', '.join(_WORDS)}"
                problems.append(fleet_error("MA406", f"{where}.{key}", message, did_you_mean(name, _WORDS)))
    return tuple(words)


def _artifacts(raw: object, where: str, problems: list[Diagnostic]) -> dict[str, Artifact]:
    if not isinstance(raw, Mapping) or not raw:
        problems.append(
            fleet_error(
                "MA406",
                f"{where}.artifacts",
                "missing; write {x86_64: {url: …, sha256: …}}, or `any` for every machine",
            )
        )
        return {}
    artifacts = {}
    for machine, given in raw.items():
        place = f"{where}.artifacts.{machine}"
        value = given if isinstance(given, Mapping) else {}
        digest = str(value.get("sha256", "")).lower()
        if not SHA256.fullmatch(digest):
            problems.append(
                fleet_error(
                    "MA406",
                    f"{place}.sha256",
                    "missing or not 64 hex digits; every artifact is pinned by its digest",
                )
            )
        if machine not in _MACHINES and (meant := did_you_mean(str(machine), _MACHINES)):
            problems.append(fleet_error("MA406", place, "is not the name of a machine", meant))
        for key in ("src", "url"):
            if not isinstance(value.get(key) or "", str):
                problems.append(fleet_error("MA406", f"{place}.{key}", "must be text"))
        if bool(value.get("src")) == bool(value.get("url")):
            problems.append(
                fleet_error("MA406", place, "needs either `src` (a file on the controller) or `url`")
            )
        artifacts[str(machine)] = Artifact(digest, value.get("src"), value.get("url"))
    return artifacts
