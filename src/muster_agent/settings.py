# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the agent takes from its environment. Everything unparsable is an error, never a silent default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from muster_agent.config import AgentConfig
from muster_agent.errors import ConfigError

LOG_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error"}
LOG_FORMATS = ("json", "pretty")


@dataclass(frozen=True)
class Settings:
    """Process settings; times in seconds."""

    health_host: str = "127.0.0.1"
    health_port: int = 8080
    log_level: str = "info"
    log_format: str = "json"
    shutdown_grace: float = 20.0
    openai_base_url: str = "https://api.openai.com/v1"
    anthropic_base_url: str = "https://api.anthropic.com"
    serper_base_url: str = "https://google.serper.dev"
    state_directory: Path | None = None
    release: str = ""


def read(env: Mapping[str, str]) -> Settings:
    """Settings of an environment. Raises ConfigError with every variable that cannot be used."""
    problems: list[str] = []
    defaults = Settings()

    def number(name: str, default: float, low: float, high: float) -> float:
        text = env.get(name, "").strip()
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or (name == "HEALTH_PORT" and not text.isdecimal()):
            problems.append(f"environment: {name} must be a number from {low:g} to {high:g}")
            return default
        return value

    def base_url(name: str, default: str) -> str:
        url = env.get(name, "").strip() or default
        if not url.startswith(("http://", "https://")) or "@" in url:
            problems.append(
                f"environment: {name} must start with http:// or https://, and hold no credentials"
            )
        return url.rstrip("/")

    level = (env.get("LOG_LEVEL", "").strip() or defaults.log_level).lower()
    if level not in LOG_LEVELS:
        problems.append("environment: LOG_LEVEL must be one of debug, info, warn, error")
    log_format = (env.get("LOG_FORMAT", "").strip() or defaults.log_format).lower()
    if log_format not in LOG_FORMATS:
        problems.append(f"environment: LOG_FORMAT must be one of {', '.join(LOG_FORMATS)}")
    state = env.get("STATE_DIRECTORY", "").split(":")[0]
    settings = Settings(
        health_host=env.get("HEALTH_HOST", "").strip() or defaults.health_host,
        health_port=int(number("HEALTH_PORT", defaults.health_port, 1, 65535)),
        log_level=LOG_LEVELS.get(level, level),
        log_format=log_format,
        shutdown_grace=number("SHUTDOWN_GRACE_SECS", defaults.shutdown_grace, 0, 3600),
        openai_base_url=base_url("OPENAI_BASE_URL", defaults.openai_base_url),
        anthropic_base_url=base_url("ANTHROPIC_BASE_URL", defaults.anthropic_base_url),
        serper_base_url=base_url("SERPER_BASE_URL", defaults.serper_base_url),
        state_directory=Path(state) if state else None,
        release=env.get("MUSTER_RELEASE", "").strip(),
    )
    if problems:
        raise ConfigError(problems)
    return settings


def secrets(config: AgentConfig, env: Mapping[str, str]) -> dict[str, str]:
    """Values of the variables that the config names. Raises ConfigError that lists all missing ones.

    A missing name is an error for the MQTT credentials too: connecting anonymously instead would hide the mistake.
    """
    wanted = config.env_names()
    missing = [
        f"environment: {name} is not set; {where} names it"
        for where, name in wanted.items()
        if not env.get(name)
    ]
    if missing:
        raise ConfigError(missing)
    return {name: env[name] for name in wanted.values()}
