# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A backup of this host: one archive, made under the lock while the agents run, and fetched by the controller in pieces.

In it are what muster knows, releases with the runtimes that they need, history, holds, the agents' own data and the broker's
database. Secrets are not: a restore brings those of its own day. The controller encrypts it; here it is for root only, beside
what it is made of, and goes once it was fetched.
"""

from __future__ import annotations

import base64
import json
import platform
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import archive, broker_data, hold, manifest, names, releases, systemd
from .archive import Found
from .errors import EngineError
from .files import make_directory, remove, sha256_file
from .install import install
from .layout import Layout
from .lock import locked
from .manifest import Manifest
from .recover import recover
from .request import Request
from .room import Need, require_room
from .state import State, load

LONGEST_PIECE = 64 << 20
TOKEN = re.compile(r"[0-9a-f]{16}")
_MOST_NAMED = 20


def folder(layout: Layout) -> Path:
    return layout.lib / "backup"


def make(layout: Layout, request: Request) -> dict[str, Any]:
    """{"workloads": names, "files", "bytes", "left_out": sentences}, and of what was made "token", "size", "sha256".

    In check mode nothing is made. Raises EngineError where what runs now could not be restored from it.
    """
    systemd.require()
    if request.check_mode or not load(layout).workloads:
        return _report(load(layout), *_survey(layout, load(layout), request))
    with locked(layout, request.who, wait=10.0):
        install(layout)  # it is this engine that is asked for the pieces
        recover(layout, request.who)
        state = load(layout)
        database = broker_data.saved(layout, state)
        found, left_out = _survey(layout, state, request)
        found += [archive.file(database)] if database else []
        report = _report(state, found, left_out)
        remove(folder(layout))
        # `require_room` asks for twice as much; and compressed it will be less.
        most = report["bytes"] + archive.SPARE * len({one.folder for one in found if one.folder})
        require_room([Need(layout.lib, most // 2, 4)])
        make_directory(folder(layout), 0o700)
        token = secrets.token_hex(8)
        target = _archive(layout, token)
        try:
            writer = _write(layout, target, found)
        except BaseException:
            remove(folder(layout))
            raise
        report |= {"files": writer.files, "bytes": writer.bytes}
        report["left_out"] = _named(left_out + writer.left_out)
        return {**report, "token": token, "size": target.stat().st_size, "sha256": sha256_file(target)}


def _write(layout: Layout, target: Path, found: list[Found]) -> archive.Writer:
    with target.open("xb") as stream:
        target.chmod(0o600)
        writer = archive.Writer(stream, layout.root)
        for one in found:
            writer.add(one)
        writer.close()
        return writer


def _report(state: State, found: list[Found], left_out: list[str]) -> dict[str, Any]:
    return {
        "workloads": sorted(names.name_of(key) for key in state.workloads),
        "files": len(found),
        "bytes": sum(one.size for one in found),
        "left_out": _named(left_out),
    }


def _named(left_out: list[str]) -> list[str]:
    more = len(left_out) - _MOST_NAMED
    return left_out[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])


def _survey(layout: Layout, state: State, request: Request) -> tuple[list[Found], list[str]]:
    """What goes in, in order, and what does not."""
    old = layout.history.with_name(f"{layout.history.name}.1")
    paths = [path for path in (layout.state, layout.history, old) if path.is_file()]
    left_out: list[str] = []
    runtimes: set[str] = set()
    hash_file = releases.hasher()
    for key in sorted(state.workloads):
        for document in _whole_releases(layout, state, key, hash_file, left_out):
            directory = layout.release(key, document.release)
            paths += [directory / name for name in (manifest.FILE_NAME, *sorted(document.files))]
            runtimes |= {digest for digest in [document.digest(platform.machine())] if digest}
        if hold.held(layout, key) is not None:
            paths.append(hold.note_file(layout, key))
    paths += [layout.runtime(digest) / "program" for digest in sorted(runtimes)]
    found = [archive.file(path) for path in paths]
    for key in sorted(state.workloads):
        if _with_data(state, key, request.archive):
            for one in _data(layout, state.workloads[key]["unit"]):
                if one.unfit:
                    left_out.append(f"{one.path}: {one.unfit}")
                else:
                    found.append(one)
    return found, left_out


def _whole_releases(
    layout: Layout, state: State, key: str, hash_file: releases.Hasher, left_out: list[str]
) -> Iterator[Manifest]:
    for release in sorted(releases.on_disk(layout, key)):
        try:
            document = manifest.read(layout, key, release)
            damage = releases.damage(layout, document, hash_file)
        except EngineError as error:
            damage = str(error)
        if not damage:
            yield document
        elif release == state.release(key):
            raise EngineError(
                f"{names.name_of(key)}: its release {release} could not be restored: {damage}; deploy.yml puts it right"
            )
        else:
            left_out.append(f"release {release} of {names.name_of(key)}: {damage}")
    if not layout.release(key, state.release(key) or "").is_dir():
        raise EngineError(
            f"{names.name_of(key)}: its release {state.release(key)} is gone; deploy.yml puts it right"
        )


def _with_data(state: State, key: str, about: Mapping[str, Any]) -> bool:
    without = set(about.get("without_data", ()))
    return (
        names.kind_of(key) == "agent"
        and bool(about.get("data", True))
        and not names.known_as(state, key) & without
    )


def _data(layout: Layout, unit: str) -> Iterator[Found]:
    """What systemd made for the unit, but for caches. A link in its place leads to one that is in the list, too."""
    for path in data_folders(layout, unit):
        if path.is_dir() and not path.is_symlink():
            yield from archive.walk(path)


def data_folders(layout: Layout, unit: str) -> list[Path]:
    caches = layout.root / "var/cache"
    return [path for path in layout.data_directories(unit) if caches not in path.parents]


def _archive(layout: Layout, token: Any) -> Path:
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise EngineError(f"{token!r} is no backup's token")
    return folder(layout) / f"{token}.tar.gz"


def piece(layout: Layout, text: str) -> str:
    """A part of the archive, in base64. `text` is JSON: {"token", "offset", "length"}, in bytes."""
    asked = json.loads(text)
    path = _archive(layout, asked["token"])
    try:
        with path.open("rb") as stream:
            stream.seek(int(asked["offset"]))
            return base64.b64encode(stream.read(min(int(asked["length"]), LONGEST_PIECE))).decode()
    except FileNotFoundError:
        raise EngineError(f"{path} is gone: another backup of this host has begun; run it again") from None


def forget(layout: Layout, request: Request) -> dict[str, Any]:
    """The archive was fetched, or will not be."""
    path = _archive(layout, request.archive.get("token"))
    if remove(path):
        remove(folder(layout))
    return {}
