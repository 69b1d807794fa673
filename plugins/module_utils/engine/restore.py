# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host from its backup: what `backup.py` made is unpacked beside everything, proven, put in its place, and started.

    begin    room for it, and the engine itself
    take     piece by piece from the controller
    unpack   beside; every file is what the backup's list says, every release what its id says
    place    runtimes, releases, holds, data, history, the broker's database; state.json last
    start    today's secrets, units, and the gate

Until state.json is there the host has none, and a restore that was killed begins anew. After it `deploy.yml` brings up what is
not, as after any other mishap.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import (
    archive,
    broker_data,
    envfile,
    health_timer,
    hold,
    manifest,
    names,
    presence,
    releases,
    secret_files,
    systemd,
)
from .backup import TOKEN, data_folders
from .errors import EngineError
from .files import beside, fsync_directory, make_directory, remove, sha256_file, write
from .gate import Watch, start_and_gate
from .install import install
from .layout import Layout
from .lock import locked
from .manifest import Manifest
from .mask import secret_values
from .outcome import FAILED, REFUSED, RELEASED, UNCHANGED, Outcome
from .prune import prune
from .reasons import RESTART
from .recover import recover
from .request import Request, Wanted
from .retire import remove_one
from .room import Need, require_room
from .stage import missing_packages, stage_release, stage_runtimes
from .state import State, load, save
from .switch import forget, prepare, register, switch
from .transaction import Order, write_down

RESTORE = "restore"
_MUSTER, _RUNTIMES, _BROKER = "var/lib/muster", "opt/muster/runtimes", "var/lib/mosquitto/mosquitto.db"
_AGENT = "agent-"


def look(layout: Layout, request: Request) -> dict[str, Any]:
    """{"workloads": names} of what is here and would be replaced. Raises EngineError where it must not be."""
    systemd.require()
    return {"workloads": _replaced(layout, request)}


def _replaced(layout: Layout, request: Request) -> list[str]:
    here = sorted(map(names.name_of, load(layout).workloads))
    if here and not request.archive.get("replace"):
        raise EngineError(
            f"muster runs {', '.join(here)} here already; nothing was changed. A restore is for a host that has nothing; "
            "-e restore_replace=true takes off what is here first"
        )
    return here


def _folder(layout: Layout) -> Path:
    return layout.lib / "restore"


def _archive(layout: Layout, token: Any) -> Path:
    """The file that pieces go to. Raises EngineError where it is another restore's turn."""
    path = _folder(layout) / f"{token}.tar.gz"
    if not isinstance(token, str) or not TOKEN.fullmatch(token) or not path.is_file():
        raise EngineError("another restore of this host has begun meanwhile; nothing was changed")
    return path


