# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the broker keeps: its database of retained messages, sessions and what waits for them.

A running Mosquitto has it in memory. Asked by a signal, it writes all of it to a new file and renames that, so whoever opens
the file has one moment of it, whole.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import time
from pathlib import Path

from . import manifest, systemd
from .errors import EngineError
from .files import beside, fsync_directory, make_directory, remove
from .layout import Layout
from .state import State

KEY = "services/mosquitto"
_FOLDER, _FILE, _OWNER = "/var/lib/mosquitto", "mosquitto.db", "mosquitto"
_SAVE_SECONDS = 60.0
_POLL = 0.05
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def database(layout: Layout) -> Path:
    return layout.on_host(_FOLDER) / _FILE


def saved(layout: Layout, state: State) -> Path | None:
    """The database with all that the broker knows now; None where there is no broker, or it keeps none.

    Raises EngineError where it does not save it in time.
    """
    release = state.release(KEY)
    if release is None or not _persistent(layout, release):
        return None
    path = database(layout)
    unit = systemd.show([state.workloads[KEY]["unit"]])[state.workloads[KEY]["unit"]]
    if unit.running and unit.pid:
        before = _version(path)
        os.kill(unit.pid, signal.SIGUSR1)
        deadline = time.monotonic() + _SAVE_SECONDS
        while _version(path) == before:
            if time.monotonic() > deadline:
                raise EngineError(
                    f"the broker did not save {path} within {_SAVE_SECONDS:g} s; nothing was backed up"
                )
            time.sleep(_POLL)
    return path if path.is_file() else None  # one that was stopped has saved it


def _persistent(layout: Layout, release: str) -> bool:
    document = manifest.read(layout, KEY, release)
    folder = layout.release(KEY, release)
    return any(b"persistence true" in (folder / name).read_bytes().splitlines() for name in document.files)


def _version(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def put(layout: Layout, source: Path) -> None:
    """Have this database in the place of any other. The broker must be stopped: it writes its own when it ends."""
    path = database(layout)
    try:
        owner = pwd.getpwnam(_OWNER)
    except KeyError:
        raise EngineError(
            f"{path}: there is no user {_OWNER}; the package mosquitto is not installed"
        ) from None
    make_directory(path.parent)
    new = beside(path, "new")
    try:
        with source.open("rb") as data, open(os.open(new, _WRITE, 0o600), "wb") as stream:
            shutil.copyfileobj(data, stream, 1 << 20)
            os.fchown(stream.fileno(), owner.pw_uid, owner.pw_gid)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        remove(new)
        raise
    fsync_directory(path.parent)
