# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The manifest of a release: everything that the engine must know to run it, with no controller at hand.

A release's id is the digest of its manifest, and the manifest names the digest of every file: equal id, equal bytes.
"""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import health
from .errors import EngineError
from .files import read_link, sha256_bytes, sha256_file
from .layout import SHA256, Layout, workload_key

FORMAT = 1
FILE_NAME = "manifest.json"
# Beside what the manifest names, for the unit: the id, which the manifest's own digest is and no file in it can hold.
ID_FILE = "release.env"
# And in a release that has not passed its check: whoever stages it again then checks it, whatever ended the run before.
UNCHECKED = "muster-unchecked"
ENVIRONMENT_FILE, CREDENTIALS = BACKENDS = ("environment_file", "credentials")
SECRETS = "secrets"  # how `reload` names the secrets
PRE_RELEASE, POST_RELEASE = "pre_release", "post_release"
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Install:
    """A file of the release that is copied to a place of its own on the host, such as the unit. Of a secret file, `file` is the
    secret's name.
    """

    path: str
    file: str
    mode: int
    group: str | None


@dataclass(frozen=True)
class Gate:
    """When a workload counts as healthy. Times in seconds.

    `ready` and `identity` are HTTP paths on `port` of `host`; without `ready` it is enough that the port takes connections,
    and with `tls` (a SHA-256 in hex) that it shows this certificate.
    """

    host: str
    port: int
    ready: str | None
    identity: str | None
    agent_id: str | None
    tls: str | None
    deadline: float
    min_healthy_time: float


@dataclass(frozen=True)
class Hook:
    """A command of the user's that runs as root on the host, around a release. `timeout` in seconds."""

    run: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class Notify:
    """A command of the user's that is told of changes in an agent's health. It runs as `user`, for `timeout` seconds."""

    run: tuple[str, ...]
    timeout: float
    user: str


@dataclass(frozen=True)
class Trial:
    """How a service is started for a moment to see what it says of its config: see `trial.py`.

    `folder` holds its config, `emptied` are folders that it would write to; `refused` are words by which it says that it
    cannot use the config.
    """

    run: tuple[str, ...]
    folder: str
    emptied: tuple[str, ...]
    refused: str


@dataclass(frozen=True)
class Manifest:
    """One release of one workload. `raw` is the document itself, which is what is written and hashed.

    `secrets` says which variables the release needs and where their values come from, never a value; `secrets_backend` how
    they are kept on the host. With `reads_credentials` the program reads them as systemd's credentials by itself.
    """

    key: str
    name: str
    base: str
    unit: str
    config: str | None
    configs: tuple[str, ...]  # every file of the config, that one among them
    files: Mapping[str, str]
    installs: tuple[Install, ...]
    secret_installs: tuple[Install, ...]
    runtime: Mapping[str, Any] | None
    check: tuple[str, ...]
    trial: Trial | None
    gate: Gate
    reload: frozenset[
        str
    ]  # files whose change needs no restart, names of secret files too; SECRETS if no secret does
    hidden: frozenset[str]  # files that no diff shows
    requires: Mapping[str, str]
    mqtt: Mapping[str, Any] | None
    health: health.Health
    notify: Notify | None
    hooks: Mapping[str, Hook]  # by PRE_RELEASE and POST_RELEASE
    secrets: Mapping[str, Mapping[str, str]]
    secrets_backend: str
    reads_credentials: bool
    raw: Mapping[str, Any]

    @property
    def all_installs(self) -> tuple[Install, ...]:
        """Every place outside of its own directory that a release fills."""
        return (*self.installs, *self.secret_installs)

    @functools.cached_property
    def release(self) -> str:
        return release_id(self.raw)

    @property
    def runtime_words(self) -> str | None:
        """The runtime's name and version."""
        runtime = self.runtime or {}
        return " ".join(str(runtime[word]) for word in ("name", "version") if runtime.get(word)) or None

    def digest(self, architecture: str) -> str | None:
        """The runtime's digest for this machine; raises EngineError where the runtime has none."""
        if self.runtime is None:
            return None
        # People write Debian's words, Linux says its own.
        artifacts = {ARCHITECTURES.get(name, name): one for name, one in self.runtime["artifacts"].items()}
        wanted = ARCHITECTURES.get(architecture, architecture)
        found = artifacts.get(wanted) or artifacts.get("any")
        if not isinstance(found, str) or not SHA256.fullmatch(found):
            raise EngineError(
                f"runtime {self.runtime['name']!r} has no artifact for {wanted}; it has {', '.join(sorted(artifacts))}"
            )
        return found


def canonical(raw: Mapping[str, Any]) -> bytes:
    return json.dumps(raw, sort_keys=True, ensure_ascii=False, indent=1).encode() + b"\n"


