# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Unified diffs: what is on the host against what was released, and one release against another."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import drift, manifest, names, releases, secret_files
from .drift import Drift
from .errors import EngineError
from .files import read_bytes, sha256_bytes
from .layout import Layout
from .manifest import Manifest
from .mask import masked
from .state import State
from .status import Seen, look

_HIDDEN = "(hidden, it differs)\n"


def host(layout: Layout, state: State, keys: Iterable[str]) -> list[dict[str, Any]]:
    """One entry for each workload: {"key", "name", "release", "drift": [{what, path, detail, expected, found, diff}],
    "overrides"}. `diff` is "" where the released text is nowhere on the host any more, or must not be shown.
    """
    hash_file = releases.hasher()
    return [_host_one(layout, state, seen, hash_file) for seen in look(layout, state, keys)]


def _host_one(layout: Layout, state: State, seen: Seen, hash_file: releases.Hasher) -> dict[str, Any]:
    document = seen.document
    if document is None:
        path = layout.release(seen.key, releases.current(layout, state, seen.key) or "") / manifest.FILE_NAME
        found = [{**vars(Drift(manifest.FILE_NAME, str(path), seen.damage)), "diff": ""}]
    else:
        found = [
            {**vars(one), "diff": _of_file(layout, document, one)}
            for one in drift.drift(layout, state, document, seen.unit, hash_file)
        ]
    return {
        "key": seen.key,
        "name": names.name_of(seen.key),
        "release": releases.current(layout, state, seen.key),
        "drift": found,
        "overrides": drift.overrides(layout, document, seen.unit),
    }


def _of_file(layout: Layout, document: Manifest, one: Drift) -> str:
    """What somebody changed in a file, where its released text is still to be found."""
    by_digest = {digest: name for name, digest in document.files.items()}
    name = by_digest.get(one.expected or "")
    if name is None or name in document.hidden:
        return ""
    released = _released(layout, document, name)
    if released is None:
        return ""
    now = _text(read_bytes(Path(one.path)))
    # Somebody may have written a secret by hand where none belongs.
    return masked(
        _unified(f"released/{name}", one.path, released, now), secret_files.hide(layout, document.key)
    )


def _released(layout: Layout, document: Manifest, name: str) -> str | None:
    """The text of a released file, from any place that still has it: the release, where it was installed, another release."""
    places = [layout.release(document.key, document.release) / name]
    places += [layout.on_host(install.path) for install in document.installs if install.file == name]
    places += sorted(layout.releases(document.key).glob(f"*/{name}"))
    for path in places:
        data = read_bytes(path)
        if data is not None and sha256_bytes(data) == document.files[name]:
            return _text(data)
    return None


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _unified(before_name: str, after_name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(_lines(before), _lines(after), before_name, after_name, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _lines(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [*lines, f"{last} (no line end)"] if last else lines


def between(layout: Layout, key: str, old: str, new: str) -> dict[str, Any]:
    """{"key", "name", "from", "to", "files": [{"file", "diff"}]} of two releases. Secrets are in none.

    Raises EngineError where one of them is damaged.
    """
    before, after = _whole(layout, key, old), _whole(layout, key, new)
    hidden = before.hidden | after.hidden
    files = []
    for name in sorted({*before.files, *after.files}):
        if before.files.get(name) == after.files.get(name):
            continue
        texts = [
            _text(read_bytes(layout.release(key, one) / name)) if name not in hidden else hint
            for one, hint in ((old, ""), (new, _HIDDEN))
        ]
        files.append({"file": name, "diff": _unified(f"{old}/{name}", f"{new}/{name}", *texts)})
    about = _unified(
        f"{old}/{manifest.FILE_NAME}", f"{new}/{manifest.FILE_NAME}", *map(_about, (before, after))
    )
    files += [{"file": manifest.FILE_NAME, "diff": about}] if about else []
    return {"key": key, "name": names.name_of(key), "from": old, "to": new, "files": files}


def _whole(layout: Layout, key: str, release: str) -> Manifest:
    document = manifest.read(layout, key, release)
    altered = manifest.altered(layout.release(key, release), document)
    if altered:
        raise EngineError(f"release {release}: {', '.join(altered)} altered since it was staged")
    return document


def _about(document: Manifest) -> str:
    """How a release is run and judged; the digests of its files are told by their own diffs."""
    return manifest.canonical({name: one for name, one in document.raw.items() if name != "files"}).decode()


def host_text(found: Iterable[Mapping[str, Any]]) -> str:
    return "".join(map(_host_text, found)) or "nothing differs from what was released\n"


def _host_text(entry: Mapping[str, Any]) -> str:
    parts = []
    for one in entry["drift"]:
        parts.append(f"{entry['name']}: {one['what']}: {one['path']}: {one['detail']}\n")
        if one["diff"]:
            parts.append(one["diff"])
        elif one["expected"]:
            parts.append(
                f"    expected SHA-256 {one['expected']}\n    found    {one['found'] or 'nothing'}\n"
            )
    parts += [f"{entry['name']}: override, left alone: {path}\n" for path in entry["overrides"]]
    return "".join(parts)


def between_text(found: Mapping[str, Any]) -> str:
    return "".join(one["diff"] for one in found["files"]) or "the two releases are equal\n"
