# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engine remembers between runs: `state.json`, and one line per outcome in `history.jsonl`."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

from .errors import EngineError
from .files import make_directory, write
from .layout import Layout

FORMAT = 1
_REMEDY = "Move it away and deploy again: what runs is recorded anew"


@dataclass
class State:
    """What is current and proven, and the unfinished transaction if there is one.

    `workloads`: key → {"release", "proven": [ids, newest last], "unit", "base", "agent_id"}.
    `transaction`: {"began", "before": {key: release or None}, "after": {key: release}}.
    """

    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    transaction: dict[str, Any] | None = None

    def release(self, key: str) -> str | None:
        found = self.workloads.get(key, {}).get("release")
        return str(found) if found else None

    def proven(self, key: str) -> list[str]:
        return list(self.workloads.get(key, {}).get("proven", []))


def load(layout: Layout) -> State:
    """Read state.json; a host that never had one has an empty state. Raises EngineError where it cannot be trusted."""
    try:
        document = json.loads(layout.state.read_text("utf-8"))
    except FileNotFoundError:
        return State()
    except (ValueError, OSError) as error:
        raise EngineError(
            f"{layout.state}: cannot be read ({error}); nothing was changed. {_REMEDY}"
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("workloads"), dict):
        raise EngineError(f"{layout.state}: not a state file; nothing was changed. {_REMEDY}")
    if document.get("format") != FORMAT:
        raise EngineError(
            f"{layout.state}: written in format {document.get('format')}, this engine knows {FORMAT}; "
            "deploy with the collection that wrote it, or a newer one"
        )
    return State(document["workloads"], document.get("transaction"))


def save(layout: Layout, state: State) -> None:
    make_directory(layout.lib, 0o711)
    document = {"format": FORMAT, "workloads": state.workloads, "transaction": state.transaction}
    write(layout.state, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n", 0o600)


def record(layout: Layout, entry: dict[str, Any]) -> None:
    """Append one line to the history."""
    line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **entry}, sort_keys=True) + "\n"
    handle = os.open(layout.history, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
