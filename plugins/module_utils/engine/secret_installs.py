# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that a service reads from files of its own, such as a broker's key: put there from its file of secrets.

Like all secrets they lie in no release. `secret_files.py` says where the file of secrets is.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from . import envfile
from .errors import EngineError
from .files import File, read_bytes
from .layout import Layout
from .manifest import Install, Manifest
from .room import Need


def entries(layout: Layout, document: Manifest, secrets_text: str | None) -> dict[Path, File | None]:
    """What is to be at the places of a release's secrets: from its file of secrets, where each is in base64.

    None where there is no such file of secrets, so nothing is to be there. Raises EngineError naming what it lacks.
    """
    values = envfile.parse(secrets_text or "")
    found: dict[Path, File | None] = {}
    for one in document.secret_installs:
        path = layout.on_host(one.path)
        if secrets_text is None:
            found[path] = None
            continue
        try:
            found[path] = File(base64.b64decode(values[one.file], validate=True), one.mode, one.group)
        except (KeyError, binascii.Error):
            raise EngineError(f"{one.path}: the secret {one.file} is not there, or not in base64") from None
    return found


def altered(layout: Layout, document: Manifest) -> list[Install]:
    """Those that do not hold what the host's file of secrets says. None where that file itself was altered: it is told
    of that one, and nothing can be said of the others.
    """
    data = read_bytes(layout.secrets_file(document.key)) if document.secret_installs else None
    try:
        there = entries(layout, document, data.decode("utf-8", "replace") if data is not None else None)
    except EngineError:
        return []
    found = {path for path, entry in there.items() if entry is not None and not entry.is_at(path)}
    return [one for one in document.secret_installs if layout.on_host(one.path) in found]


def needs(layout: Layout, document: Manifest, secrets_text: str | None) -> list[Need]:
    """Room for what `entries` tells of, there and back: none is longer than all secrets together."""
    size = len((secrets_text or "").encode())
    return [Need(layout.on_host(one.path).parent, 2 * size, 2) for one in document.secret_installs]
