# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 1, lock: one deploy a host at a time.

The lock is the kernel's (`flock`), so it ends with its process and cannot go stale; the file's text only says whose it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import Busy
from .files import make_directory
from .layout import Layout

HEALTH = "health"  # who has the lock for the moment of restarting an agent, see `health_round.py`
_MOMENT = 5.0


@contextlib.contextmanager
def locked(layout: Layout, who: Mapping[str, str], wait: float = 0.0) -> Iterator[float]:
    """Hold the host's lock, trying for `wait` seconds; gives the seconds waited. Raises Busy naming the holder.

    For a health check, which has it for a moment, everybody waits: nobody's deploy ends because of one.
    """
    make_directory(layout.lib, 0o711)
    handle = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    began = time.monotonic()
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                owner = _owner(os.pread(handle, 4096, 0))
                if time.monotonic() >= began + max(wait, _MOMENT if owner.get("via") == HEALTH else 0.0):
                    raise Busy(_words(owner)) from None
                time.sleep(0.1)
        owner = {**who, "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
        _sign(handle, json.dumps(owner).encode())
        yield time.monotonic() - began
    finally:
        os.close(handle)


def _sign(handle: int, text: bytes) -> None:
    """Say whose the lock is. It is held without that too, so a full disk is no obstacle."""
    try:
        os.ftruncate(handle, os.pwrite(handle, text, 0))
    except OSError:
        os.ftruncate(handle, 0)  # nobody's name is better than the last one's


def _owner(text: bytes) -> dict[str, Any]:
    try:
        owner = json.loads(text)
    except ValueError:
        owner = None
    return owner if isinstance(owner, dict) else {}


def _words(owner: Mapping[str, Any]) -> str:
    user, host = owner.get("user", "somebody"), owner.get("host", "an unknown host")
    return f"busy: held by {user} from {host} (pid {owner.get('pid', '?')}), since {owner.get('since', 'just now')}"
