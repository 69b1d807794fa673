# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engine remembers between runs: `state.json`, and one line per outcome in `history.jsonl`.

A transaction that is open must be closed also when the disk has filled up meanwhile. So state.json is never written to
space that must first be found: a second file of the same size, padded with blanks, lies ready beside it. It is
overwritten in place, synced and renamed over state.json, and the file that was state.json becomes the next spare one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import VERSION
from .errors import EngineError
from .files import File, beside, fsync_directory, make_directory, remove
from .layout import RELEASE_ID, Layout

FORMAT = 2
_OLDEST_FORMAT = 1  # had no digests of secrets, and transactions without the list of their files
_REMEDY = "Nothing was changed. Move it away and deploy again: what runs is recorded anew, and not restarted"
_SMALLEST = 32768  # bytes: room for the states of about forty agents, twice
_HISTORY_BYTES = 4 << 20


@dataclass
class State:
    """What is current and proven, and the unfinished transaction if there is one.

    `workloads`: key → {"release", "proven": [ids, newest last], "unit", "base", "agent_id", "secrets": digest},
    and with encrypted secrets "sealed", the digest of their files.
    `transaction`: {"began", "via", "who", "before": {key: release or None}, "after": {key: release},
    "touched": {key: see `transaction.py`}}.
    `salt` makes the digests of secrets useless anywhere else.
    """

    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    transaction: dict[str, Any] | None = None
    salt: str = field(default_factory=lambda: secrets.token_hex(16))

    def release(self, key: str) -> str | None:
        found = self.workloads.get(key, {}).get("release")
        return str(found) if found else None

    def proven(self, key: str) -> list[str]:
        return list(self.workloads.get(key, {}).get("proven", []))

    def digest(self, text: str | None) -> str:
        """Of a secrets file, to tell a rotation from an edit by hand; "" where there is no file."""
        if text is None:
            return ""
        return hmac.new(self.salt.encode(), text.encode(), hashlib.sha256).hexdigest()


def load(layout: Layout) -> State:
    """Read state.json; a host that never had one has an empty state. Raises EngineError where it cannot be trusted."""
    path = layout.state
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return State()
    except (ValueError, OSError, RecursionError) as error:
        raise EngineError(f"{path}: cannot be read ({error}). {_REMEDY}") from None
    if not isinstance(document, dict):
        raise EngineError(f"{path}: not a state file. {_REMEDY}")
    known = document.get("format")
    if not isinstance(known, int) or isinstance(known, bool) or known < _OLDEST_FORMAT:
        raise EngineError(f"{path}: not a state file (its format is {known!r}). {_REMEDY}")
    if known > FORMAT:
        raise EngineError(
            f"{path}: written by muster {document.get('engine', '?')} in format {known}; this is muster {VERSION}, "
            f"which knows format {FORMAT}. Nothing was changed. Deploy with the collection that wrote it, or a newer one"
        )
    fault = _fault(document)
    if fault:
        raise EngineError(f"{path}: {fault}. {_REMEDY}")
    state = State(document["workloads"], document.get("transaction"))
    state.salt = document.get("salt") or state.salt
    return state


def _fault(document: Mapping[str, Any]) -> str | None:
    """What is wrong with a document in a known format."""
    if not isinstance(document.get("workloads"), dict):
        return "not a state file (it has no `workloads`)"
    for key, entry in document["workloads"].items():
        if not isinstance(entry, dict) or not isinstance(entry.get("proven", []), list):
            return f"the entry of {key} is not one"
        if not all(_is_release(one) for one in (entry.get("release"), *entry.get("proven", []))):
            return f"the entry of {key} names a release that is none"
        if not isinstance(entry.get("unit"), str):
            return f"the entry of {key} names no unit"
    if not isinstance(document.get("salt", ""), str):
        return "its `salt` is no text"
    transaction = document.get("transaction")
    if transaction is None:
        return None
    parts = ("before", "after") if isinstance(transaction, dict) else ()
    if not parts or not all(isinstance(transaction.get(part), dict) for part in parts):
        return "its `transaction` is not one"
    if set(transaction["before"]) != set(transaction["after"]):
        return "its `transaction` does not name the same agents before and after"
    touched = transaction.get("touched", {})
    if not isinstance(touched, dict) or not all(isinstance(one, dict) for one in touched.values()):
        return "its `transaction` does not say what it touched"
    return None


