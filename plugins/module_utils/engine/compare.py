# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What would have to change: the workloads wanted, against what is on the host. Reads only.

What each reason needs of the service follows from one question: may the process that runs now have seen other bytes
than those wanted? If so it is restarted; if not, the files are put right beside it and the gate only looks.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import manifest, secret_files, secret_installs, systemd
from .errors import EngineError
from .files import File, read_bytes, read_link, sha256_file
from .hold import held
from .layout import Layout
from .manifest import Install, Manifest
from .reasons import (
    CREDENTIALS,
    DRIFT,
    MASKED,
    NEEDS,
    NOT_RECORDED,
    NOTHING,
    OWED,
    RECORD,
    RELOAD,
    RESTART,
    RUNTIME_ALTERED,
    RUNTIME_GONE,
    SECRETS_ALTERED,
)
from .request import Wanted
from .state import State, load
from .systemd import Unit


@dataclass
class Change:
    """One workload's way from `before` (a release id, None on its first deploy) to `after`.

    `reasons` are words for people. `action` is what its service needs: nothing; record (files, link and state change, the
    process is only looked at); reload; restart. `held` is what is known of a person's hold: then nothing is done.
    """

    key: str
    manifest: Manifest
    before: str | None
    after: str
    reasons: list[str] = field(default_factory=list)
    action: str = NOTHING
    running: bool = False
    version_before: str | None = None  # of the config, where it has one
    held: dict[str, Any] | None = None

    def needs(self, reason: str, action: str = RESTART) -> None:
        self.reasons.append(reason)
        self.action = max(self.action, action, key=NEEDS.index)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def unit(self) -> str:
        return self.manifest.unit

    @property
    def drift(self) -> list[str]:
        """What somebody changed on the host, in words."""
        return [reason[len(DRIFT) :] for reason in self.reasons if reason.startswith(DRIFT)]


