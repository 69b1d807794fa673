# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The programs that run agent configs, pinned by digest per architecture."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import SHA256
from ansible_collections.muster.agents.plugins.plugin_utils.problems import InputError, Problem, nearest

REFERENCE = "reference"
_KINDS = ("binary", "python")
_KEYS = (
    "artifacts", "check", "config_schema", "environment", "health", "kind", "notify", "run", "version", "watchdog",
)  # fmt: skip
_REFERENCE_FILE = Path(__file__).resolve().parents[2] / "roles/agent/files/muster-agent.pyz"


@dataclass(frozen=True)
class Artifact:
    """One file of a runtime: on the controller (`src`) or to be downloaded (`url`), always with its digest."""

    sha256: str
    src: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Runtime:
    """`run` and `check` are argument vectors with `{program}` and `{config}`; `artifacts` by machine name or `any`."""

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


def read_runtimes(raw: object) -> dict[str, Runtime]:
    """The user's runtimes and the reference one. Raises InputError with every mistake."""
    problems: list[Problem] = []
    if not isinstance(raw, Mapping):
        raise InputError([Problem("agent_runtimes", "must be a mapping of names to runtimes")])
    runtimes = {str(name): _read(str(name), value, problems) for name, value in raw.items()}
    if problems:
        raise InputError(problems)
    if REFERENCE not in runtimes:
        runtimes[REFERENCE] = _reference()
    return runtimes


def _reference() -> Runtime:
    if not _REFERENCE_FILE.is_file():
        message = f"the built-in runtime is not built ({_REFERENCE_FILE} is missing); run `make runtime` in the clone"
        raise InputError([Problem(f"agent_runtimes.{REFERENCE}", message)])
    command = ("/usr/bin/python3", "{program}", "--config", "{config}")
    return Runtime(
        name=REFERENCE,
        version="built-in",
        artifacts={"any": Artifact(file_sha256(_REFERENCE_FILE), src=str(_REFERENCE_FILE))},
        run=(*command, "run"),
        check=(*command, "config"),
        notify=True,
        watchdog=60,
    )


@functools.lru_cache(maxsize=32)
def _digest(path: Path, size: int, modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def file_sha256(path: Path) -> str:
    """Digest of a file on the controller, computed once for each version of it."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


def _read(name: str, raw: object, problems: list[Problem]) -> Runtime:
    where = f"agent_runtimes.{name}"
    if not isinstance(raw, Mapping):
        problems.append(Problem(where, "must be a mapping with kind, artifacts and run"))
        raw = {}
    for key in raw:
        if key not in _KEYS:
            problems.append(
                Problem(f"{where}.{key}", f"unknown{nearest(str(key), _KEYS)}; known are {', '.join(_KEYS)}")
            )
    kind = raw.get("kind", "binary")
    if kind not in _KINDS:
        problems.append(
            Problem(
                f"{where}.kind", f"{kind!r} cannot run on the systemd target; it takes {' or '.join(_KINDS)}"
            )
        )
    run, check = (_command(raw, key, where, problems) for key in ("run", "check"))
    if not run:
        problems.append(
            Problem(f"{where}.run", 'missing; write it like ["{program}", "--config", "{config}", "run"]')
        )
    health, environment = (_mapping(raw, key, where, problems) for key in ("health", "environment"))
    watchdog = raw.get("watchdog")
    if watchdog is not None and (isinstance(watchdog, bool) or not isinstance(watchdog, int) or watchdog < 1):
        problems.append(Problem(f"{where}.watchdog", "must be a whole number of seconds"))
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
    )


def _mapping(raw: Mapping[str, Any], key: str, where: str, problems: list[Problem]) -> Mapping[str, Any]:
    value = raw.get(key) or {}
    if not isinstance(value, Mapping):
        problems.append(Problem(f"{where}.{key}", "must be a mapping"))
        return {}
    return value


def _command(raw: Mapping[str, Any], key: str, where: str, problems: list[Problem]) -> tuple[str, ...]:
    words = raw.get(key) or []
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        problems.append(
            Problem(f"{where}.{key}", "must be a list of words, not one string: no shell reads it")
        )
        return ()
    return tuple(words)


def _artifacts(raw: object, where: str, problems: list[Problem]) -> dict[str, Artifact]:
    if not isinstance(raw, Mapping) or not raw:
        problems.append(
            Problem(
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
                Problem(
                    f"{place}.sha256", "missing or not 64 hex digits; every artifact is pinned by its digest"
                )
            )
        if bool(value.get("src")) == bool(value.get("url")):
            problems.append(Problem(place, "needs either `src` (a file on the controller) or `url`"))
        artifacts[str(machine)] = Artifact(digest, value.get("src"), value.get("url"))
    return artifacts
