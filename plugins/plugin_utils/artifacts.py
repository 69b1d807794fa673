# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runtime artifacts on the controller: found or downloaded, and never handed on without the right digest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.muster.agents.plugins.plugin_utils.checked_before import cache_directory
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import InputError, fleet_error
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import file_sha256

_BLOCK = 1 << 20


def local_file(digest: str, artifact: Mapping[str, Any]) -> Path:
    """A file on the controller with this digest. Raises InputError where there is none."""
    if artifact.get("src"):
        path = Path(artifact["src"]).expanduser()
        where = str(path)
        if not path.is_file():
            raise InputError([fleet_error("MA423", where, "no such runtime file on the controller")])
    else:
        where = str(artifact["url"])
        path = cache_directory() / "runtimes" / digest
        if not path.is_file():
            _download(where, path)
    found = file_sha256(path)
    if found != digest:
        if not artifact.get("src"):
            path.unlink()
        raise InputError(
            [
                fleet_error(
                    "MA423",
                    where,
                    f"runtime refused: its SHA-256 is {found}, not {digest}; nothing was installed",
                )
            ]
        )
    return path


def _download(url: str, path: Path) -> None:
    # Only here: they take longer to import than a run that downloads nothing should spend.
    from http.client import HTTPException

    from ansible.module_utils.urls import open_url

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream, open_url(url, timeout=60) as answer:
            for block in iter(lambda: answer.read(_BLOCK), b""):
                stream.write(block)
        os.replace(temporary, path)
    except (OSError, HTTPException, ValueError) as error:
        os.unlink(temporary)
        raise InputError([fleet_error("MA423", url, f"could not be downloaded: {error}")]) from None
