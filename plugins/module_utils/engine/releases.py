# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The releases on this host, and which one a person means."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import manifest
from .compare import current_release
from .errors import EngineError
from .files import sha256_file
from .layout import RELEASE_ID, Layout
from .manifest import Manifest
from .names import keys_of, name_of
from .state import State, load
from .table import moment, table, written

Hasher = Callable[[Path], "str | None"]
SHORTEST_PREFIX = 4
_HEADER = ("AGENT", "RELEASE", "MARKS", "STAGED", "RUNTIME", "CONFIG")


def hasher() -> Hasher:
    """SHA-256 of files, each read once: many agents share one runtime."""
    return functools.lru_cache(maxsize=None)(sha256_file)


def on_disk(layout: Layout, key: str) -> list[str]:
    """Ids of the release directories, whole or not, the last staged first."""
    directory = layout.releases(key)
    found = (
        [path for path in directory.iterdir() if RELEASE_ID.fullmatch(path.name)]
        if directory.is_dir()
        else []
    )
    return [path.name for path in sorted(found, key=lambda path: (_staged(path), path.name), reverse=True)]


def current(layout: Layout, state: State, key: str) -> str | None:
    return current_release(layout, key) or state.release(key)


def proven(layout: Layout, state: State, key: str) -> list[str]:
    """Proven releases that are still on disk, newest last."""
    return [release for release in state.proven(key) if layout.release(key, release).is_dir()]


def previous(layout: Layout, state: State, key: str) -> str | None:
    """What a rollback goes back to: the newest proven release that is not the current one."""
    others = [one for one in proven(layout, state, key) if one != current(layout, state, key)]
    return others[-1] if others else None


def resolve(layout: Layout, state: State, key: str, target: str) -> str:
    """The one release whose id is `target` or begins with it; "" is the previous proven one.

    Raises EngineError, with the releases that there are, where it is none or several.
    """
    if not target:
        found = previous(layout, state, key)
        if found is None:
            raise EngineError(f"has no proven release to go back to; {_there_are(layout, state, key)}")
        return found
    if len(target) < SHORTEST_PREFIX:
        raise EngineError(
            f"{target!r} is too short for a release; give {SHORTEST_PREFIX} digits of its id or more"
        )
    candidates = [one for one in on_disk(layout, key) if one.startswith(target)]
    if not candidates:
        raise EngineError(f"has no release {target!r}; {_there_are(layout, state, key)}")
    if len(candidates) > 1:
        raise EngineError(
            f"has {len(candidates)} releases that begin with {target!r}: {', '.join(candidates)}"
        )
    return candidates[0]


def _there_are(layout: Layout, state: State, key: str) -> str:
    words = [
        f"{one['release']} ({', '.join([*_marks(one), 'staged ' + moment(one['staged_at'])])})"
        for one in releases_of(layout, state, key, hasher())
    ]
    return f"there are {'; '.join(words)}" if words else "there is none at all"


def releases(layout: Layout, state: State, keys: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """key → its releases, the last staged first."""
    hash_file = hasher()
    return {key: releases_of(layout, state, key, hash_file) for key in keys}


def named(layout: Layout, asked: Sequence[str]) -> dict[str, Any]:
    """{"releases": key → its releases, "workloads": key → {"name", "base", "agent_id"}} of those with these names, of all
    where none is named. Names of nothing on this host are passed over.
    """
    state = load(layout)
    keys = keys_of(state, asked) if asked else sorted(state.workloads)
    known = {
        key: {"name": name_of(key), **{word: state.workloads[key].get(word) for word in ("base", "agent_id")}}
        for key in keys
    }
    return {"releases": releases(layout, state, keys), "workloads": known}


def releases_of(layout: Layout, state: State, key: str, hash_file: Hasher) -> list[dict[str, Any]]:
    now, before = current(layout, state, key), previous(layout, state, key)
    good = set(proven(layout, state, key))
    return [
        {
            "release": release,
            "current": release == now,
            "proven": release in good,
            "previous": release == before,
            **_contents(layout, key, release, hash_file),
        }
        for release in on_disk(layout, key)
    ]


def _contents(layout: Layout, key: str, release: str, hash_file: Hasher) -> dict[str, Any]:
    directory = layout.release(key, release)
    found: dict[str, Any] = {
        "staged_at": written(_staged(directory)),
        "runtime": None,
        "version": None,
        "whole": False,
        "secrets": {},
    }
    try:
        document = manifest.read(layout, key, release)
        found["whole"] = not damage(layout, document, hash_file)
    except EngineError:
        return found  # not whole: that is all there is to say of it
    found["runtime"] = document.runtime_words
    found["version"] = document.raw.get("version")
    found["secrets"] = {name: dict(source) for name, source in document.secrets.items()}
    return found


def damage(layout: Layout, document: Manifest, hash_file: Hasher) -> str:
    """Why a release on disk cannot run, or "". Raises EngineError where the runtime has nothing for this machine."""
    altered = manifest.altered(layout.release(document.key, document.release), document)
    if altered:
        return f"{', '.join(altered)} altered since it was staged"
    digest = document.digest(platform.machine())
    if digest and document.runtime and hash_file(layout.runtime(digest) / "program") != digest:
        gone = not (layout.runtime(digest) / "program").exists()
        return f"its runtime {document.runtime['name']} {'is gone' if gone else 'was altered'}"
    return ""


def texts(layout: Layout, document: Manifest) -> dict[str, str]:
    """Name → text of the files of a release, as they are on disk."""
    directory = layout.release(document.key, document.release)
    return {name: (directory / name).read_text("utf-8") for name in document.files}


def _staged(directory: Path) -> float:
    """Seconds since the epoch; the manifest is written once, when the release is staged."""
    path = directory / manifest.FILE_NAME
    return (path if path.exists() else directory).stat().st_mtime


def _marks(one: Mapping[str, Any]) -> Sequence[str]:
    words = [word for word in ("current", "previous", "proven") if one[word]]
    return [*words, *([] if one["whole"] else ["damaged"])]


def as_table(found: Mapping[str, list[dict[str, Any]]], width: int | None) -> str:
    rows = [
        (
            name_of(key),
            one["release"],
            " ".join(_marks(one)) or "-",
            moment(one["staged_at"]),
            one["runtime"] or "-",
            str(one["version"] or "-"),
        )
        for key, several in found.items()
        for one in several
    ]
    return table(_HEADER, rows, width)
