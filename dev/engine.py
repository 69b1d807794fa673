# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Docker engine: the one that answers, else one that this clone starts, and later stops by its own process id."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from dev import ROOT, packages
from dev.shell import Failure, Result, attempt

STATE = ROOT / ".engine"
PIDFILE = STATE / "dockerd.pid"
LOG = STATE / "dockerd.log"


def answers() -> bool:
    """True when a Docker engine answers this user."""
    return _ask().code == 0


def _ask() -> Result:
    return attempt(["docker", "version"], timeout=20)


def needed_packages() -> list[str]:
    """The Debian packages that ``start`` would install."""
    return [] if answers() else packages.missing("docker", "dockerd")


def start() -> str:
    """Make sure that an engine answers; return one line that says which.

    Raises Failure where none runs and this user may not start one.
    """
    if answers():
        return "started by this clone" if our_pid() else "already running"
    if not packages.can_install():
        raise Failure(
            f"Docker does not answer this user ({_ask().reason}). Install or start it, then run this again."
        )
    packages.install(needed_packages())
    # On a machine with systemd Debian's package has just started its own service.
    if answers():
        return "Debian's service"
    _launch()
    return "started by this clone"


def _launch() -> None:
    STATE.mkdir(exist_ok=True)
    command = ["dockerd", "--data-root", str(STATE / "data"), "--pidfile", str(PIDFILE)]
    with LOG.open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    deadline = time.monotonic() + 60
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            last = LOG.read_text().strip().splitlines()[-1:]
            raise Failure(f"dockerd did not come up ({LOG.relative_to(ROOT)}): {''.join(last)}")
        time.sleep(0.3)


def our_pid() -> int | None:
    """The process id of the engine that this clone started, if it still runs."""
    try:
        pid = int(PIDFILE.read_text())
        # A process id can be reused: only a process that carries our pidfile is ours.
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(PIDFILE).encode() in command.split(b"\0") else None


def stop() -> bool:
    """Stop the engine that this clone started, unless a container still runs on it; True when it was stopped."""
    pid = our_pid()
    if pid is None or attempt(["docker", "ps", "--quiet"], timeout=20).out.strip():
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while our_pid() is not None:
        if time.monotonic() > deadline:
            raise Failure(f"dockerd (process {pid}) does not end; its log is {LOG.relative_to(ROOT)}")
        time.sleep(0.2)
    return True


def remove() -> None:
    """Delete the stopped engine's images and logs."""
    if our_pid() is None:
        shutil.rmtree(STATE, ignore_errors=True)
