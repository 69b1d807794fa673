# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 2, stage: write everything that the release needs beside what runs. Nothing that runs is touched."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import manifest
from .errors import EngineError, NoRoom
from .files import fsync_directory, leftovers, make_directory, remove, sha256_file, write
from .layout import Layout
from .manifest import Manifest
from .request import Wanted

# A unit of work never needs more than this many files: release files, link, manifest, installs, secrets.
_INODES_EACH = 12


def missing_runtimes(layout: Layout, manifests: Iterable[Manifest]) -> dict[str, str]:
    """digest → runtime name, for the runtimes that this machine needs and has not got."""
    missing: dict[str, str] = {}
    for item in manifests:
        digest = item.digest(platform.machine())
        if digest and item.runtime and not (layout.runtime(digest) / "program").is_file():
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
    """Raises NoRoom unless there is space for twice the bytes and inodes about to be written."""
    items = list(wanted)
    bytes_needed = sum(len(text.encode()) + 8192 for item in items for text in item.texts.values())
    runtime_bytes = sum(os.path.getsize(path) for path in runtime_files.values())
    inodes = _INODES_EACH * len(items) + 16
    for directory, amount in (
        (layout.lib, bytes_needed),
        (layout.secrets, 65536),
        (layout.runtimes, runtime_bytes),
    ):
        stat = os.statvfs(_existing(directory))
        if stat.f_bavail * stat.f_frsize < 2 * amount:
            raise NoRoom(f"{directory}: {stat.f_bavail * stat.f_frsize} bytes free, {2 * amount} needed")
        if stat.f_files and stat.f_favail < 2 * inodes:
            raise NoRoom(f"{directory}: {stat.f_favail} inodes free, {2 * inodes} needed")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


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
        beside = layout.runtimes / f".{digest}.{os.getpid()}"
        beside.mkdir()
        beside.chmod(0o755)
        shutil.copyfile(source, beside / "program")
        (beside / "program").chmod(0o755)
        _sync(beside / "program")
        remove(target)
        os.rename(beside, target)
        fsync_directory(layout.runtimes)
    return list(runtime_files)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def stage_release(layout: Layout, wanted: Wanted) -> bool:
    """Write one release directory; True where it was not there, or not whole, before."""
    document = wanted.manifest
    target = layout.release(document.key, document.release)
    if not manifest.altered(target, document):
        return False
    make_directory(target.parent, 0o711)
    for path in leftovers(target.parent):
        remove(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.mkdir()
    beside.chmod(0o711)
    for name, text in wanted.texts.items():
        write(beside / name, text.encode(), 0o600)
    digest = document.digest(platform.machine())
    if digest:
        (beside / "runtime").symlink_to(layout.runtime(digest))
    write(beside / manifest.FILE_NAME, manifest.canonical(document.raw), 0o600)
    remove(target)
    os.rename(beside, target)
    fsync_directory(target.parent)
    return True