class Runtimes:
    """Whether the programs on disk are what their names say. Each is read once, however many agents run it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._faults: dict[str, str | None] = {}

    def fault(self, digest: str) -> str | None:
        if digest not in self._faults:
            found = sha256_file(self._layout.runtime(digest) / "program")
            self._faults[digest] = (
                None if found == digest else RUNTIME_GONE if found is None else RUNTIME_ALTERED
            )
        return self._faults[digest]


def compare(layout: Layout, wanted: Mapping[str, Wanted]) -> list[Change]:
    """One Change for each workload wanted, also for those with nothing to do."""
    state, runtimes = load(layout), Runtimes(layout)
    with ThreadPoolExecutor(1) as aside:
        # It takes systemd as long to answer as it takes to read the files.
        asked = aside.submit(systemd.show, [item.manifest.unit for item in wanted.values()])
        changes = [_compare_files(layout, state, item, runtimes) for item in wanted.values()]
    for change in changes:
        _compare_unit(change, asked.result()[change.unit])
        _heed_hold(layout, change)
    return changes


def current_release(layout: Layout, key: str) -> str | None:
    target = read_link(layout.current(key))
    return target.rsplit("/", 1)[-1] if target else None


def _compare_files(layout: Layout, state: State, wanted: Wanted, runtimes: Runtimes) -> Change:
    new = wanted.manifest
    linked, recorded = current_release(layout, new.key), state.release(new.key)
    change = Change(new.key, new, recorded or linked, new.release)
    if change.before is None:
        change.needs("new")
        return change
    _compare_link(layout, change, linked, recorded)
    if change.before != change.after:
        _compare_releases(layout, change, runtimes)
    else:
        _compare_disk(layout, change, new, runtimes)
    _compare_secrets(layout, state, change, wanted)
    return change


def _compare_link(layout: Layout, change: Change, linked: str | None, recorded: str | None) -> None:
    if recorded is None:
        change.needs(NOT_RECORDED, RECORD)
    elif linked != recorded:
        # Nothing starts through a link that leads nowhere, so what runs was started before. Through one that leads to
        # another release it may have been restarted since.
        leads = linked is not None and layout.current(change.key).exists()
        change.needs(DRIFT + "the link to the current release", RESTART if leads else RECORD)


def _compare_releases(layout: Layout, change: Change, runtimes: Runtimes) -> None:
    try:
        old = manifest.read(layout, change.key, change.before or "")
    except EngineError:
        change.needs(DRIFT + "the current release is damaged")
        return
    new = change.manifest
    change.version_before = old.raw.get("version")
    _compare_disk(layout, change, old, runtimes)
    found = len(change.reasons)
    differing = sorted(
        name for name in {*old.files, *new.files} if old.files.get(name) != new.files.get(name)
    )
    for name in differing:
        change.needs(name, RELOAD if name in new.reload and name in old.files else RESTART)
    if (old.installs, old.secret_installs) != (new.installs, new.secret_installs):
        change.needs("where files are installed", _action_of(_moved(old, new), new))
    if old.runtime != new.runtime:
        change.needs("runtime")
    if old.raw.get("credentials") != new.raw.get("credentials"):
        change.needs(CREDENTIALS)
    if old.unit != new.unit:
        change.needs("unit name")
    if len(change.reasons) == found:
        # Only how the release is judged, checked or recorded differs (a deadline, a hook): the process knows none of it.
        change.needs("manifest", RECORD)


def _moved(old: Manifest, new: Manifest) -> set[str]:
    """Files whose place, permissions or group differ."""
    return {install.file for install in {*old.all_installs} ^ {*new.all_installs}}


def _action_of(files: Iterable[str], document: Manifest) -> str:
    return RELOAD if set(files) <= document.reload else RESTART


def _compare_disk(layout: Layout, change: Change, current: Manifest, runtimes: Runtimes) -> None:
    """Are the files of the current release, its runtime and what it installed still there, byte for byte?"""
    directory = layout.release(change.key, current.release)
    for name in manifest.altered(directory, current):
        # A file that is gone was there when the process started, for without it nothing starts; and it reads none of them
        # later, because systemd hands it copies. One with other bytes may have been read by a restart. The manifest is the
        # engine's alone.
        gone = not (directory / name).is_symlink() and not (directory / name).exists()
        harmless = gone or name == manifest.FILE_NAME
        change.needs(f"{DRIFT}{name} of the current release", RECORD if harmless else RESTART)
    digest = current.digest(platform.machine())
    if fault := runtimes.fault(digest) if digest else None:
        change.needs(fault)
    for install in current.installs:
        _compare_install(layout, change, current, install)
    for one in secret_installs.altered(layout, current):
        change.needs(f"{DRIFT}{one.path}", _action_of([one.file], current))
    owed = read_bytes(owed_file(layout, change.key))
    if owed is not None:
        change.needs(OWED, RELOAD if owed.decode("ascii", "replace") == RELOAD else RESTART)


def _compare_install(layout: Layout, change: Change, current: Manifest, install: Install) -> None:
    path = layout.on_host(install.path)
    action = _action_of([install.file], current)
    if path.is_symlink() or sha256_file(path) != current.files[install.file]:
        change.needs(f"{DRIFT}{install.path}", action)
    elif not File(b"", install.mode, install.group).has_mode(path):
        change.needs(f"{DRIFT}permissions of {install.path}", action)


def owed_file(layout: Layout, key: str) -> Path:
    """Is there from when a damaged release was mended on disk until the process, which may have read it, was restarted."""
    return layout.workload(key) / "restart-owed"


def _compare_secrets(layout: Layout, state: State, change: Change, wanted: Wanted) -> None:
    started_with = state.workloads.get(change.key, {}).get("secrets")
    same = (
        secret_files.text(layout, change.key) == wanted.secrets_text
        if started_with is None
        else state.digest(wanted.secrets_text) == started_with
    )
    whole = secret_files.intact(layout, state, change.key)
    action = _action_of([manifest.SECRETS], wanted.manifest)
    if not whole:
        change.needs(SECRETS_ALTERED, action)
    if not same:
        change.needs(manifest.SECRETS, action)
    private = (File(b"", 0o600).has_mode(path) for path in secret_files.files(layout, change.key))
    if whole and same and not all(private):
        change.needs(DRIFT + "permissions of the secrets", RECORD)


def _compare_unit(change: Change, unit: Unit) -> None:
    change.running = unit.running
    if change.before is None:
        return
    if unit.masked:
        change.needs(MASKED)
    elif not unit.enabled:
        change.needs(DRIFT + "not enabled", RECORD)
    if not unit.running:
        change.needs("not running")
    if unit.need_reload and not unit.masked:
        change.needs("systemd has not read the unit")


def _heed_hold(layout: Layout, change: Change) -> None:
    found = held(layout, change.key)
    if found is not None and found["moves_to"]:
        change.needs(f"was to move to {found['moves_to']}")
    elif found is not None:
        change.held = found
        change.action = NOTHING


def text_of(data: bytes | None) -> str | None:
    return data.decode("utf-8", "replace") if data is not None else None


# --- what --diff shows ----------------------------------------------------------------------------------------


def differences(layout: Layout, change: Change, wanted: Wanted) -> list[dict[str, str]]:
    """Ansible-style diffs (before, after and their headers): what is on disk, and what will be.

    Of hidden files only the name is shown, of secrets only the names of the variables.
    """
    found = []
    for name, text in sorted(wanted.texts.items()):
        before = (
            text_of(read_bytes(layout.release(change.key, change.before) / name)) if change.before else None
        )
        if before != text:
            found.append(_shown(change, f"{change.key}/{name}", name, before, text))
    for install in change.manifest.installs:
        if f"{DRIFT}{install.path}" in change.reasons:
            before, text = text_of(read_bytes(layout.on_host(install.path))), wanted.texts[install.file]
            found.append(_shown(change, install.path, install.file, before, text))
    old = secret_files.read(layout, change.key)
    if dict(wanted.secrets) != old:
        after = "".join(
            f"{name}={_secret_word(name, old, wanted.secrets)}\n" for name in sorted(wanted.secrets)
        )
        found.append(
            _diff(f"{change.key}/secrets", "".join(f"{name}=(hidden)\n" for name in sorted(old)), after)
        )
    return found


def _shown(change: Change, header: str, name: str, before: str | None, after: str) -> dict[str, str]:
    if name in change.manifest.hidden:
        return _diff(header, "(hidden)\n" if before else "", "(hidden, changed)\n")
    return _diff(header, before or "", after)


def _secret_word(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    return "(hidden)" if old.get(name, new[name]) == new[name] else "(hidden, changed)"


def _diff(header: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": header, "after_header": header, "before": before, "after": after}
