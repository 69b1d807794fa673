# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The archive that a backup is before the controller encrypts it: a compressed tar, with a list of its files at its end.

It holds files, folders, and links that stay where they are; nothing else goes in, and nothing else comes out. `tarfile` is
imported where it is needed: a deploy needs none of this.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import EngineError

if TYPE_CHECKING:
    from tarfile import TarInfo

CONTENTS = "contents.json"
_LEVEL = 1  # of zlib, the quickest: much of it (runtimes) is compressed already
_BLOCK = 1 << 20

Folder = Callable[[tuple[str, ...]], int]


class Writer:
    """Fills an archive. `root` is what names in it are relative to."""

    def __init__(self, stream: BinaryIO, root: Path) -> None:
        import gzip
        import tarfile

        self._gzip = gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=_LEVEL, mtime=0)
        self._tar = tarfile.open(  # noqa: SIM115 - `close` closes it
            fileobj=self._gzip, mode="w|", format=tarfile.PAX_FORMAT
        )
        self._root = root
        self._digests: dict[str, str] = {}
        self.changed: list[str] = []  # files that became shorter while they were read

    def add(self, path: Path) -> None:
        """A file, folder or link; what has gone meanwhile is passed over."""
        with contextlib.suppress(FileNotFoundError):
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                self._tar.addfile(self._entry(path, found))
                return
            # Not to wait for a writer, nor to follow a link, where another thing has taken the file's place.
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as stream:
                entry = self._entry(path, os.fstat(handle))
                whole = _Exactly(stream, entry.size)
                self._tar.addfile(entry, whole)
            self._digests[entry.name] = whole.digest.hexdigest()
            if whole.missing:
                self.changed.append(str(path))

    def close(self) -> None:
        import io
        import tarfile

        data = json.dumps({"files": self._digests}, sort_keys=True).encode()
        entry = tarfile.TarInfo(CONTENTS)
        entry.size, entry.mode = len(data), 0o600
        self._tar.addfile(entry, io.BytesIO(data))
        self._tar.close()
        self._gzip.close()

    def _entry(self, path: Path, found: os.stat_result) -> TarInfo:
        import tarfile

        entry = tarfile.TarInfo(str(path.relative_to(self._root)))
        entry.mode, entry.mtime = stat.S_IMODE(found.st_mode) & 0o777, int(found.st_mtime)
        if stat.S_ISDIR(found.st_mode):
            entry.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(found.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
        else:
            entry.size = found.st_size
        with contextlib.suppress(KeyError):  # whoever has no name here can have none elsewhere
            entry.uname = pwd.getpwuid(found.st_uid).pw_name
        return entry


class _Exactly:
    """As many bytes of a file as were promised: it may grow or shrink while it is read."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._left = stream, size
        self.digest = hashlib.sha256()
        self.missing = 0

    def read(self, size: int = -1) -> bytes:
        size = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(size)
        if len(data) < size:
            self.missing += size - len(data)
            data = data.ljust(size, b"\0")
        self._left -= size
        self.digest.update(data)
        return data


def walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """Everything in a folder and the folder itself, each with "" or why it cannot be in an archive; parents first."""
    yield folder, ""
    for directory, names, others in os.walk(folder):
        here = Path(directory)
        for path in (here / name for name in sorted([*names, *others])):
            with contextlib.suppress(FileNotFoundError):
                yield path, _unfit(path, folder)


def _unfit(path: Path, folder: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        inside = stays_inside(len(path.relative_to(folder).parts), os.readlink(path))
        return "" if inside else "a link that leads out"
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "neither a file nor a folder"


def stays_inside(depth: int, target: str) -> bool:
    """Whether a link `depth` names below a folder leads to a place in it, whatever other such links are on the way."""
    parts = target.split("/")
    up = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    # `..` behind a name would go up from where that name leads, which may be another link.
    return not target.startswith("/") and up < depth and ".." not in parts[up:] and "\0" not in target


def unpack(archive: Path, root: Path, folder: Folder) -> None:
    """Unpack below a new folder. All is on the disk in the end.

    Raises EngineError where the archive is not whole, or holds what none may hold: what was unpacked until then is the
    caller's to remove. `folder` tells of a name, in its parts, how many of them name the folder that its links must stay in;
    0 for one that has no place on a host.
    """
    import tarfile

    try:
        with tarfile.open(archive, "r|gz") as tar:
            _unpack(tar, root, folder)
    except (tarfile.TarError, zlib.error, EOFError, OverflowError, ValueError) as error:
        raise EngineError(f"the backup is damaged: {error}") from None


def _unpack(tar: Any, root: Path, folder: Folder) -> None:
    found: dict[str, str] = {}
    listed: Mapping[str, Any] | None = None
    late: list[
        tuple[Path, TarInfo]
    ] = []  # links: so nothing is ever written through one; and modes of folders
    for entry in tar:
        if listed is not None:
            raise EngineError("the backup is damaged: it goes on behind its end")
        if entry.name == CONTENTS and entry.isreg():
            listed = _listed(tar.extractfile(entry).read())
            continue
        depth = _depth(entry.name, folder)
        path = root / entry.name
        if entry.isreg():
            found[entry.name] = _write(tar.extractfile(entry), path, entry)
        elif entry.isdir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            late.append((path, entry))
        elif entry.issym() and stays_inside(depth, entry.linkname):
            late.append((path, entry))
        else:
            raise EngineError(
                f"the backup holds {entry.name!r}, which is no file, folder or link that stays inside"
            )
    if listed != found:
        raise EngineError("the backup is damaged: its files are not those of its list")
    _finish(late)


def _listed(data: bytes) -> Mapping[str, Any]:
    try:
        listed = json.loads(data)["files"]
    except (KeyError, TypeError, ValueError):
        listed = None
    if not isinstance(listed, dict):
        raise EngineError("the backup is damaged: it has no list of its files")
    return listed


def _depth(name: str, folder: Folder) -> int:
    """How many names below its folder an entry is. Raises EngineError for a name that may be in no backup."""
    parts = tuple(name.split("/"))
    length = 0 if {"", ".", ".."} & set(parts) or "\0" in name else folder(parts)
    if not length:
        raise EngineError(f"the backup holds {name!r}, which has no place on a host")
    return len(parts) - length


def _write(source: BinaryIO, path: Path, entry: TarInfo) -> str:
    """Returns the SHA-256 of what was written."""
    digest = hashlib.sha256()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise EngineError(f"the backup holds {entry.name!r} twice") from None
    with os.fdopen(handle, "wb") as stream:
        for block in iter(lambda: source.read(_BLOCK), b""):
            digest.update(block)
            stream.write(block)
        _own(stream.fileno(), entry)
        os.fchmod(stream.fileno(), entry.mode & 0o777)
        stream.flush()
        os.utime(stream.fileno(), (entry.mtime, entry.mtime))
        os.fsync(stream.fileno())
    return digest.hexdigest()


def _own(handle: int, entry: TarInfo) -> None:
    """Give to whom it belonged, where that one has a name here. systemd gives folders of dynamic users to these by itself."""
    with contextlib.suppress(KeyError):
        if entry.uname:
            os.fchown(handle, pwd.getpwnam(entry.uname).pw_uid, -1)


def _finish(late: list[tuple[Path, TarInfo]]) -> None:
    """Links, then folders, the innermost first."""
    for path, entry in late:
        if entry.issym():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.symlink_to(entry.linkname)
    for path, entry in reversed(late):
        if entry.isdir():
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _own(handle, entry)
                os.fchmod(handle, entry.mode & 0o777)
                os.utime(handle, (entry.mtime, entry.mtime))
                os.fsync(handle)
            finally:
                os.close(handle)
