# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one normalised form that every source format is read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.muster.agents.plugins.plugin_utils.config_file import ConfigFile
    from ansible_collections.muster.agents.plugins.plugin_utils.source import Path


@dataclass(frozen=True)
class Place:
    """Where the config says it: a file and a path in it."""

    file: ConfigFile = field(repr=False)
    path: Path


@dataclass(frozen=True)
class SecretReference:
    """A secret that a config names, never its value: the variable, and where it is named."""

    variable: str
    place: Place
    required: bool = True


@dataclass(frozen=True)
class Mqtt:
    """How the agent reaches its broker. The `_env` fields name variables. `heartbeat`: seconds between two signs of life in
    its retained status, None where it gives none.
    """

    url: str
    username_env: str | None = None
    password_env: str | None = None
    heartbeat: float | None = None


@dataclass(frozen=True)
class Port:
    """A port that the config itself fixes."""

    number: int
    place: Place
    protocol: str = "http"


@dataclass(frozen=True)
class Volume:
    """A folder that must outlive releases. `path` is where the program expects it."""

    name: str
    path: str


@dataclass(frozen=True)
class Dependency:
    """Another agent of the fleet, by name, that this one needs or can use."""

    name: str
    place: Place
    required: bool = True


@dataclass(frozen=True)
class Target:
    """Another agent, by id, that this one hands work to."""

    agent_id: str
    place: Place


@dataclass(frozen=True)
class Resources:
    """In Kubernetes notation (`500m`, `1Gi`), as the config has them; the fleet's own win."""

    cpu: str | None = None
    memory: str | None = None


@dataclass(frozen=True)
class Scaling:
    """How many copies the config asks for."""

    replicas: int = 1
    autoscale: bool = False
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True)
class Health:
    """What to probe. Seconds."""

    path: str
    port: int | None = None
    initial_delay: float | None = None
    period: float | None = None


@dataclass(frozen=True)
class Spec:
    """One agent as its config describes it, ready to be planned.

    `files` maps names on the host to what stands there: the user's own bytes except resolved placeholders and overrides.
    `config_name` is the one that the runtime is pointed at. `identity` is the path of the key that holds the agent's id,
    empty where the format has none: instances get their own ids through it.
    """

    format: str
    agent_id: str
    place: Place
    config_name: str
    files: Mapping[str, ConfigFile] = field(repr=False)
    description: str = ""
    identity: Path = ()
    version: str | None = None
    runtime: str | None = None
    mqtt: Mqtt | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretReference, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    targets: tuple[Target, ...] = ()
    resources: Resources | None = None
    scaling: Scaling | None = None
    health: Health | None = None
