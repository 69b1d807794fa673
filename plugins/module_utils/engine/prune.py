# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 7, prune: keep the current release and the last few proven good; drop the rest, and runtimes none of them needs."""

from __future__ import annotations

from collections.abc import Iterable

from .compare import current_release
from .files import read_link, remove
from .layout import KINDS, Layout
from .request import KEEP
from .state import State


def prune(layout: Layout, state: State, keys: Iterable[str], keep_proven: int = KEEP) -> None:
    """Remove what a rollback would never go back to. The current and the newest proven release always stay."""
    for key in keys:
        keep = {current_release(layout, key), state.release(key), *state.proven(key)[-keep_proven:]}
        directory = layout.releases(key)
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.name not in keep:
                remove(path)
        if directory.is_dir() and not any(directory.iterdir()):
            remove(layout.workload(key))
        if key in state.workloads:
            state.workloads[key]["proven"] = [release for release in state.proven(key) if release in keep]
    _prune_runtimes(layout)


def _prune_runtimes(layout: Layout) -> None:
    needed = {
        (read_link(link) or "").rsplit("/", 1)[-1]
        for directory in KINDS.values()
        for link in layout.lib.glob(f"{directory}/*/releases/*/runtime")
    }
    for path in layout.runtimes.iterdir() if layout.runtimes.is_dir() else ():
        if path.name not in needed:
            remove(path)