def _is_release(value: Any) -> bool:
    return isinstance(value, str) and RELEASE_ID.fullmatch(value) is not None


def save(layout: Layout, state: State) -> None:
    """Replace state.json. Cannot fail for want of space after `make_ready`."""
    data = _document(state)
    spare = reserve(layout, state)
    with spare.open("r+b") as stream:
        # The blanks stay: JSON does not mind them, and a file that was cut would have to find its space again.
        stream.write(data.ljust(spare.stat().st_size - 1) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    old = beside(layout.state, "old")
    with contextlib.suppress(OSError):  # then there is no spare one left, and the next `reserve` makes one
        remove(old)
        os.link(layout.state, old)
    os.replace(spare, layout.state)
    with contextlib.suppress(OSError):
        os.replace(old, spare)
    fsync_directory(layout.lib)


def make_ready(layout: Layout, state: State) -> None:
    """See that this state, once saved, can be saved again and again on a full disk. Raises OSError where it cannot."""
    margin = len(_document(state)) // 4 + 4096  # what a commit adds
    reserve(layout, state, margin)
    try:
        size = layout.state.stat().st_size
    except FileNotFoundError:
        size = 0
    if size < len(_document(state)) + margin:
        # It becomes the spare file when it is replaced, so it must be large enough too.
        save(layout, State(state.workloads, None, state.salt))
        reserve(layout, state, margin)


def reserve(layout: Layout, state: State, margin: int = 1) -> Path:
    """See that there is a spare file with room for this state and more; returns its path. Raises OSError if not."""
    make_directory(layout.lib, 0o711)
    path = layout.lib / "state.spare"
    needed = len(_document(state)) + margin
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        # A kill in the middle of `save` may have left a second name of state.json itself.
        if found.st_size >= needed and found.st_nlink == 1:
            return path
    temporary = beside(path, secrets.token_hex(4))
    try:
        # Written, not only allocated: to write again what was written once needs no space on any file system in place.
        File(b" " * max(_SMALLEST, 2 * needed), 0o600).make(temporary)
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise
    fsync_directory(layout.lib)
    return path


def _document(state: State) -> bytes:
    document = {
        "format": FORMAT,
        "engine": VERSION,
        "salt": state.salt,
        "workloads": state.workloads,
        "transaction": state.transaction,
    }
    return json.dumps(document, indent=1, sort_keys=True).encode()


def record(layout: Layout, entry: Mapping[str, Any]) -> str:
    """Append one line to the history. Returns "" or, where that failed, a warning: it is no reason to stop."""
    line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **entry}, sort_keys=True)
    try:
        _append(layout.history, line.encode() + b"\n")
    except OSError as error:
        return f"{layout.history}: not written ({error.strerror}); {entry.get('name')} is not in the history of this host"
    return ""


def _append(path: Path, line: bytes) -> None:
    """All of the line or nothing of it."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _HISTORY_BYTES:
            os.replace(path, path.with_name(f"{path.name}.1"))
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # a power loss tore the last one
        try:
            if os.write(handle, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


def released_before(layout: Layout, key: str) -> list[str]:
    """Releases of a workload that the history knows as proven, newest last: for a state that was lost."""
    found: list[str] = []
    for path in (layout.history.with_name(f"{layout.history.name}.1"), layout.history):
        with contextlib.suppress(OSError):
            for line in path.read_text("utf-8", "replace").splitlines():
                found += _proven_by(line, key)
    return list(dict.fromkeys(reversed(found)))[::-1]


def _proven_by(line: str, key: str) -> list[str]:
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        if (
            isinstance(entry, dict)
            and entry.get("key") == key
            and entry.get("result") in ("released", "reverted")
        ):
            return [entry["after"]] if _is_release(entry.get("after")) else []
    return []
