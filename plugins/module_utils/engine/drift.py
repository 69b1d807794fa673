# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drift: what somebody changed on the host by hand, by SHA-256 against the manifest of the current release."""

from __future__ import annotations

import platform
import stat
from dataclasses import dataclass
from pathlib import Path

from . import hold, manifest, secret_files, secret_installs
from .compare import current_release
from .files import sha256_file
from .layout import Layout
from .manifest import Manifest
from .releases import Hasher
from .state import State
from .systemd import Unit


@dataclass(frozen=True)
class Drift:
    """One thing that is not as it was released. `expected` and `found` are SHA-256 where both can be told."""

    what: str  # unit, config, env, runtime, link, secrets, masked, not enabled, or the name of another file
    path: str
    detail: str
    expected: str | None = None
    found: str | None = None


def drift(layout: Layout, state: State, document: Manifest, unit: Unit, hash_file: Hasher) -> list[Drift]:
    """All of one workload; `document` is the manifest of its current release."""
    return [
        *_link(layout, document.key, state.release(document.key)),
        *_files(layout, document),
        *_runtime(layout, document, hash_file),
        *_installs(layout, document, unit),
        *_secrets(layout, document, state),
        *_service(layout, document, unit),
    ]


def _link(layout: Layout, key: str, recorded: str | None) -> list[Drift]:
    linked = current_release(layout, key)
    if linked == recorded:
        return []
    detail = f"points at {linked}" if linked else "missing"
    return [Drift("link", str(layout.current(key)), f"{detail}; {recorded} was released")]


def _files(layout: Layout, document: Manifest) -> list[Drift]:
    directory = layout.release(document.key, document.release)
    return [
        _altered("config" if name in document.configs else name, directory / name, document.files.get(name))
        for name in manifest.altered(directory, document)
    ]


def _altered(what: str, path: Path, expected: str | None) -> Drift:
    found = sha256_file(path)
    return Drift(what, str(path), "altered" if found else "missing", expected, found)


def _runtime(layout: Layout, document: Manifest, hash_file: Hasher) -> list[Drift]:
    digest = document.digest(platform.machine())
    path = layout.runtime(digest) / "program" if digest else None
    return [_altered("runtime", path, digest)] if path and hash_file(path) != digest else []


def _installs(layout: Layout, document: Manifest, unit: Unit) -> list[Drift]:
    found = []
    for install in document.installs:
        path = layout.on_host(install.path)
        if unit.masked and path.name == unit.name:
            continue  # said once, as `masked`
        if sha256_file(path) != document.files[install.file]:
            what = "unit" if path.name == unit.name else install.file
            found.append(_altered(what, path, document.files[install.file]))
    return found


def _secrets(layout: Layout, document: Manifest, state: State) -> list[Drift]:
    """Of secrets only the names are told."""
    found = secret_files.names(layout, document.key)
    # Releases of older versions do not say what they need.
    needed = set(document.secrets) if "secrets" in document.raw else found
    details = [f"{name} is missing" for name in sorted(needed - found)]
    details += [f"{name} was added" for name in sorted(found - needed)]
    if not details and not secret_files.intact(layout, state, document.key):
        details.append("altered")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in secret_files.files(layout, document.key)]
    if any(mode & 0o077 for mode in modes):
        details.append("others than root may read it")
    if details:
        return [Drift("secrets", str(secret_files.place(layout, document)), "; ".join(details))]
    return [
        Drift("secrets", str(path), "altered" if path.exists() else "missing")
        for path in (layout.on_host(one.path) for one in secret_installs.altered(layout, document))
    ]


def _service(layout: Layout, document: Manifest, unit: Unit) -> list[Drift]:
    if unit.masked:
        return [Drift("masked", unit.name, "systemctl unmask undoes it, and so does a deploy")]
    found = []
    if unit.load != "not-found" and not unit.enabled:
        found.append(Drift("not enabled", unit.name, "it will not start at the next boot"))
    if unit.need_reload:
        found.append(Drift("unit", unit.name, "systemd has not read it since it changed"))
    return found


def overrides(layout: Layout, document: Manifest | None, unit: Unit) -> list[str]:
    """Drop-ins that other people made (`systemctl edit`, `set-property`): shown, never touched, and no drift."""
    ours = {
        str(hold.drop_in(layout, unit.name)),
        *(one.path for one in (document.installs if document else ())),
    }
    return [path for path in unit.drop_ins if path not in ours and _is_of_people(path)]


def _is_of_people(path: str) -> bool:
    """Neither a package's own nor one for all services of the machine, such as LXC's."""
    return path.startswith(("/etc/", "/run/")) and Path(path).parent.name != "service.d"
