# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user's own commands around a release: as root, in a process group that ends with them, for a bounded time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import IO

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
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            hook.run,
            env=environment(change, moment, result),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Done(f"{moment} hook: {hook.run[0]}: {getattr(error, 'strerror', None) or error}")
    tail = _Tail(process)
    try:
        process.wait(hook.timeout)
        reason = _ending(moment, process.returncode)
    except subprocess.TimeoutExpired:
        reason = f"{moment} hook: not done within {hook.timeout:g} s; it was killed"
    # All that it started goes with it, also what it left in the background.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return Done(reason, tail.lines() if reason else [], time.monotonic() - began)


def environment(change: Change, moment: str, result: str = "") -> dict[str, str]:
    """All that a hook is told; no secret and nothing of the engine's own environment is among it."""
    told = {
        "PATH": _PATH,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "MUSTER_AGENT": change.name,
        "MUSTER_AGENT_ID": change.manifest.gate.agent_id or "",
        "MUSTER_RELEASE": change.after,
        "MUSTER_RELEASE_BEFORE": change.before or "",
        "MUSTER_HOOK": moment,
    }
    return {**told, "MUSTER_RESULT": result} if result else told


def _ending(moment: str, status: int) -> str:
    if status == 0:
        return ""
    if status < 0:
        return f"{moment} hook: was killed by signal {-status}"
    return f"{moment} hook: exited with status {status}"


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
