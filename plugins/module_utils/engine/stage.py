# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 2, stage: write everything that the release needs beside what runs. Nothing that runs is touched."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from . import manifest, secret_files, secret_installs
from .compare import Runtimes
from .errors import EngineError
from .files import fsync_directory, leftovers, make_directory, remove, sha256_file, write
from .layout import Layout
from .manifest import Manifest
from .request import Wanted
from .room import Need, require_room

# A unit of work never needs more than this many files: release files, link, manifest, installs, secrets.
_INODES_EACH = 12


def missing_runtimes(layout: Layout, manifests: Iterable[Manifest]) -> dict[str, str]:
    """digest → runtime name, for the runtimes that this machine needs and has not got unaltered."""
    runtimes = Runtimes(layout)
    missing: dict[str, str] = {}
    for item in manifests:
        digest = item.digest(platform.machine())
        if digest and item.runtime and runtimes.fault(digest):
            missing[digest] = str(item.runtime["name"])
    return missing


def missing_packages(layout: Layout, manifests: Iterable[Manifest]) -> list[str]:
    """Debian packages whose telltale file is not on the host."""
    return sorted(
        {
            package
            for item in manifests
            for path, package in item.requires.items()
            if not layout.on_host(path).exists()
        }
    )


def make_room(layout: Layout, wanted: Iterable[Wanted], runtime_files: Mapping[str, str]) -> None:
    """Raises NoRoom unless there is space for twice the bytes and inodes about to be written.

    What the switch is going to need is asked for here too: better to be refused before anything is staged.
    """
    items = list(wanted)
    staged = sum(len(text.encode()) for item in items for text in item.texts.values())
    installed = [
        (install.path, len(item.texts[install.file].encode()))
        for item in items
        for install in item.manifest.installs
    ]
    require_room(
        [
            Need(layout.lib, staged + 65536, _INODES_EACH * len(items) + 16),
            *(secret_files.need(layout, item.manifest, item.secrets_text) for item in items),
            *(
                need
                for item in items
                for need in secret_installs.needs(layout, item.manifest, item.secrets_text)
            ),
            Need(layout.runtimes, sum(os.path.getsize(path) for path in runtime_files.values()), 4),
            *(Need(layout.on_host(path).parent, 2 * size, 2) for path, size in installed),
        ]
    )


def stage_runtimes(layout: Layout, runtime_files: Mapping[str, str]) -> list[str]:
    """Move pushed runtime files to their content address, once their digest is proven. Returns the digests."""
    for digest, source in runtime_files.items():
        target = layout.runtime(digest)
        make_directory(layout.runtimes, 0o755)
        for path in leftovers(layout.runtimes):
            remove(path)
        found = sha256_file(Path(source))
        if found != digest:
            raise EngineError(f"runtime refused: its SHA-256 is {found}, not {digest}; nothing was installed")
        if sha256_file(target / "program") == digest:
            continue  # another deploy brought it meanwhile
        with _made_beside(target, 0o755) as beside:
            shutil.copyfile(source, beside / "program")
            (beside / "program").chmod(0o755)
            _sync(beside / "program")
    return list(runtime_files)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def stage_release(layout: Layout, wanted: Wanted) -> bool:
    """Write one release directory where it is not there, or not whole; True where the release is still to be checked."""
    document = wanted.manifest
    target = layout.release(document.key, document.release)
    if not manifest.altered(target, document):
        return os.path.lexists(target / manifest.UNCHECKED)
    make_directory(target.parent, 0o711)
    for path in leftovers(target.parent):
        remove(path)
    with _made_beside(target, 0o711) as beside:
        (beside / manifest.UNCHECKED).touch(0o600)
        for name, text in wanted.texts.items():
            write(beside / name, text.encode(), 0o600)
        digest = document.digest(platform.machine())
        if digest:
            (beside / "runtime").symlink_to(layout.runtime(digest))
        write(beside / manifest.ID_FILE, f"MUSTER_RELEASE={document.release}\n".encode(), 0o600)
        write(beside / manifest.FILE_NAME, manifest.canonical(document.raw), 0o600)
    return True


def passed(layout: Layout, document: Manifest) -> None:
    """The release needs no further check."""
    with contextlib.suppress(OSError):  # then it is checked once more
        remove(layout.release(document.key, document.release) / manifest.UNCHECKED)


@contextlib.contextmanager
def _made_beside(target: Path, mode: int) -> Iterator[Path]:
    """A directory to be filled, which takes the place of `target` once it is whole. Where filling it fails, it goes."""
    beside, aside = (target.with_name(f".{target.name}.{word}") for word in ("new", "damaged"))
    try:
        beside.mkdir()
        beside.chmod(mode)
        yield beside
        fsync_directory(beside)
        if target.exists():  # damaged, for what is whole is not staged again
            os.rename(target, aside)
        os.rename(beside, target)
        remove(aside)
    except BaseException:
        remove(beside)
        raise
    fsync_directory(target.parent)