def begin(layout: Layout, request: Request) -> dict[str, Any]:
    """{"token"}. `request.archive` has "size" of the archive, and "bytes" and "files" of what is in it."""
    with locked(layout, request.who, wait=10.0):
        _replaced(layout, request)
        install(layout)
        remove(_folder(layout))
        about = request.archive
        # The archive, its files beside, and once more those that are copied to their place; `require_room` doubles it.
        room = int(about["size"]) + 2 * int(about["bytes"])
        require_room([Need(layout.lib, room // 2, int(about["files"]))])
        make_directory(_folder(layout), 0o700)
        token = secrets.token_hex(8)
        (_folder(layout) / f"{token}.tar.gz").touch(0o600)
        return {"token": token}


def take(layout: Layout, told: bytes) -> None:
    """Write a piece of the archive. `told`: a line of JSON, {"token", "offset"}, and the bytes."""
    line, data = told.split(b"\n", 1)
    about = json.loads(line)
    with _archive(layout, about["token"]).open("r+b") as stream:
        stream.seek(int(about["offset"]))
        stream.write(data)


def drop(layout: Layout, request: Request) -> dict[str, Any]:
    """Remove what was brought, whose turn it still is."""
    with contextlib.suppress(EngineError):
        _archive(layout, request.archive.get("token"))
        remove(_folder(layout))
    return {}


def unpack(layout: Layout, request: Request) -> dict[str, Any]:
    """{"workloads": what they are and need, "missing_packages"}. Nothing outside of the restore's own folder changes."""
    path = _archive(layout, request.archive["token"])
    if sha256_file(path) != request.archive["sha256"]:
        raise EngineError("the backup did not arrive whole; nothing was changed")
    inner = _inner(layout)
    remove(inner.root)
    archive.unpack(path, inner.root, folder_of)
    os.truncate(path, 0)  # its name is the token; its bytes have been written once more
    version, documents = systemd.require(), _documents(inner)
    for document in documents:
        if why := secret_files.refusal(document, version):
            raise EngineError(f"{document.name}: {why}")
    return {
        "workloads": [_told(inner, document) for document in documents],
        "missing_packages": missing_packages(layout, documents),
    }


def _inner(layout: Layout) -> Layout:
    """The backup, unpacked: it lies there as on a host of its own."""
    return Layout(_folder(layout) / "root")


def folder_of(parts: Sequence[str]) -> int:
    """How many parts of a name are the folder that it is in, as `archive.unpack` asks; only those of a backup are known."""
    for known in (_MUSTER, _RUNTIMES, _BROKER):
        length = known.count("/") + 1
        if "/".join(parts[:length]) == known:
            return length
    length = 4 if list(parts[2:3]) == ["private"] else 3
    data = list(parts[:2]) in (["var", "lib"], ["var", "log"]) and len(parts) >= length
    return length if data and parts[length - 1].startswith(_AGENT) else 0


def _documents(inner: Layout) -> list[Manifest]:
    """The current releases, each with all it needs. Raises EngineError where one lacks something, or for this machine."""
    state, hash_file, found = load(inner), releases.hasher(), []
    for key in sorted(state.workloads):
        document = manifest.read(inner, key, state.release(key) or "")
        _whole(inner, document, hash_file)
        found.append(document)
    return found


def _whole(inner: Layout, document: Manifest, hash_file: releases.Hasher) -> None:
    folder = inner.release(document.key, document.release)
    altered = [name for name, digest in document.files.items() if sha256_file(folder / name) != digest]
    digest = document.digest(platform.machine())
    if digest and hash_file(inner.runtime(digest) / "program") != digest:
        altered.append(f"runtime {document.runtime_words}")
    if altered:
        raise EngineError(
            f"{document.name}: the backup has no {', '.join(altered)} that fits release {document.release}"
        )


def _told(inner: Layout, document: Manifest) -> dict[str, Any]:
    return {
        "key": document.key,
        "kind": names.kind_of(document.key),
        "name": document.name,
        "agent_id": document.gate.agent_id,
        "release": document.release,
        "held": hold.held(inner, document.key) is not None,
        "secrets": {name: dict(source) for name, source in document.secrets.items()},
        "credentials": document.raw.get("credentials"),
        "tls": document.gate.tls,
    }


def place(layout: Layout, request: Request) -> dict[str, Any]:
    """{"workloads": names}. Safe to repeat until state.json is there; from then on the host has its state again."""
    _archive(layout, request.archive["token"])
    inner = _inner(layout)
    restored = load(inner)
    with locked(layout, request.who, wait=10.0):
        recover(layout, request.who)
        _replaced(layout, request)
        state = load(layout)
        for key in sorted(state.workloads):
            remove_one(layout, state, key, clear=False, who=request.who)
        stage_runtimes(layout, {path.name: str(path / "program") for path in inner.runtimes.glob("*")})
        for key, entry in restored.workloads.items():
            _place_releases(layout, inner, key)
            if names.kind_of(key) == "agent":  # what a service keeps belongs to an account of the host
                _place_data(layout, inner, entry["unit"])
            if (about := hold.held(inner, key)) is not None:
                hold.prepare(layout, key, entry["unit"])
                hold.put(layout, key, about)
        for path in inner.lib.glob(f"{inner.history.name}*"):
            write(layout.lib / path.name, path.read_bytes(), 0o600)
        if (database := broker_data.database(inner)).is_file():
            systemd.run("systemctl", "stop", "--", restored.workloads[broker_data.KEY]["unit"])
            broker_data.put(layout, database)
        save(layout, State(restored.workloads, None, restored.salt))
        prune(layout, load(layout), [])
        remove(_folder(layout))
        return {"workloads": sorted(map(names.name_of, restored.workloads))}


def _place_releases(layout: Layout, inner: Layout, key: str) -> None:
    for release in releases.on_disk(inner, key):
        document = manifest.read(inner, key, release)
        stage_release(layout, Wanted(document, releases.texts(inner, document), {}))
        path = layout.release(key, release) / manifest.FILE_NAME
        staged = (inner.release(key, release) / manifest.FILE_NAME).stat().st_mtime
        os.utime(path, (staged, staged))  # it tells since when the release is there


def _place_data(layout: Layout, inner: Layout, unit: str) -> None:
    for source, target in zip(data_folders(inner, unit), data_folders(layout, unit)):
        if not source.is_dir():
            continue
        make_directory(target.parent, 0o700)
        new, old = beside(target, "new"), beside(target, "old")
        remove(new)
        _move(source, new)
        if target.is_dir():
            remove(old)
            os.rename(target, old)
        os.rename(new, target)
        remove(old)
        fsync_directory(target.parent)


def _move(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(source, target, symlinks=True)
        os.sync()


def start(layout: Layout, request: Request) -> dict[str, Any]:
    """{"outcomes"}: with the secrets given, what these name is installed on the release that is current, started and gated.

    What is held stays stopped. What fails is left to try again by itself: there is nothing to go back to.
    """
    with locked(layout, request.who, wait=10.0):
        recover(layout, request.who)
        state = load(layout)
        order = Order(request.parallel, request.keep, RESTORE, request.who, secret_values(request.secrets))
        outcomes: list[Outcome] = []
        installed: dict[str, Manifest] = {}
        for key, values in request.secrets.items():
            try:
                installed[key] = _install(layout, state, key, values, request.assume_gone)
            except EngineError as error:
                outcomes.append(_outcome(state, key, REFUSED, str(error)))
        save(layout, state)
        complaints = register(document.unit for document in installed.values())
        watches = {
            key: Watch(document, RESTART, verdict=complaints.get(document.unit))
            for key, document in installed.items()
            if hold.held(layout, key) is None
        }
        start_and_gate((one for one in watches.values() if one.verdict is None), request.parallel)
        outcomes += [_judged(state, key, watches.get(key)) for key in installed]
        write_down(layout, outcomes, order)
        if outcomes and (warning := health_timer.ensure(layout, state)):
            outcomes[0].warnings.append(warning)
        return {"outcomes": [outcome.as_dict() for outcome in outcomes]}


def _install(
    layout: Layout, state: State, key: str, values: Mapping[str, str], assume_gone: bool
) -> Manifest:
    """Put a release's files and secrets where it looks for them. Raises EngineError where its id runs somewhere else."""
    release = state.release(key) or ""
    document = manifest.read(layout, key, release)
    if not assume_gone and (reason := presence.twin(document, values)):
        raise EngineError(reason)
    text = envfile.render(values) if values else None
    swaps = prepare(layout, key, release, None, text)
    switch(swaps)
    forget(swaps)
    state.workloads[key].update(secret_files.record(layout, state, document, text))
    return document


def _judged(state: State, key: str, watch: Watch | None) -> Outcome:
    if watch is None:
        return _outcome(state, key, UNCHANGED, "it is held")
    outcome = _outcome(state, key, RELEASED if watch.healthy else FAILED, watch.verdict or "")
    outcome.log, outcome.seconds = watch.log, {"gate": watch.seconds}
    return outcome


def _outcome(state: State, key: str, result: str, reason: str) -> Outcome:
    release = state.release(key)
    return Outcome(key, names.name_of(key), result, release, release, reason, phase=RESTORE if reason else "")
