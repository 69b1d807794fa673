# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What health checks remember: all of it in /run, and what must outlive a reboot once more on the disk.

The disk is written to only when that changes, so looking every few seconds wears none. Where it is full, /run still knows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import make_directory, read_bytes, write
from .health import Record, Track
from .layout import Layout

_FILE = "health.json"


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


def keep(layout: Layout, memory: Memory) -> str:
    """Raises OSError where not even /run can be written to; returns why the disk could not, or ""."""
    make_directory(layout.run, 0o700)
    records = {key: dataclasses.asdict(one) for key, one in memory.records.items()}
    write(layout.run / _FILE, _document({**dataclasses.asdict(memory), "records": records}), 0o600)
    try:
        write(layout.lib / _FILE, _document({"records": records}), 0o600)
    except OSError as error:
        return f"{layout.lib / _FILE}: {error.strerror}; a reboot would forget what health checks know"
    return ""


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(ValueError, OSError, RecursionError):
        found = json.loads(read_bytes(path) or b"{}")
        if isinstance(found, dict):
            return found
    return {}
