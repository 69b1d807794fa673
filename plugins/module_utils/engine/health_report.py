# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What `muster health` shows: the last results of the health checks. Reads only, and asks no agent."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import VERSION, health, health_memory, health_timer, hold, manifest, names
from .errors import EngineError
from .health import Health, Record, Track
from .layout import KINDS, Layout
from .state import load
from .table import duration, epoch, moment, table, written

_HEADER = ("AGENT", "HEALTH", "SINCE", "LIVE", "READY", "BROKER", "RESTARTS", "NEXT")
_UNKNOWN = "unknown"


def document(layout: Layout, asked: Sequence[str] = ()) -> dict[str, Any]:
    """{"version", "checked", "every", "running", "agents", "brokers"}. Raises EngineError for a name of nothing here."""
    state, memory, now = load(layout), health_memory.recall(layout), time.time()
    keys = names.require(state, asked) if asked else sorted(state.workloads)
    keys = [key for key in keys if key.startswith(KINDS["agent"] + "/")]
    agents = [_agent(layout, key, state.release(key), memory, now) for key in keys]
    urls = {entry["broker"] for entry in agents if entry["broker"]}
    return {
        "version": VERSION,
        "checked": written(memory.at) if memory.at else None,
        "every": memory.every or None,
        "running": not keys or health_memory.fresh(memory, now),
        "agents": agents,
        "brokers": [_broker(url, memory.records.get(url, Record())) for url in sorted(urls)],
    }


def _agent(
    layout: Layout, key: str, release: str | None, memory: health_memory.Memory, now: float
) -> dict[str, Any]:
    record, track = memory.records.get(key, Record()), memory.tracks.get(key, Track())
    how, broker, agent_id, damage = Health(), None, None, ""
    try:
        release_of = manifest.read(layout, key, release or "")
        how, agent_id = release_of.health, release_of.gate.agent_id
        broker = str(release_of.mqtt["url"]) if release_of.mqtt else None
    except EngineError as error:
        damage = str(error)
    upcoming = how.restart.next(record.restarts)
    held = hold.held(layout, key)
    return {
        "name": names.name_of(key),
        "agent_id": agent_id,
        "state": "held" if held else record.state or _UNKNOWN,
        "since": held["since"] if held else written(record.since) if record.state else None,
        "reason": "" if held else damage or record.reason,
        "note": "" if held else memory.notes.get(key, ""),
        "probes": {name: _probe(track, name) for name in (health.ALIVE, health.READY, health.BROKER)},
        "broker": broker,
        "restarts": [written(one) for one in record.restarts if one > now - 24 * health.HOUR],
        "next_restart": None if math.isinf(upcoming) and upcoming > 0 else written(max(upcoming, now)),
        "held": held,
    }


def _probe(track: Track, name: str) -> dict[str, Any]:
    """`said` is None where the process that runs was not asked yet, "" where its last answer was good."""
    asked = track.asked_at.get(name)
    return {
        "said": track.said.get(name),
        "in_a_row": track.bad.get(name, 0),
        "seconds_ago": None if asked is None else round(max(0.0, time.monotonic() - asked), 1),
    }


def _broker(url: str, record: Record) -> dict[str, Any]:
    since = written(record.since) if record.state else None
    return {"url": url, "state": record.state or _UNKNOWN, "since": since, "reason": record.reason}


def fine(found: Mapping[str, Any]) -> bool:
    """Nobody is needed: all are healthy or held, and somebody looks after them."""
    agents = all(entry["state"] in (health.HEALTHY, "held") for entry in found["agents"])
    return agents and found["running"] and not any(one["state"] == health.AWAY for one in found["brokers"])


def as_text(found: Mapping[str, Any], width: int | None) -> str:
    if not found["agents"]:
        return "no agent runs on this host"
    lines = table(_HEADER, map(_row, found["agents"]), width)
    notes = [note for entry in found["agents"] for note in _notes(entry)]
    notes += [
        f"the broker {one['url']} is away since {moment(one['since'])}: {one['reason']}; restarts would not help"
        for one in found["brokers"]
        if one["state"] == health.AWAY
    ]
    if not found["running"]:
        last = (
            f"the last time was {moment(found['checked'])}"
            if found["checked"]
            else "nobody has since the boot"
        )
        notes.append(f"nobody looks after them: {last}; see `systemctl status {health_timer.TIMER}`")
    return "\n".join([lines, "", *notes]) if notes else lines


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        entry["name"],
        entry["state"],
        moment(entry["since"]),
        *(_answer(entry["probes"][name]) for name in (health.ALIVE, health.READY, health.BROKER)),
        str(len(entry["restarts"])),
        _next(entry["next_restart"]),
    )


def _next(text: str | None) -> str:
    if text is None:
        return "never"
    wait = (epoch(text) or 0.0) - time.time()
    return f"in {duration(wait)}" if wait > 1 else "-"


def _answer(probe: Mapping[str, Any]) -> str:
    if probe["said"] is None:
        return "-"
    return "no" if probe["said"] else "yes"


def _notes(entry: Mapping[str, Any]) -> list[str]:
    found = [entry["reason"], entry["note"]]
    found += [
        probe["said"]
        for probe in entry["probes"].values()
        if probe["said"] and probe["said"] != entry["reason"]
    ]
    return [f"{entry['name']}: {text}" for text in dict.fromkeys(found) if text]
