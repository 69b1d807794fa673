# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is there space, and are there inodes, for what is about to be written? Asked before the first byte is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import NoRoom


@dataclass(frozen=True)
class Need:
    """So many bytes and inodes are going to be written to a directory, which need not be there yet."""

    directory: Path
    bytes: int
    inodes: int


def require_room(needs: Iterable[Need]) -> None:
    """Raises NoRoom unless every file system has twice what all its directories together need."""
    totals: dict[int, tuple[Path, int, int]] = {}
    for need in needs:
        directory = _existing(need.directory)
        device = os.stat(directory).st_dev
        first, size, inodes = totals.get(device, (need.directory, 0, 0))
        # A file takes whole blocks.
        totals[device] = (first, size + need.bytes + 4096 * need.inodes, inodes + need.inodes)
    for directory, size, inodes in totals.values():
        found = os.statvfs(_existing(directory))
        if found.f_bavail * found.f_frsize < 2 * size:
            free = found.f_bavail * found.f_frsize
            raise NoRoom(f"{directory}: {free} bytes free, {2 * size} needed; nothing was changed")
        if found.f_files and found.f_favail < 2 * inodes:
            raise NoRoom(
                f"{directory}: {found.f_favail} inodes free, {2 * inodes} needed; nothing was changed"
            )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
