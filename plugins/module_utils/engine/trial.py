# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 3, check, of a service whose program has no way to only check its config: it is started with it for a moment.

It runs apart from everything: its folder of configs is a copy with the staged files in it, its data and logs are empty folders in
memory, and it has no network but its own loopback. So only what it says of its config counts; whether it comes up is the gate's
business.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import mask, secret_installs, systemd
from .check import SCRATCH
from .files import Entry, File, make_directory, remove
from .layout import Layout
from .manifest import Trial
from .request import Wanted

_MOMENT = 1  # seconds; Mosquitto has read its config after some milliseconds
_TIMED_OUT = 124  # how timeout(1) says that the program still ran


def trial(layout: Layout, wanted: Wanted) -> str | None:
    """What the program has against the staged config; None where it has nothing, or nobody asks."""
    about = wanted.manifest.trial
    if about is None:
        return None
    make_directory(layout.run, 0o700)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=layout.run))
    try:
        _copy(layout, wanted, about, scratch / "folder")
        properties = [
            "PrivateNetwork=yes",
            "PrivateTmp=yes",
            f"BindPaths={scratch / 'folder'}:{about.folder}",
            f"TemporaryFileSystem={' '.join(about.emptied)}",
        ]
        done = systemd.run_apart(
            f"muster-trial-{wanted.manifest.name}-{os.getpid()}",
            properties,
            ["timeout", str(_MOMENT), *about.run],
            _MOMENT + 30,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if done.returncode == _TIMED_OUT:
        return None
    said = complaints(f"{done.stdout}\n{done.stderr}", about.refused)
    hide = mask.secret_values({wanted.manifest.key: wanted.secrets})
    return mask.masked("\n".join([f"{about.run[0]} refuses the config:", *said]), hide) if said else None


def complaints(output: str, refused: str) -> Sequence[str]:
    """The lines that tell of errors, where one says by the words `refused` that it is the config's."""
    lines = [line for line in output.splitlines() if "error" in line.lower()]
    return lines if any(refused in line for line in lines) else []


def _copy(layout: Layout, wanted: Wanted, about: Trial, copy: Path) -> None:
    """The folder as it will be: what stands there, with the files of the release in their places."""
    folder = layout.on_host(about.folder)
    shutil.copytree(folder, copy, symlinks=True)
    document = wanted.manifest
    entries: dict[Path, Entry | None] = {
        **{
            layout.on_host(one.path): File(wanted.texts[one.file].encode(), one.mode, one.group)
            for one in document.installs
        },
        **secret_installs.entries(layout, document, wanted.secrets_text),
    }
    for path, entry in entries.items():
        if entry is not None and folder in path.parents:
            place = copy / path.relative_to(folder)
            make_directory(place.parent)
            remove(place)
            entry.make(place)
