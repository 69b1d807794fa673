# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What rounds of health checks know from the rounds before, so that a round costs next to nothing where nothing happened.

To have systemd describe hundreds of units takes it a while, and so it does to read their manifests.

For every unit that is up systemd keeps a link whose target is the id of its start. It goes with the process, and the next start
has another. A unit that is about to stop, or waits for its next start, still has it: who does not answer is asked about anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from . import manifest, systemd
from .files import read_link
from .layout import Layout
from .manifest import Manifest
from .systemd import Unit

_Identity = tuple[int, int, int]


class Known:
    """Of one host, by one process."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._units: dict[str, Unit] = {}
        self._manifests: dict[str, tuple[_Identity, Manifest]] = {}

    def show(self, names: Sequence[str]) -> dict[str, Unit]:
        """As `systemd.show`. Units that are not asked for are forgotten."""
        known = {name: self._units[name] for name in names if self._is_the_same(name)}
        self._units = {**known, **systemd.show([name for name in names if name not in known])}
        return {name: self._units[name] for name in names}

    def show_again(self, names: Iterable[str]) -> dict[str, Unit]:
        """The same, whatever is known already."""
        found = systemd.show(list(names))
        self._units.update(found)
        return found

    def read(self, layout: Layout, key: str, release: str) -> Manifest:
        """As `manifest.read`, of a file that was not touched since."""
        path = layout.release(key, release) / manifest.FILE_NAME
        try:
            found = os.stat(path)
        except OSError:
            return manifest.read(layout, key, release)  # which says what is wrong
        identity = (found.st_ino, found.st_mtime_ns, found.st_size)
        before = self._manifests.get(key)
        if before is None or before[0] != identity or before[1].release != release:
            before = self._manifests[key] = (identity, manifest.read(layout, key, release))
        return before[1]

    def _is_the_same(self, name: str) -> bool:
        unit = self._units.get(name)
        if unit is None or not unit.running or unit.job:
            return False
        return read_link(self._layout.invocations / f"invocation:{name}") == unit.invocation
