# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The archive that a backup is before the controller encrypts it: a compressed tar, with a list of its files at its end.

It holds files, folders, and links that stay where they are; nothing else goes in, and nothing else comes out. `tarfile` is
imported where it is needed: a deploy needs none of this.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pwd
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from .errors import EngineError

if TYPE_CHECKING:
    from tarfile import TarInfo

CONTENTS = "contents.json"
_LEVEL = 1  # of zlib, the quickest: much of it (runtimes) is compressed already
_BLOCK = 1 << 20
_OLDEST, _NEWEST = -1 << 31, 1 << 33  # seconds: what file systems of today have in common
DEEPEST = 128  # a restore goes down by recursion in places
LONGEST = 4096 - 256  # bytes of a path: what Linux takes, less the folder that a restore unpacks below
# Bytes by which the files of one folder may grow, all together, from the survey until they are read.
SPARE = 4 << 20

Folder = Callable[[tuple[str, ...]], int]


class Found(NamedTuple):
    """What may go into an archive, as it was when it was looked at. Until it is read, its owner may make it anything else.

    Of `folder` the owner may change all names below it; without one, no name on the way is anyone's but root's.
    """

    path: Path
    kind: int  # as of stat.S_IFMT
    size: int = 0
    folder: Path | None = None
    unfit: str = ""  # why it cannot be in an archive


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
        self._spare: dict[Path, int] = {}
        self._open: tuple[Path, int] | None = None  # the folder that the last one was in
        self.files = self.bytes = 0
        self.left_out: list[str] = []  # what changed since it was found, each with how

    def add(self, found: Found) -> None:
        """A file, folder or link. What has gone since it was found is passed over, and so is what became another thing.

        Raises EngineError where that is nothing that an agent can do.
        """
        try:
            now, handle, target = self._now(found)
        except FileNotFoundError:
            return
        except OSError as error:
            if found.folder is None:
                raise EngineError(f"{found.path} could not be read: {error.strerror}") from None
            self.left_out.append(f"{found.path}: it could not be read: {error.strerror}")
            return
        entry = self._entry(found, now, target)
        if handle is None:
            self._tar.addfile(entry)
        else:
            with os.fdopen(handle, "rb") as stream:
                entry.size = self._size(found, now.st_size)
                whole = _Exactly(stream, entry.size)
                self._tar.addfile(entry, whole)
            self._digests[entry.name] = whole.digest.hexdigest()
            if whole.missing:
                self.left_out.append(f"{found.path}: what it lost while it was read")
        self.files, self.bytes = self.files + 1, self.bytes + entry.size

    def close(self) -> None:
        import io
        import tarfile

        data = json.dumps({"files": self._digests}, sort_keys=True).encode()
        entry = tarfile.TarInfo(CONTENTS)
        entry.size, entry.mode = len(data), 0o600
        self._tar.addfile(entry, io.BytesIO(data))
        self._tar.close()
        self._gzip.close()
        self._leave()

    def _now(self, found: Found) -> tuple[os.stat_result, int | None, str]:
        """What it is now, a file's handle, and a link's target. Raises OSError where it is no more what was found."""
        name, above = self._place(found)
        now = os.stat(name, dir_fd=above, follow_symlinks=False)
        _require(stat.S_IFMT(now.st_mode) == found.kind)
        if stat.S_ISLNK(now.st_mode):
            target = os.readlink(name, dir_fd=above)
            _require(
                found.folder is not None and stays_inside(_depth_below(found.folder, found.path), target)
            )
            return now, None, target
        if stat.S_ISDIR(now.st_mode):
            return now, None, ""
        # Not to wait for a writer, nor to follow a link, where another thing has taken the file's place meanwhile.
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
        try:
            now = os.fstat(handle)
            _require(stat.S_ISREG(now.st_mode))
        except BaseException:
            os.close(handle)
            raise
        return now, handle, ""

    def _place(self, found: Found) -> tuple[str, int | None]:
        """What to open, and relative to which folder: the last one stays open, as others that are in it come next."""
        if found.folder is None or found.path == found.folder:
            return str(found.path), None
        above = found.path.parent
        if self._open is None or self._open[0] != above:
            self._leave()
            self._open = above, _opened(found.folder, above.relative_to(found.folder).parts)
        return found.path.name, self._open[1]

    def _leave(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
        self._open = None

    def _size(self, found: Found, now: int) -> int:
        """How much of a file to read: room was made for what was found. It may have been replaced by a longer one since, of
        which a part could be worthless; but what an agent makes huge meanwhile is not to fill the disk.
        """
        if found.folder is None or now <= found.size:
            return now
        spare = self._spare.get(found.folder, SPARE) - (now - found.size)
        if spare < 0:
            self.left_out.append(f"{found.path}: what it gained while the backup was made")
            return found.size
        self._spare[found.folder] = spare
        return now

    def _entry(self, found: Found, now: os.stat_result, target: str) -> TarInfo:
        import tarfile

        entry = tarfile.TarInfo(str(found.path.relative_to(self._root)))
        entry.mode = stat.S_IMODE(now.st_mode) & 0o777
        # An owner can set any time, also one that no restore could.
        entry.mtime = max(_OLDEST, min(int(now.st_mtime), _NEWEST))
        if stat.S_ISDIR(now.st_mode):
            entry.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(now.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, target
        with contextlib.suppress(KeyError):  # whoever has no name here can have none elsewhere
            entry.uname = pwd.getpwuid(now.st_uid).pw_name
        return entry


def _require(same: bool) -> None:
    if not same:
        raise OSError(errno.ESTALE, "it became another thing while the backup was made")


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


def file(path: Path) -> Found:
    """A file in a folder that is root's own."""
    return Found(path, stat.S_IFREG, path.lstat().st_size)


def walk(folder: Path) -> Iterator[Found]:
    """Everything in a folder and the folder itself; parents first. What is below something unfit is not looked at."""
    yield Found(folder, stat.S_IFDIR, 0, folder)
    pending: list[tuple[str, ...]] = [()]
    while pending:
        parts = pending.pop()
        for found in _in(folder, parts):
            yield found
            if found.kind == stat.S_IFDIR and not found.unfit:
                pending.append((*parts, found.path.name))


def _in(folder: Path, parts: tuple[str, ...]) -> list[Found]:
    here = folder.joinpath(*parts)
    try:
        handle = _opened(folder, parts)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [Found(here, 0, 0, folder, f"it could not be read: {error.strerror}")]
    try:
        # A folder that changes meanwhile may tell a name twice.
        found = [_found(folder, here / name, handle) for name in sorted(set(os.listdir(handle)))]
    finally:
        os.close(handle)
    return [one for one in found if one is not None]


def _found(folder: Path, path: Path, above: int) -> Found | None:
    try:
        now = os.stat(path.name, dir_fd=above, follow_symlinks=False)
        target = os.readlink(path.name, dir_fd=above) if stat.S_ISLNK(now.st_mode) else ""
    except FileNotFoundError:
        return None
    except OSError as error:
        return Found(path, 0, 0, folder, f"it could not be read: {error.strerror}")
    kind, size = stat.S_IFMT(now.st_mode), now.st_size if stat.S_ISREG(now.st_mode) else 0
    return Found(path, kind, size, folder, _unfit(folder, path, kind, target))


def _opened(folder: Path, parts: Sequence[str]) -> int:
    """A folder below one that may change at any time: no link is followed on the way. Raises OSError where there is one."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(folder, flags)
    for name in parts:
        try:
            below = os.open(name, flags, dir_fd=handle)
        finally:
            os.close(handle)
        handle = below
    return handle


def _unfit(folder: Path, path: Path, kind: int, target: str) -> str:
    depth = _depth_below(folder, path)
    if depth > DEEPEST:
        return f"more than {DEEPEST} folders deep"
    if len(os.fsencode(path)) > LONGEST:
        return f"its path is longer than {LONGEST} bytes"
    if kind == stat.S_IFLNK:
        return "" if stays_inside(depth, target) else "a link that leads out"
    return "" if kind in (stat.S_IFREG, stat.S_IFDIR) else "neither a file nor a folder"


def _depth_below(folder: Path, path: Path) -> int:
    return len(path.parts) - len(folder.parts)


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
