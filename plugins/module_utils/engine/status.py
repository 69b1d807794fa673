# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs here, as seen now: the files, systemd, and the agent's own answer."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any

from . import envfile, manifest, systemd
from .compare import current_release
from .errors import EngineError
from .files import read_bytes
from .gate import probe
from .layout import Layout
from .manifest import Manifest
from .mask import masked, secret_values
from .state import load


def status(layout: Layout) -> list[dict[str, Any]]:
    """One entry for each workload; `ready` is what it answered just now, `detail` says why not."""
    state = load(layout)
    found = [_read(layout, key) for key in sorted(state.workloads)]
    units = systemd.show([entry["unit"] for entry in state.workloads.values()])
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(lambda item: probe(item[1].gate) if item[1] else item[2], found))
    entries = []
    for (key, document, damage), answer in zip(found, answers):
        unit = units[state.workloads[key]["unit"]]
        ready = answer == "" and unit.running
        entries.append(
            {
                "kind": key.partition("/")[0].rstrip("s"),
                "name": key.partition("/")[2],
                "base": state.workloads[key].get("base"),
                "agent_id": document.gate.agent_id if document else None,
                "release": current_release(layout, key),
                "config_sha256": document.files.get(document.config or "") if document else None,
                "unit": unit.name,
                "state": unit.active if unit.load != "not-found" else "missing",
                "ready": ready,
                "uptime_seconds": round(time.monotonic() - unit.active_since) if unit.running else 0,
                "restarts": unit.restarts,
                "port": document.gate.port if document else None,
                "detail": ""
                if ready
                else _masked(layout, key, damage or answer or f"unit is {unit.active} ({unit.sub})"),
            }
        )
    return entries


def _read(layout: Layout, key: str) -> tuple[str, Manifest | None, str]:
    try:
        return key, manifest.read(layout, key, current_release(layout, key) or ""), ""
    except EngineError as error:
        return key, None, str(error)


def _masked(layout: Layout, key: str, text: str) -> str:
    """What an agent answers may hold anything, also its own secrets."""
    secrets = envfile.parse((read_bytes(layout.secrets_file(key)) or b"").decode("utf-8", "replace"))
    return masked(text, secret_values({key: secrets}))
