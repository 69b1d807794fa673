# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""File operations that leave either the old bytes or the new ones, also after a power loss."""

from __future__ import annotations

import contextlib
import errno
import grp
import hashlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Union

OURS = ".muster-"  # is part of every temporary name, so that a later run knows what it may remove
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class File:
    """What is to be at a path: a file, with its bytes, permissions and, where it matters, its group."""

    data: bytes
    mode: int = 0o644
    group: str | None = None

    def is_at(self, path: Path) -> bool:
        return self.has_bytes(path) and self.has_mode(path)

    def has_bytes(self, path: Path) -> bool:
        """Compares contents only, of a file that is no link: a link's bytes are somebody else's to change."""
        try:
            found = path.lstat()
            return (
                stat.S_ISREG(found.st_mode)
                and found.st_size == len(self.data)
                and path.read_bytes() == self.data
            )
        except (FileNotFoundError, NotADirectoryError):
            return False

    def has_mode(self, path: Path) -> bool:
        """Permissions and group, where there is a file."""
        found = path.lstat()
        wanted_group = found.st_gid if self.group is None else grp.getgrnam(self.group).gr_gid
        return stat.S_IMODE(found.st_mode) == self.mode and found.st_gid == wanted_group

    def make(self, path: Path) -> None:
        """Write a file that is not there yet, and see it onto the disk."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as stream:
            if self.group is not None:
                os.fchown(stream.fileno(), 0, grp.getgrnam(self.group).gr_gid)
            os.fchmod(stream.fileno(), self.mode)
            stream.write(self.data)
            stream.flush()
            os.fsync(stream.fileno())


@dataclass(frozen=True)
class Link:
    """What is to be at a path: a symbolic link."""

    target: str

    def is_at(self, path: Path) -> bool:
        return read_link(path) == self.target

    def make(self, path: Path) -> None:
        path.symlink_to(self.target)


Entry = Union[File, Link]


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str | None:
    """Hex digest of a file, or None where there is no such file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return digest.hexdigest()


def read_bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def fsync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Make `path` and its missing parents; only what is newly made gets `mode`, whatever the umask."""
    if path.is_dir():
        return
    make_directory(path.parent, mode)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        path.chmod(mode)


def write(path: Path, data: bytes, mode: int = 0o644, group: str | None = None) -> None:
    """Write beside, fsync, rename. The file is never visible half written nor with a wider mode."""
    put(path, File(data, mode, group))


def link(path: Path, target: str) -> None:
    """Point the symbolic link `path` at `target` in one step."""
    put(path, Link(target))


def put(path: Path, entry: Entry) -> None:
    """Have this at `path`. Nothing is done where it is there already, so that a full disk is no obstacle then."""
    if entry.is_at(path):
        return
    temporary = beside(path, secrets.token_hex(4))
    try:
        entry.make(temporary)
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise
    fsync_directory(path.parent)


def beside(path: Path, word: str) -> Path:
    """Where something that belongs to `path` waits for a rename, on the same file system."""
    return path.with_name(f".{path.name}{OURS}{word}")


def read_link(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def remove(path: Path) -> bool:
    """Remove a file, link or tree; True where there was one."""
    if path.is_dir() and not path.is_symlink():
        _remove_tree(path)
        return True
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _remove_tree(path: Path) -> None:
    """However deep it is, which its owner chose: `shutil.rmtree` recurses and has a folder open for each level.

    Only names are opened, each in the folder above it, and no link is followed. Up again it goes by `..`, provided that this
    is still the folder that it came from. Raises OSError.
    """
    # Names, the folders they are in, what these have left.
    trail: list[tuple[str, tuple[int, int], list[str]]] = []
    handle = os.open(path, _FOLDER)
    try:
        folders = _without_files(handle)
        while folders or trail:
            if folders:
                name = folders.pop()
                handle, above = os.open(name, _FOLDER, dir_fd=handle), handle
                trail.append((name, _identity(above), folders))
                os.close(above)
                folders = _without_files(handle)
            else:
                name, identity, folders = trail.pop()
                handle, below = os.open("..", _FOLDER, dir_fd=handle), handle
                os.close(below)
                if _identity(handle) != identity:
                    raise OSError(errno.ESTALE, "a folder in it was moved while it was removed")
                os.rmdir(name, dir_fd=handle)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(handle)
    path.rmdir()


def _without_files(handle: int) -> list[str]:
    """Remove all in a folder but the folders, whose names are returned."""
    with os.scandir(handle) as found:
        entries = list(found)
    folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    kept = set(folders)
    for entry in entries:
        if entry.name not in kept:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.name, dir_fd=handle)
    return folders


def _identity(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


def leftovers(directory: Path) -> list[Path]:
    """What a killed run left in a directory that is the engine's own: temporary files and trees."""
    return list(directory.glob(".*.*")) if directory.is_dir() else []


def our_leftovers(directory: Path) -> list[Path]:
    """The same in a directory that others use too: by the engine's own naming only."""
    return list(directory.glob(f".*{OURS}*")) if directory.is_dir() else []
