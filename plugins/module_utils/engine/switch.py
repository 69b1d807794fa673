# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 4, switch: make a staged release the current one on disk. Restarting comes with the gate.

Every path that differs between two releases is prepared first: what is to be there lies beside it as `new`, what was
there as `old`. So the switch and its undoing only rename, which takes neither space nor inodes, and either can be
repeated from wherever a crash left it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import manifest, secret_files, secret_installs, systemd
from .errors import EngineError
from .files import Entry, File, Link, beside, fsync_directory, make_directory, remove
from .layout import Layout
from .manifest import CREDENTIALS, Manifest

_NEW, _OLD = "new", "old"


@dataclass(frozen=True)
class Swap:
    """One path on its way from one release to another; `new` and `old`: whether something is to be, and was, there."""

    path: Path
    new: bool
    old: bool

    def as_dict(self) -> dict[str, Any]:
        return {"path": str(self.path), "new": self.new, "old": self.old}


def from_dict(raw: Mapping[str, Any]) -> Swap:
    """Raises EngineError where it is not what `as_dict` made."""
    try:
        path = Path(raw["path"])
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{path} is not an absolute path")
        return Swap(path, bool(raw["new"]), bool(raw["old"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineError(f"the transaction is not readable: {type(error).__name__} {error}") from None


def prepare(
    layout: Layout,
    key: str,
    release: str,
    before: str | None,
    secrets_text: str | None,
) -> list[Swap]:
    """Put beside everything that the switch to `release` and the way back to `before` need.

    Raises EngineError with the file and the reason, with nothing left behind, where the release is not whole on disk or
    a file cannot be written.
    """
    document = whole(layout, key, release)
    there: dict[Path, Entry | None] = {
        **_entries(layout, document),
        **secret_files.entries(layout, document, secrets_text),
        **secret_installs.entries(layout, document, secrets_text),
    }
    back = _entries_before(layout, key, before)
    swaps: list[Swap] = []
    path = layout.secrets
    try:
        _make_secrets_directories(layout, document)
        for path in sorted({*there, *back}):
            swap = _prepare_one(path, there.get(path), back.get(path))
            if swap is not None:
                swaps.append(swap)
        for directory in {swap.path.parent for swap in swaps}:
            fsync_directory(directory)
    except (OSError, LookupError) as error:
        forget(swaps)
        forget([Swap(path, True, True)])
        raise EngineError(f"{path}: cannot be prepared: {_words(error)}; nothing was changed") from None
    return swaps


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).strip("'\"")


def _make_secrets_directories(layout: Layout, document: Manifest) -> None:
    make_directory(layout.secrets.parent)
    make_directory(layout.secrets, 0o700)
    if document.secrets_backend == CREDENTIALS:
        make_directory(layout.credentials(document.key), 0o700)


def _entries(layout: Layout, document: Manifest) -> dict[Path, Entry | None]:
    """Everything that a release has outside of its own directory, but for its secrets."""
    key = document.key
    directory = layout.release(key, document.release)
    return {
        layout.current(key): Link(f"releases/{document.release}"),
        **{
            layout.on_host(install.path): File(
                (directory / install.file).read_bytes(), install.mode, install.group
            )
            for install in document.installs
        },
    }


def _entries_before(layout: Layout, key: str, release: str | None) -> dict[Path, Entry | None]:
    """The same of the release to go back to; nothing where it is damaged, and no secrets: these go back to what is on disk."""
    if release is None:
        return {}
    try:
        document = whole(layout, key, release)
        return {**_entries(layout, document), **secret_installs.entries(layout, document, None)}
    except EngineError:
        return {}


def _prepare_one(path: Path, wanted: Entry | None, back: Entry | None) -> Swap | None:
    """None where the path is right already and stays so on the way back, which without `back` leads to what is there now."""
    make_directory(path.parent)
    right = wanted.is_at(path) if wanted else not os.path.lexists(path)
    if right and back in (None, wanted):
        return None
    new, old = beside(path, _NEW), beside(path, _OLD)
    remove(new)
    remove(old)
    if wanted is not None:
        wanted.make(new)
    if back is not None and not back.is_at(path):
        back.make(old)
    elif os.path.lexists(path):
        os.link(path, old, follow_symlinks=False)
    return Swap(path, new=wanted is not None, old=os.path.lexists(old))


def switch(swaps: Iterable[Swap]) -> None:
    """Bring what lies beside to its place. Safe to repeat."""
    done = []
    for swap in swaps:
        done.append(swap.path.parent)
        if not swap.new:
            remove(swap.path)
            continue
        # A crash may have come between the rename and the next line of state.json.
        with contextlib.suppress(FileNotFoundError):
            os.replace(beside(swap.path, _NEW), swap.path)
    _sync(done)


def undo(swaps: Iterable[Swap]) -> list[str]:
    """Bring back what was there before. Safe to repeat. Returns what could not be brought back, path by path."""
    faults, done = [], []
    for swap in swaps:
        try:
            if swap.old:
                # Absent: an undoing that was interrupted has brought it back already.
                with contextlib.suppress(FileNotFoundError):
                    os.replace(beside(swap.path, _OLD), swap.path)
                if not os.path.lexists(swap.path):
                    faults.append(f"{swap.path}: what was there before is gone")
            else:
                remove(swap.path)
            done.append(swap.path.parent)
        except OSError as error:
            faults.append(f"{swap.path}: {error.strerror}")
    _sync(done)
    return faults


def _sync(directories: Iterable[Path]) -> None:
    for directory in dict.fromkeys(directories):
        with contextlib.suppress(FileNotFoundError):
            fsync_directory(directory)


def forget(swaps: Iterable[Swap]) -> None:
    """Remove what lies beside. Only once state.json says that the transaction is over: a recovery needs it until then."""
    for swap in swaps:
        for word in (_NEW, _OLD):
            with contextlib.suppress(OSError):  # the next run sweeps what stays
                remove(beside(swap.path, word))


def whole(layout: Layout, key: str, release: str) -> Manifest:
    """The manifest of a release that is on disk byte for byte. Raises EngineError where it is not."""
    document = manifest.read(layout, key, release)
    directory = layout.release(key, release)
    damaged = manifest.altered(directory, document)
    if damaged:
        raise EngineError(f"{directory}: {', '.join(damaged)} altered since it was staged")
    return document


def take_down(layout: Layout, key: str, document: Manifest) -> None:
    """Stop a workload and take its unit, installs and secrets off the host. Its releases stay."""
    stop(document.unit)
    for install in document.all_installs:
        remove(layout.on_host(install.path))
    secret_files.forget(layout, key)
    remove(layout.current(key))


def stop(unit: str) -> None:
    """Stop a unit, and keep it from starting at the next boot. Its file must still be there."""
    if systemd.show([unit])[unit].load != "not-found":
        systemd.stop(unit)
        systemd.run("systemctl", "--no-reload", "disable", "--", unit)


def register(units: Iterable[str], masked: Iterable[str] = ()) -> dict[str, str]:
    """Tell systemd about all new and changed units at once; unit → complaint for those it will not have."""
    names = list(units)
    if not names:
        return {}
    systemd.unmask(masked)
    complaints = systemd.enable(names)
    systemd.daemon_reload()
    return complaints
