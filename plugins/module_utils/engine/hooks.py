# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user's own commands: in a process group that ends with them, for a bounded time. Those around a release run as root."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from .compare import Change

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINES, _BYTES = 12, 16384  # of its output, the last
_LINGER = 1.0  # seconds for output that is still on its way once the process has ended


@dataclass
class Done:
    """How a hook ended: `reason` is "" when it succeeded."""

    reason: str = ""
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(change: Change, moment: str, result: str = "") -> Done:
    """Run one hook of the release that is on its way in, to its end or its timeout."""
    hook = change.manifest.hooks[moment]
    return execute(f"{moment} hook", hook.run, environment(change, moment, result), hook.timeout)


def execute(
    name: str,
    words: Sequence[str],
    variables: Mapping[str, str],
    timeout: float,
    user: str | None = None,
    told: bytes | None = None,
) -> Done:
    """Run a command to its end or its timeout (seconds), as `user`, else as root, with `told` on its standard input."""
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            words,
            env=variables,
            cwd="/",
            stdin=subprocess.DEVNULL if told is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **_as(user),
        )
    except (OSError, ValueError) as error:
        return Done(f"{name}: {words[0]}: {getattr(error, 'strerror', None) or error}")
    tail = _Tail(process)
    if process.stdin is not None and told is not None:
        # It need not read what it is told; a pipe has room for that, so nobody waits.
        with contextlib.suppress(OSError), process.stdin as stream:
            stream.write(told)
    try:
        process.wait(timeout)
        reason = _ending(name, process.returncode)
    except subprocess.TimeoutExpired:
        reason = f"{name}: not done within {timeout:g} s; it was killed"
    # All that it started goes with it, also what it left in the background.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return Done(reason, tail.lines() if reason else [], time.monotonic() - began)


def _as(user: str | None) -> dict[str, Any]:
    """Raises ValueError where there is no such user."""
    if user is None:
        return {}
    try:
        known = pwd.getpwnam(user)
    except KeyError:
        raise ValueError(f"there is no user {user!r} on this host") from None
    return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": os.getgrouplist(user, known.pw_gid)}


def environment(change: Change, moment: str, result: str = "") -> dict[str, str]:
    """All that a hook is told; no secret and nothing of the engine's own environment is among it."""
    told = {
        **plain_environment("/root"),
        "MUSTER_AGENT": change.name,
        "MUSTER_AGENT_ID": change.manifest.gate.agent_id or "",
        "MUSTER_RELEASE": change.after,
        "MUSTER_RELEASE_BEFORE": change.before or "",
        "MUSTER_HOOK": moment,
    }
    return {**told, "MUSTER_RESULT": result} if result else told


def plain_environment(home: str) -> dict[str, str]:
    return {"PATH": _PATH, "HOME": home, "LANG": "C.UTF-8"}


def _ending(name: str, status: int) -> str:
    if status == 0:
        return ""
    if status < 0:
        return f"{name}: was killed by signal {-status}"
    return f"{name}: exited with status {status}"


class _Tail:
    """Reads a process's output as it comes and keeps its end, so that neither a full pipe nor a flood of words matters."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._kept = b""
        self._thread = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError), stream:
            while block := os.read(stream.fileno(), _BYTES):
                self._kept = (self._kept + block)[-_BYTES:]

    def lines(self) -> list[str]:
        self._thread.join(_LINGER)
        found = self._kept.decode("utf-8", "replace").splitlines()
        return [line for line in found if line.strip()][-_LINES:]
