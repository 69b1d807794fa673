# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 4, switch: make a staged release the current one on disk. Restarting comes with the gate."""

from __future__ import annotations

from collections.abc import Iterable

from . import manifest, systemd
from .compare import current_release
from .errors import EngineError
from .files import link, make_directory, read_bytes, remove, write
from .layout import Layout
from .manifest import Manifest


def switch(layout: Layout, key: str, release: str, secrets_text: str | None) -> Manifest:
    """Point `current` at the release and install its files and secrets. Safe to repeat."""
    new = whole(layout, key, release)
    directory = layout.release(key, release)
    for path in stale_installs(layout, key, new):
        remove(layout.on_host(path))
    install_secrets(layout, key, secrets_text)
    link(layout.current(key), f"releases/{release}")
    for install in new.installs:
        target = layout.on_host(install.path)
        make_directory(target.parent)
        write(target, (directory / install.file).read_bytes(), install.mode, install.group)
    return new


def whole(layout: Layout, key: str, release: str) -> Manifest:
    """The manifest of a release that is on disk byte for byte. Raises EngineError where it is not."""
    document = manifest.read(layout, key, release)
    directory = layout.release(key, release)
    damaged = manifest.altered(directory, document)
    if damaged:
        raise EngineError(f"{directory}: {', '.join(damaged)} altered since it was staged")
    return document


def stale_installs(layout: Layout, key: str, new: Manifest) -> set[str]:
    """Paths that the current release installed and the new one does not."""
    release = current_release(layout, key)
    if release is None or release == new.release:
        return set()
    try:
        old = manifest.read(layout, key, release)
    except EngineError:
        return set()  # damaged: what it installed is not known, and the new release overwrites what it needs
    return {install.path for install in old.installs} - {install.path for install in new.installs}


def install_secrets(layout: Layout, key: str, text: str | None) -> None:
    path = layout.secrets_file(key)
    if text is None:
        remove(path)
        return
    make_directory(path.parent.parent)
    make_directory(path.parent, 0o700)
    write(path, text.encode(), 0o600)


def keep_secrets(layout: Layout, key: str) -> bool:
    """Set today's secrets aside for a revert; True where there are some."""
    data = read_bytes(layout.secrets_file(key))
    if data is None:
        remove(layout.secrets_before(key))
        return False
    write(layout.secrets_before(key), data, 0o600)
    return True


def forget_secrets(layout: Layout, keys: Iterable[str]) -> None:
    """Only once state.json says that the transaction is over: until then a recovery needs them."""
    for key in keys:
        remove(layout.secrets_before(key))


def take_down(layout: Layout, key: str, document: Manifest) -> None:
    """Stop a workload and take its unit, installs and secrets off the host. Its releases stay."""
    if systemd.show([document.unit])[document.unit].load != "not-found":
        systemd.stop(document.unit)
        systemd.run("systemctl", "--no-reload", "disable", "--", document.unit)
    for install in document.installs:
        remove(layout.on_host(install.path))
    remove(layout.secrets_file(key))
    remove(layout.secrets_before(key))
    remove(layout.current(key))


def register(units: Iterable[str]) -> dict[str, str]:
    """Tell systemd about all new and changed units at once; unit → complaint for those it will not have."""
    complaints = systemd.enable(units)
    systemd.daemon_reload()
    return complaints
