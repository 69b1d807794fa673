# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that a service reads from files of its own, such as a broker's key: they lie beside releases, like all secrets."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from . import envfile
from .errors import EngineError
from .files import File
from .layout import Layout
from .manifest import Manifest


def entries(layout: Layout, document: Manifest, secrets_text: str | None) -> dict[Path, File | None]:
    """What is to be at the places of a release's secret files: from its file of secrets, where each is in base64.

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
