# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands of the user's around a release: read from the fleet, and run here where they belong to the controller.

Those that belong to the host are part of the release, and the engine runs them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import POST_RELEASE, PRE_RELEASE
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    Diagnostic,
    did_you_mean,
    fleet_error,
)

HOST, CONTROLLER = "host", "controller"
_KEYS = ("where", "run", "timeout")
_LAST_LINES = 12


@dataclass(frozen=True)
class Hook:
    """`where` host or controller; `run` is a command, word by word; `timeout` in seconds."""

    where: str
    run: tuple[str, ...]
    timeout: float


def read_hooks(raw: object, where: str, problems: list[Diagnostic], agent: str) -> dict[str, Hook]:
    """By moment. Every mistake is added to `problems`."""
    if not isinstance(raw or {}, Mapping):
        problems.append(fleet_error("MA403", where, "must be a mapping", agent=agent))
        return {}
    found = {}
    for moment, entry in dict(raw or {}).items():  # type: ignore[call-overload]
        place = f"{where}.{moment}"
        if moment not in (PRE_RELEASE, POST_RELEASE):
            hint = did_you_mean(str(moment), (PRE_RELEASE, POST_RELEASE))
            message = f"unknown; known are {PRE_RELEASE} and {POST_RELEASE}"
            problems.append(fleet_error("MA402", place, message, hint, agent=agent))
        elif complaint := _complaint(entry):
            problems.append(fleet_error("MA403", place, complaint, agent=agent))
        else:
            found[moment] = Hook(
                entry.get("where", HOST), tuple(map(str, entry["run"])), float(entry.get("timeout", 60))
            )
    return found


def _complaint(entry: object) -> str | None:
    if not isinstance(entry, Mapping) or set(entry) - set(_KEYS):
        return "must be a mapping such as {run: [/usr/local/bin/drain], where: host, timeout: 60}"
    run, timeout = entry.get("run"), entry.get("timeout", 60)
    if (
        not isinstance(run, (list, tuple))
        or not run
        or not all(isinstance(word, (str, int, float)) for word in run)
    ):
        return "run must be a list of words such as [/usr/local/bin/drain, --now]; no shell reads it"
    if entry.get("where", HOST) not in (HOST, CONTROLLER):
        return f"where must be {HOST} or {CONTROLLER}"
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 1 <= timeout <= 3600:
        return "timeout must be a number of seconds from 1 to 3600"
    return None


def run_here(command: Sequence[str], timeout: float, about: Mapping[str, str]) -> str:
    """Run a controller's hook to its end; "" when it succeeded, else what went wrong, with its last lines.

    `about` (MUSTER_AGENT and the like) is added to this process's environment. At the timeout all of its processes are killed.
    """
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **about},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        said, _errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"{command[0]} did not end within {timeout:g} s"
    if process.returncode == 0:
        return ""
    lines = "".join(f"\n    | {line}" for line in said.splitlines()[-_LAST_LINES:])
    return f"{command[0]} ended with status {process.returncode}{lines}"
