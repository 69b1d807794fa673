# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How agents are looked after once they run, as a person wrote it: `fleet_health`, `fleet_notify` and an agent's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine.health import PARTS, Health
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import Notify
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    Diagnostic,
    did_you_mean,
    fleet_error,
)

# (least, most) of each number: seconds, but for the last three, which are whole numbers.
_TIMES = {"delay": (0, 3600), "period": (1, 3600), "timeout": (0.1, 60), "wait": (1, 3600)}
_COUNTS = {"threshold": (1, 100), "heartbeats": (1, 100), "most": (0, 60)}
_NOTIFY = {"run": None, "timeout": 30.0, "user": "nobody"}
_EXAMPLE = "must be a mapping such as {run: [/usr/local/bin/tell], timeout: 30, user: nobody}"


def read_health(
    raw: object, where: str, problems: list[Diagnostic], default: Health | None = None, agent: str = ""
) -> Health:
    """What is left out is as in `default`, key by key. Every mistake is added to `problems`."""
    found = default or Health()
    if raw is None:
        return found
    if not isinstance(raw, Mapping):
        message = "must be a mapping such as {readiness: {period: 10}, restart: {most: 4}}"
        problems.append(fleet_error("MA403", where, message, agent=agent))
        return found
    for name, part in raw.items():
        place = f"{where}.{name}"
        if name not in PARTS:
            problems.append(_unknown(place, str(name), PARTS, agent))
        elif not isinstance(part, Mapping):
            example = ", ".join(
                f"{one.name}: {getattr(getattr(found, name), one.name):g}" for one in fields(PARTS[name])
            )
            problems.append(
                fleet_error("MA403", place, f"must be a mapping such as {{{example}}}", agent=agent)
            )
        else:
            numbers = _numbers(part, place, problems, [one.name for one in fields(PARTS[name])], agent)
            found = replace(found, **{name: replace(getattr(found, name), **numbers)})
    return found


def _numbers(
    part: Mapping[Any, Any], where: str, problems: list[Diagnostic], known: list[str], agent: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in part.items():
        place = f"{where}.{key}"
        if key not in known:
            problems.append(_unknown(place, str(key), known, agent))
            continue
        whole = key in _COUNTS
        least, most = _COUNTS[key] if whole else _TIMES[key]
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or not least <= value <= most:
            kind = "a whole number" if whole else "a number of seconds"
            message = f"must be {kind} from {least:g} to {most:g}"
            problems.append(fleet_error("MA403", place, message, agent=agent))
        else:
            found[key] = int(value) if whole else float(value)
    return found


def _unknown(where: str, key: str, known: Any, agent: str) -> Diagnostic:
    return fleet_error(
        "MA402", where, f"unknown; known are {', '.join(known)}", did_you_mean(key, known), agent=agent
    )


def read_notify(raw: object, where: str, problems: list[Diagnostic], agent: str = "") -> Notify | None:
    """The command to be told; None where there is none. Every mistake is added to `problems`."""
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        problems.append(fleet_error("MA403", where, _EXAMPLE, agent=agent))
        return None
    unknown = [_unknown(f"{where}.{key}", str(key), _NOTIFY, agent) for key in raw if key not in _NOTIFY]
    values = {**_NOTIFY, **raw}
    complaint = _complaint(values)
    if complaint:
        problems.append(fleet_error("MA403", f"{where}.{complaint[0]}", complaint[1], agent=agent))
    problems += unknown
    if complaint or unknown:
        return None
    return Notify(tuple(map(str, values["run"])), float(values["timeout"]), values["user"])


def _complaint(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The key and what is wrong with it."""
    run, timeout, user = values["run"], values["timeout"], values["user"]
    words = isinstance(run, (list, tuple)) and all(isinstance(word, (str, int, float)) for word in run)
    if not words or not run:
        return "run", "must be a list of words such as [/usr/local/bin/tell, --now]; no shell reads it"
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 1 <= timeout <= 300:
        return "timeout", "must be a number of seconds from 1 to 300"
    if not isinstance(user, str) or not user:
        return "user", "must be the name of a user on the host, such as nobody"
    return None
