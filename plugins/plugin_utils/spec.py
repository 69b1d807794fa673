# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one normalised form that every source format is read into."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SecretReference:
    """A secret that a config names, never its value: the variable, and where it is named."""

    variable: str
    field: str
    where: str  # file:line


@dataclass(frozen=True)
class Mqtt:
    """How the agent reaches its broker. The `_env` fields name variables."""

    url: str
    username_env: str | None
    password_env: str | None


@dataclass(frozen=True)
class Spec:
    """One agent as its config describes it, ready to be planned.

    `text` is the config as it will reach the host: the user's own bytes except resolved placeholders and overrides.
    """

    source: str
    agent_id: str
    description: str
    config_name: str
    text: str
    mqtt: Mqtt
    secrets: tuple[SecretReference, ...]
