# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Task ids that were answered, so that a redelivered task is not answered twice (RFC section 7.5)."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from pathlib import Path

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class SeenTasks:
    """The last `limit` ids, kept in a file when there is a directory: a crash after the answer is remembered.

    The file gets one line per id and is rewritten once it holds twice the limit. A line torn by a power loss is
    no UUID and is skipped.
    """

    def __init__(self, directory: Path | None = None, limit: int = 10_000) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._path = directory / "answered-tasks" if directory is not None else None
        self._lines = 0
        if self._path is not None and self._path.exists():
            known = self._path.read_text(encoding="ascii", errors="replace").split()
            for task_id in known:
                if _UUID.fullmatch(task_id):
                    self._remember(task_id)
            self._lines = len(known)
            self._rewrite()

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, task_id: str) -> None:
        """Remembers an id. Raises OSError when it could only be kept in memory."""
        self._remember(task_id)
        if self._path is None:
            return
        if self._lines >= 2 * self._limit:
            self._rewrite()
            return
        with self._path.open("a", encoding="ascii") as file:
            file.write(task_id + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._lines += 1

    def _remember(self, task_id: str) -> None:
        self._ids[task_id] = None
        self._ids.move_to_end(task_id)
        while len(self._ids) > self._limit:
            self._ids.popitem(last=False)

    def _rewrite(self) -> None:
        assert self._path is not None
        beside = self._path.with_suffix(".new")
        with beside.open("w", encoding="ascii") as file:
            file.writelines(task_id + "\n" for task_id in self._ids)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)
        self._lines = len(self._ids)
