# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What health checks remember: all of it in /run, and what must outlive a reboot once more on the disk.

The disk is written to only when that changes, so looking every few seconds wears none. Where it is full, /run still knows.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import make_directory, read_bytes, write
from .health import DEAF, STUCK, Record, Track
from .layout import Layout
from .systemd import Unit

_FILE = "health.json"
# Rounds that may fail to come before it is said that nobody looks: a slow round (an agent that lets probes hang, somebody who
# is being told) delays the next.
_MISSED = 3
_SLOWEST = 60.0


@dataclass
class Memory:
    """By workload (`agents/writer`) and broker (its URL). `at` is when it was last looked, in seconds since the epoch, and
    `every` how often that is, in seconds.

    `notes`: what there is to say of an agent beside its state. `failures`: of a broker, in a row.
    """

    at: float = 0.0
    every: float = 0.0
    tracks: dict[str, Track] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


def recall(layout: Layout) -> Memory:
    """What can be read of it; the rest is learned again within a minute."""
    brief = _read(layout.run / _FILE)
    memory = Memory()
    for document in (_read(layout.lib / _FILE), brief):
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            memory.records = {
                key: _record(one) for key, one in document.get("records", memory.records).items()
            }
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        memory.at, memory.every = float(brief.get("at", 0.0)), float(brief.get("every", 0.0))
        memory.notes = dict(brief.get("notes", {}))
        memory.failures = dict(brief.get("failures", {}))
        memory.tracks = {key: Track(**one) for key, one in brief.get("tracks", {}).items()}
    return memory


def _record(raw: Record | Mapping[str, Any]) -> Record:
    if isinstance(raw, Record):
        return raw
    return Record(**{**raw, "restarts": tuple(map(float, raw.get("restarts", ())))})


def fresh(memory: Memory, now: float) -> bool:
    """Whether somebody looks: the last round is not too long ago. `now` in seconds since the epoch."""
    return 0 <= now - memory.at < _MISSED * memory.every + _SLOWEST


def illness(memory: Memory, key: str, unit: Unit) -> tuple[str, str]:
    """What was found of the process that runs, and why, though it may answer that it is ready: stuck or deaf. ("", "") where
    nothing was, also where nobody looks or that was another process."""
    record, track = memory.records.get(key, Record()), memory.tracks.get(key, Track())
    known = fresh(memory, time.time()) and track.invocation == unit.invocation
    began = time.time() - (time.monotonic() - unit.active_since)
    if not known or record.state not in (STUCK, DEAF) or record.since < began:
        return "", ""
    return record.state, record.reason


def keep(layout: Layout, memory: Memory) -> str:
    """Raises OSError where not even /run can be written to; returns why the disk could not, or ""."""
    make_directory(layout.run, 0o700)
    records = {key: vars(one) for key, one in memory.records.items()}
    tracks = {key: vars(one) for key, one in memory.tracks.items()}
    write(layout.run / _FILE, _document({**vars(memory), "records": records, "tracks": tracks}), 0o600)
    try:
        write(layout.lib / _FILE, _document({"records": records}), 0o600)
    except OSError as error:
        return f"{layout.lib / _FILE}: {error.strerror}; a reboot would forget what health checks know"
    return ""


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode() + b"\n"


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(ValueError, OSError, RecursionError):
        found = json.loads(read_bytes(path) or b"{}")
        if isinstance(found, dict):
            return found
    return {}
