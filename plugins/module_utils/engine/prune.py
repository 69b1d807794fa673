# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 7, prune: keep the current release and the last few proven good; drop the rest, and runtimes none of them needs."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterable
from pathlib import Path

from . import manifest, releases
from .compare import current_release
from .errors import EngineError
from .files import read_link, remove
from .layout import KINDS, Layout
from .request import KEEP
from .state import State


def prune(layout: Layout, state: State, keys: Iterable[str], keep_proven: int = KEEP) -> None:
    """Remove what a rollback would never go back to. Call with the lock held.

    `keys` are the workloads whose switch is over. What another deploy has staged for the others, and not switched to yet,
    stays with its runtimes: a release directory holds on to its runtime from the moment at which it is staged.
    """
    for key in keys:
        keep = _kept(layout, state, key, keep_proven)
        directory = layout.releases(key)
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.name not in keep:
                remove(path)
        if directory.is_dir() and not any(directory.iterdir()):
            remove(layout.workload(key))
        if key in state.workloads:
            state.workloads[key]["proven"] = [release for release in state.proven(key) if release in keep]
    _prune_runtimes(layout)


def _kept(layout: Layout, state: State, key: str, keep_proven: int) -> set[str | None]:
    """The current one and the way back from it, whatever `keep_proven` says, and what an open transaction names."""
    transaction = state.transaction or {}
    return {
        current_release(layout, key),
        state.release(key),
        releases.previous(layout, state, key),
        *releases.proven(layout, state, key)[-max(1, keep_proven) :],
        *(transaction.get(part, {}).get(key) for part in ("before", "after")),
    }


def _prune_runtimes(layout: Layout) -> None:
    needed = {
        _runtime(layout, f"{directory}/{path.parent.parent.name}", path)
        for directory in KINDS.values()
        for path in layout.lib.glob(f"{directory}/*/releases/*")
    }
    for path in layout.runtimes.iterdir() if layout.runtimes.is_dir() else ():
        if path.name not in needed:
            remove(path)


def _runtime(layout: Layout, key: str, release: Path) -> str | None:
    """The digest of the runtime that a release needs, also where somebody removed its link."""
    target = read_link(release / "runtime")
    if target is not None:
        return target.rpartition("/")[2]
    with contextlib.suppress(EngineError):  # damaged, or a leftover: nothing can run it
        return manifest.read(layout, key, release.name).digest(platform.machine())
    return None
