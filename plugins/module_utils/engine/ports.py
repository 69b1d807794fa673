# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which process listens on a port. An agent must not be released onto a port that is somebody else's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .compare import Change
from .reasons import NOTHING

_LISTEN = "0A"


def conflicts(changes: Iterable[Change]) -> dict[str, str]:
    """name → what stands in the way, for workloads whose port a process outside their own unit listens on."""
    wanted = {change.manifest.gate.port: change for change in changes if change.action != NOTHING}
    inodes = {inode: port for port, inode in _listeners() if port in wanted} if wanted else {}
    found: dict[str, str] = {}
    for pid, inode in _sockets(set(inodes)):
        change = wanted[inodes[inode]]
        if not _belongs(pid, change.unit):
            port = change.manifest.gate.port
            found[change.name] = (
                f"port {port} is in use by {_command(pid)} (pid {pid}); stop it, or give the agent another `port`"
            )
    return found


def _listeners() -> Iterator[tuple[int, str]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    yield int(fields[1].rsplit(":", 1)[1], 16), fields[9]


def _sockets(inodes: set[str]) -> Iterator[tuple[int, str]]:
    if not inodes:
        return
    names = {f"socket:[{inode}]": inode for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = os.readlink(descriptor)
                    if target in names:
                        yield int(process.name), names[target]


def _belongs(pid: int, unit: str) -> bool:
    with contextlib.suppress(OSError):
        return any(
            line.rstrip().endswith(f"/{unit}")
            for line in Path(f"/proc/{pid}/cgroup").read_text("utf-8").splitlines()
        )
    return True  # it ended while we looked


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    return "a process that just ended"
