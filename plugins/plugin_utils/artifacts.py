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
    if not artifact.get("src"):
        return _downloaded(digest, str(artifact["url"]))
    path = Path(artifact["src"]).expanduser()
    if not path.is_file():
        raise _wrong(str(path), "no such runtime file on the controller")
    _refuse_another(digest, path, str(path))
    return path


def _downloaded(digest: str, url: str) -> Path:
    """From the cache, or from there. What is in the cache has the digest that it is called by, unless somebody altered it."""
    path = cache_directory() / "runtimes" / digest
    try:
        if path.is_file():
            try:
                _refuse_another(digest, path, url)
            except InputError:
                path.unlink(missing_ok=True)
                raise
        else:
            _download(digest, url, path)
    except OSError as error:
        raise _wrong(url, f"could not be kept in {path.parent}: {error.strerror or error}") from None
    return path


def _download(digest: str, url: str, path: Path) -> None:
    # Only here: they take longer to import than a run that downloads nothing should spend.
    from http.client import HTTPException

    from ansible.module_utils.urls import open_url

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    # Other processes may be after the same file: each has its own until it is known to be right.
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            try:
                with open_url(url, timeout=60) as answer:
                    for block in iter(lambda: answer.read(_BLOCK), b""):
                        stream.write(block)
            except (OSError, HTTPException, ValueError) as error:
                raise _wrong(url, f"could not be downloaded: {error}") from None
        _refuse_another(digest, temporary, url)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_another(digest: str, path: Path, where: str) -> None:
    """Raises InputError where the file has another digest."""
    found = file_sha256(path)
    if found != digest:
        raise _wrong(where, f"runtime refused: its SHA-256 is {found}, not {digest}; nothing was installed")


def _wrong(where: str, message: str) -> InputError:
    return InputError([fleet_error("MA423", where, message)])
