# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A backup as a file on the controller: a line about it that anybody may read, and an encrypted stream of pieces.

    muster-backup
    {"format": 1, "host": "agent-1", "made": "2026-11-21T21:30:00Z", ...}
    4 bytes: how long the piece is, then the piece; and so on

Each piece is sealed with AES-256-GCM. Its nonce is its number and whether it is the last one, so that none can be taken out,
put in, moved or cut off; the lines above are authenticated with it. The key comes from the passphrase by scrypt, with a salt
of each file's own, so no key meets a nonce twice. Nothing is in memory but a piece or two.

`cryptography`, which ansible-core needs anyway, is imported where it is used.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ansible_collections.muster.agents.plugins.module_utils.engine import VERSION
from ansible_collections.muster.agents.plugins.module_utils.engine.files import (
    fsync_directory,
    make_directory,
    remove,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = 1
PIECE = 4 << 20  # bytes
SUFFIX = ".backup"
_MAGIC = b"muster-backup\n"
_LONGEST_HEADER = 65536
_LONGEST_PIECE = 64 << 20
_TAG = 16
_SALT = 16
_COST = 2**15  # scrypt's n: 32 MiB and a tenth of a second
_HIGHEST_COST = 2**20
_SCRYPT_R, _SCRYPT_P = 8, 1


class BackupError(ValueError):
    """A backup that cannot be used: which file, and why."""


@dataclass(frozen=True)
class Header:
    """What can be read of a backup without its passphrase.

    `made`: UTC. `engine`: the version of muster. `commit` of the fleet, "" where it is in no repository. `size`: bytes of the
    archive, `bytes` of the `files` in it. `salt`: hex, `cost`: scrypt's n.
    """

    host: str
    made: str
    commit: str
    size: int
    bytes: int
    files: int
    format: int = FORMAT
    engine: str = VERSION
    salt: str = ""
    cost: int = _COST


def write(path: Path, about: Header, passphrase: str, pieces: Iterable[bytes]) -> None:
    """Write the file beside, see it onto the disk, rename. Raises OSError, and leaves nothing then."""
    make_directory(path.parent, 0o700)
    header = Header(**{**asdict(about), "salt": secrets.token_hex(_SALT)})
    line = json.dumps(asdict(header), sort_keys=True).encode() + b"\n"
    cipher, salted = _cipher(header, passphrase), _MAGIC + line
    part = path.with_name(f".{path.name}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(salted)
            number, waiting = 0, b""
            for piece in pieces:
                if waiting:
                    _put(stream, cipher.encrypt(_nonce(number, last=False), waiting, salted))
                    number += 1
                waiting = piece
            _put(stream, cipher.encrypt(_nonce(number, last=True), waiting, salted))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        remove(part)
        raise
    fsync_directory(path.parent)


def _put(stream: BinaryIO, sealed: bytes) -> None:
    stream.write(len(sealed).to_bytes(4, "big") + sealed)


def read_header(path: Path) -> Header:
    """Raises BackupError, and for a backup of another format or a newer muster one that names both."""
    with _open(path) as stream:
        return _header(path, stream)[0]


def read(path: Path, passphrase: str) -> Iterator[bytes]:
    """The pieces as they were written. Raises BackupError where one, or the end, is not what was written.

    A caller that must not begin with half of it reads it twice.
    """
    from cryptography.exceptions import InvalidTag

    with _open(path) as stream:
        header, salted = _header(path, stream)
        cipher = _cipher(header, passphrase)
        number, last = 0, False
        while not last:
            sealed, last = _take(path, stream)
            try:
                piece = cipher.decrypt(_nonce(number, last), sealed, salted)
            except InvalidTag:
                wrong = "; or backup_passphrase is not the one that it was made with" if number == 0 else ""
                raise BackupError(
                    f"{path}: it was cut or altered, at its piece {number + 1}{wrong}"
                ) from None
            yield piece
            number += 1


def _take(path: Path, stream: BinaryIO) -> tuple[bytes, bool]:
    """A piece, and whether the file ends with it."""
    length = int.from_bytes(_exactly(path, stream, 4), "big")
    if not _TAG <= length <= _LONGEST_PIECE + _TAG:
        raise BackupError(f"{path}: it was altered: no piece is {length} bytes long")
    sealed = _exactly(path, stream, length)
    more = stream.read(1)
    stream.seek(-len(more), os.SEEK_CUR)
    return sealed, not more


def _exactly(path: Path, stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise BackupError(f"{path}: it was cut: its end is missing")
    return data


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}") from None


def _header(path: Path, stream: BinaryIO) -> tuple[Header, bytes]:
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise BackupError(f"{path}: it is no backup of muster, or was altered")
    line = stream.readline(_LONGEST_HEADER)
    try:
        raw = json.loads(line)
        _fits(path, raw)
        header = Header(**{field.name: raw[field.name] for field in fields(Header)})
        numbers = (header.size, header.bytes, header.files, header.cost)
        if (
            any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in numbers)
            or len(bytes.fromhex(header.salt)) != _SALT
        ):
            raise ValueError
    except BackupError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BackupError(f"{path}: its first lines were altered") from None
    if not 2 <= header.cost <= _HIGHEST_COST or header.cost & (header.cost - 1):
        raise BackupError(f"{path}: its first lines were altered (cost {header.cost})")
    return header, _MAGIC + line


def _fits(path: Path, raw: Mapping[str, object]) -> None:
    if raw["format"] != FORMAT:
        raise BackupError(
            f"{path}: a backup in format {raw['format']!r}; this is muster {VERSION}, which knows format {FORMAT}"
        )
    engine = str(raw["engine"])
    if _version(engine) > _version(VERSION):
        raise BackupError(
            f"{path}: made by muster {engine}; this is muster {VERSION}. Restore with the collection that made it, or a newer one"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _cipher(header: Header, passphrase: str) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    key = Scrypt(bytes.fromhex(header.salt), 32, header.cost, _SCRYPT_R, _SCRYPT_P).derive(
        passphrase.encode()
    )
    return AESGCM(key)


# --- the folder of all backups ----------------------------------------------------------------------------------


def runs(folder: Path) -> list[str]:
    """The names of the backups in a folder, each of which is a folder with a file for each host; oldest first."""
    return sorted({path.parent.name for path in folder.glob(f"*/*{SUFFIX}")})


def file_of(folder: Path, run: str, host: str) -> Path:
    """Raises BackupError for a name that is no file's."""
    for name in (run, host):
        if not name or "/" in name or name.startswith("."):
            raise BackupError(f"{name!r} cannot name a backup")
    return folder / run / f"{host}{SUFFIX}"


def find(folder: Path, run: str, host: str) -> Path:
    """The file of a host in a backup, by default the newest of all. Raises BackupError with what there is."""
    there = runs(folder)
    if not there:
        raise BackupError(f"{folder}: there are no backups")
    path = file_of(folder, run or there[-1], host)
    if not path.is_file():
        others = [one for one in there if file_of(folder, one, host).is_file()]
        hint = f"-e restore_run={others[-1]} has one" if others else f"--limit '!{host}' leaves the host out"
        raise BackupError(f"{path}: there is no such backup; {hint}")
    return path
