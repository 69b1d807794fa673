# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What keeps an agent stopped across deploys and reboots: a file that says why, and a drop-in that looks for it.

The file is what counts. The drop-in stands before the file is written and goes after it, so that an agent is either
held in every respect or in none, wherever a crash falls.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import make_directory, read_bytes, remove, write
from .layout import Layout

FILE_NAME = "hold.json"
DROP_IN = "50-muster-hold.conf"
_ABOUT = ("since", "user", "host", "note", "moves_to")
_TEXT = """# Made by muster: this agent is held. `muster unhold` removes this file.
[Unit]
ConditionPathExists=!{path}
"""


def note_file(layout: Layout, key: str) -> Path:
    return layout.workload(key) / FILE_NAME


def drop_in(layout: Layout, unit: str) -> Path:
    return layout.units / f"{unit}.d" / DROP_IN


def held(layout: Layout, key: str) -> dict[str, Any] | None:
    """{"since", "user", "host", "note", "moves_to"} of a held agent, None of any other.

    `moves_to`: the host where it is being brought up, "" where a person holds it. systemd asks only whether the file is
    there, so a file that cannot be read holds as well.
    """
    data = read_bytes(note_file(layout, key))
    if data is None:
        return None
    with contextlib.suppress(ValueError):
        found = json.loads(data)
        if isinstance(found, dict):
            return {name: str(found.get(name) or "") for name in _ABOUT}
    return {**dict.fromkeys(_ABOUT, ""), "note": f"{FILE_NAME} cannot be read"}


def prepare(layout: Layout, key: str, unit: str) -> None:
    """Write the drop-in. It does nothing yet: systemd must read it, and `put` must follow."""
    path = drop_in(layout, unit)
    make_directory(path.parent)
    write(path, _TEXT.format(path=note_file(layout, key)).encode())


def put(layout: Layout, key: str, about: Mapping[str, str]) -> None:
    """From here on the unit does not start."""
    write(note_file(layout, key), json.dumps(dict(about), sort_keys=True).encode() + b"\n", 0o600)


def forget(layout: Layout, key: str, unit: str) -> bool:
    """Remove the hold; True where there was one. systemd must read its units anew."""
    was_held = remove(note_file(layout, key))
    path = drop_in(layout, unit)
    was_there = remove(path)
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # stays where other people's drop-ins are
    return was_held or was_there