def release_id(raw: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the manifest's SHA-256."""
    return sha256_bytes(canonical(raw))[:16]


def parse(raw: Mapping[str, Any]) -> Manifest:
    """Raises EngineError where a manifest lacks something or names a file it does not hold."""
    if not isinstance(raw, dict):
        raise EngineError("a manifest that is no JSON object")
    if raw.get("format") != FORMAT:
        raise EngineError(f"a manifest in format {raw.get('format')!r}; this engine knows {FORMAT}")
    try:
        gate = raw["gate"]
        manifest = Manifest(
            key=workload_key(raw["kind"], raw["name"]),
            name=raw["name"],
            base=raw["base"],
            unit=raw["unit"],
            config=raw.get("config"),
            configs=tuple(raw.get("configs") or ([raw["config"]] if raw.get("config") else ())),
            files=dict(raw["files"]),
            installs=tuple(
                Install(path, entry["file"], int(entry["mode"], 8), entry.get("group"))
                for path, entry in sorted(raw["install"].items())
            ),
            secret_installs=tuple(
                Install(path, entry["secret"], int(entry["mode"], 8), entry.get("group"))
                for path, entry in sorted((raw.get("secret_files") or {}).items())
            ),
            runtime=raw.get("runtime"),
            check=tuple(raw.get("check") or ()),
            trial=_trial(raw["trial"]) if raw.get("trial") else None,
            gate=Gate(
                host=str(gate.get("host", "127.0.0.1")),
                port=int(gate["port"]),
                ready=gate.get("ready"),
                identity=gate.get("identity"),
                agent_id=gate.get("agent_id"),
                tls=gate.get("tls"),
                deadline=float(gate["deadline"]),
                min_healthy_time=float(gate["min_healthy_time"]),
            ),
            reload=frozenset(raw.get("reload") or ()),
            hidden=frozenset(raw.get("hidden") or ()),
            requires=dict(raw.get("requires") or {}),
            mqtt=raw.get("mqtt"),
            health=health.from_dict(raw.get("health")),
            notify=_notify(raw["notify"]) if raw.get("notify") else None,
            hooks={
                moment: Hook(tuple(one["run"]), float(one["timeout"]))
                for moment, one in (raw.get("hooks") or {}).items()
            },
            secrets=dict(raw.get("secrets") or {}),
            secrets_backend=str(raw.get("secrets_backend", ENVIRONMENT_FILE)),
            reads_credentials=bool(raw.get("reads_credentials")),
            raw=raw,
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise EngineError(f"manifest of {raw.get('name', '?')}: {type(error).__name__} {error}") from None
    absent = {*(install.file for install in manifest.installs), *manifest.configs} - set(manifest.files)
    unsafe = [
        name
        for name in manifest.files
        if "/" in name or name.startswith(".") or name in (FILE_NAME, ID_FILE, UNCHECKED)
    ]
    if absent or unsafe:
        raise EngineError(f"manifest of {manifest.name}: no such file {sorted(absent) or unsafe}")
    if manifest.secrets_backend not in BACKENDS:
        raise EngineError(f"manifest of {manifest.name}: no secrets_backend {manifest.secrets_backend!r}")
    if manifest.secret_installs and manifest.secrets_backend != ENVIRONMENT_FILE:
        raise EngineError(
            f"manifest of {manifest.name}: secret files need secrets_backend {ENVIRONMENT_FILE}"
        )
    return manifest


def _notify(raw: Mapping[str, Any]) -> Notify:
    return Notify(tuple(raw["run"]), float(raw["timeout"]), str(raw["user"]))


def _trial(raw: Mapping[str, Any]) -> Trial:
    return Trial(tuple(raw["run"]), str(raw["folder"]), tuple(raw["emptied"]), str(raw["refused"]))


def read(layout: Layout, key: str, release: str) -> Manifest:
    """The manifest of a release on disk. Raises EngineError where it is missing, unreadable or not what its id says."""
    path = layout.release(key, release) / FILE_NAME
    try:
        data = path.read_bytes()
        manifest = parse(json.loads(data))
    except FileNotFoundError:
        raise EngineError(f"{path}: missing; deploy the agent again to restore it") from None
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{path}: not a manifest ({error})") from None
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror})") from None
    if sha256_bytes(data)[:16] != release:
        raise EngineError(f"{path}: its digest is not {release}; it was altered")
    return manifest


def altered(directory: Path, manifest: Manifest) -> list[str]:
    """What of a release on disk is not what the manifest says: its files, the manifest itself, the link to its runtime."""
    found = [name for name, digest in manifest.files.items() if sha256_file(directory / name) != digest]
    if (sha256_file(directory / FILE_NAME) or "")[:16] != manifest.release:
        found.append(FILE_NAME)
    digest = manifest.digest(platform.machine())
    if digest and (read_link(directory / "runtime") or "").rpartition("/")[2] != digest:
        found.append("runtime")
    return found
