# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What health checks remember: counts until the next reboot in /run, what was found and done beyond it.

What lasts is written only when it changes, so that looking every few seconds wears no disk.
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
    """By workload (`agents/writer`) and broker (its URL). `at` is when it was last looked, in seconds since the epoch.

    `notes`: what there is to say of an agent beside its state. `failures`: of a broker, in a row.
    """

    at: float = 0.0
    tracks: dict[str, Track] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


def recall(layout: Layout) -> Memory:
    """What can be read of it; the rest is learned again within a minute."""
    brief, lasting = _read(layout.run / _FILE), _read(layout.lib / _FILE)
    memory = Memory()
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        memory.records = {
            key: Record(**{**one, "restarts": tuple(map(float, one.get("restarts", ())))})
            for key, one in lasting.get("records", {}).items()
        }
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        memory.at = float(brief.get("at", 0.0))
        memory.notes = dict(brief.get("notes", {}))
        memory.failures = dict(brief.get("failures", {}))
        memory.tracks = {key: Track(**one) for key, one in brief.get("tracks", {}).items()}
    return memory


def keep(layout: Layout, memory: Memory) -> None:
    """Raises OSError where it cannot be written."""
    make_directory(layout.run, 0o700)
    tracks = {key: dataclasses.asdict(one) for key, one in memory.tracks.items()}
    brief = {"at": memory.at, "notes": memory.notes, "failures": memory.failures, "tracks": tracks}
    write(layout.run / _FILE, _document(brief), 0o600)
    records = {key: dataclasses.asdict(one) for key, one in memory.records.items()}
    write(layout.lib / _FILE, _document({"records": records}), 0o600)


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(ValueError, OSError, RecursionError):
        found = json.loads(read_bytes(path) or b"{}")
        if isinstance(found, dict):
            return found
    return {}
