# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Structured logs on stdout: one JSON object per line, or readable text with LOG_FORMAT=pretty."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger, Processor

_HIDDEN: set[str] = set()


def configure(level: str, log_format: str, agent_id: str, release: str) -> None:
    """Sets the process-wide log up; every line carries the agent's id, its release where there is one, and what `bind`
    added in its context.
    """
    structlog.contextvars.bind_contextvars(agent_id=agent_id, **({"release": release} if release else {}))
    render: list[Processor] = (
        [structlog.processors.JSONRenderer(ensure_ascii=False)]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=False)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )


def get() -> FilteringBoundLogger:
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def bind(**values: str) -> Any:
    """Context manager: adds values such as task_id to every line of the current task."""
    return structlog.contextvars.bound_contextvars(**values)


def hide(values: Iterable[str]) -> None:
    """Makes sure that these secrets never reach a line, whatever text an error brings along."""
    # Shorter values would mask ordinary words and give the secret away by what is missing.
    _HIDDEN.update(value for value in values if len(value) >= 6)


def _mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            for secret in _HIDDEN:
                event[key] = event[key].replace(secret, "***")
    return event
