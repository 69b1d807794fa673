# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs here, as seen now: the files, systemd, and the agent's own answer. Reads only."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import (
    VERSION,
    drift,
    health_memory,
    history,
    hold,
    manifest,
    names,
    releases,
    secret_files,
    systemd,
)
from .errors import EngineError
from .gate import probe
from .layout import Layout
from .manifest import Manifest
from .mask import masked
from .state import State, load
from .systemd import Unit
from .table import duration, moment, short, table, written

Show = Callable[[Sequence[str]], "dict[str, Unit]"]
Read = Callable[[Layout, str, str], Manifest]
_HEADER = ("AGENT", "RELEASE", "SINCE", "STATE", "UPTIME", "RESTARTS", "PORT")


@dataclass(frozen=True)
class Seen:
    """One workload as it lies on disk and as systemd has it. `damage` says why there is no manifest."""

    key: str
    document: Manifest | None
    damage: str
    unit: Unit


def look(
    layout: Layout, state: State, keys: Iterable[str], show: Show | None = None, read: Read = manifest.read
) -> list[Seen]:
    """All workloads with one question to systemd. Who looks all the time gives `show` and `read` that remember."""
    chosen = list(keys)
    units = (show or systemd.show)([state.workloads[key]["unit"] for key in chosen])
    return [_look_at(layout, state, key, units[state.workloads[key]["unit"]], read) for key in chosen]


def _look_at(layout: Layout, state: State, key: str, unit: Unit, read: Read) -> Seen:
    try:
        return Seen(key, read(layout, key, releases.current(layout, state, key) or ""), "", unit)
    except EngineError as error:
        return Seen(key, None, str(error), unit)


def status(layout: Layout, asked: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One entry for each workload; `ready` is what it answered just now, `ill` what the health checks have found of a process
    that answers all the same (stuck or deaf, else ""), `detail` says why.

    Raises EngineError where one of the names asked for is none of this host.
    """
    state = load(layout)
    seen = look(layout, state, names.require(state, asked) if asked else sorted(state.workloads))
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(_answer, seen))
    told, hash_file, memory = history.read(layout), releases.hasher(), health_memory.recall(layout)
    entries = []
    for one, answer in zip(seen, answers):
        recorded, release = state.workloads[one.key], releases.current(layout, state, one.key)
        document, unit = one.document, one.unit
        held = hold.held(layout, one.key)
        ready = answer == "" and unit.running
        ill, why = health_memory.illness(memory, one.key, unit)
        entries.append(
            {
                "kind": names.kind_of(one.key),
                "name": names.name_of(one.key),
                "base": recorded.get("base"),
                "agent_id": document.gate.agent_id if document else None,
                "release": release,
                "version": document.raw.get("version") if document else None,
                "runtime": document.runtime_words if document else None,
                "since": history.since(told, one.key, release),
                "previous": releases.previous(layout, state, one.key),
                "config_sha256": document.files.get(document.config or "") if document else None,
                "unit": unit.name,
                "state": unit.active if unit.load != "not-found" else "missing",
                "ready": ready,
                "ill": ill,
                "uptime_seconds": round(time.monotonic() - unit.active_since) if unit.running else 0,
                "restarts": unit.restarts,
                "port": document.gate.port if document else None,
                "certificate_ends": document.raw.get("certificate_ends") if document else None,
                "held": held,
                "drift": _drift(layout, state, one, hash_file),
                "overrides": drift.overrides(layout, document, unit),
                "unfinished": one.key in (state.transaction or {}).get("after", {}),
                "detail": "" if held else why if ready else _masked(layout, one.key, answer or words(unit)),
            }
        )
    return entries


def _answer(one: Seen) -> str:
    """ "" where it is ready. Nobody is asked who does not run: another program may have its port."""
    if one.document is None:
        return one.damage
    return probe(one.document.gate) if one.unit.running else words(one.unit)


def words(unit: Unit) -> str:
    """What a unit is, for people."""
    return f"unit is {unit.active} ({unit.sub})" if unit.load != "not-found" else f"{unit.name} is not there"


def _drift(layout: Layout, state: State, one: Seen, hash_file: releases.Hasher) -> list[str]:
    """Short words, each once, in the order of `muster diff`. What is being changed right now is no drift."""
    if state.transaction and one.key in state.transaction["after"]:
        return []
    if one.document is None:
        return [manifest.FILE_NAME]
    try:
        found = drift.drift(layout, state, one.document, one.unit, hash_file)
    except EngineError:  # its runtime has nothing for this machine
        return ["runtime"]
    return list(dict.fromkeys(difference.what for difference in found))


def _masked(layout: Layout, key: str, text: str) -> str:
    """What an agent answers may hold anything, also its own secrets."""
    return masked(text, secret_files.hide(layout, key))


def unfinished(layout: Layout) -> dict[str, Any] | None:
    """The open transaction: {"began", "workloads", "by"}; `by` is who works on it, None where it was interrupted."""
    state = load(layout)
    if state.transaction is None:
        return None
    return {
        "began": written(state.transaction.get("began", 0)),
        "workloads": [names.name_of(key) for key in sorted(state.transaction["after"])],
        "by": holder(layout),
    }


def holder(layout: Layout) -> str | None:
    """Who has the host's lock, found without taking it: a look must never make a deploy wait."""
    with contextlib.suppress(OSError, ValueError):
        owner = json.loads(layout.lock.read_bytes())
        for descriptor in Path(f"/proc/{int(owner['pid'])}/fd").iterdir():
            if os.readlink(descriptor) == str(layout.lock.resolve()):
                return f"{owner.get('user', '?')}@{owner.get('host', '?')} (pid {owner['pid']})"
    return None


def wrong(entry: Mapping[str, Any]) -> bool:
    """Whether a person must act. Who is held stands still because somebody wants it so; not so what should have moved."""
    if entry["held"]:
        return bool(entry["held"]["moves_to"])
    return not entry["ready"] or bool(entry["ill"] or entry["drift"])


def state_words(entry: Mapping[str, Any]) -> str:
    """How it is, in one or two words: what a person decided, what was found, what systemd knows, in this order."""
    if entry["held"]:
        return "held"
    if entry["ready"]:
        return str(entry["ill"] or "ready")
    return "not ready" if entry["state"] == "active" else str(entry["state"])


def document(layout: Layout, asked: Sequence[str] = ()) -> dict[str, Any]:
    return {"version": VERSION, "workloads": status(layout, asked), "unfinished": unfinished(layout)}


def healthy(found: Mapping[str, Any]) -> bool:
    interrupted = found["unfinished"] and not found["unfinished"]["by"]
    return not interrupted and not any(map(wrong, found["workloads"]))


def as_table(found: Mapping[str, Any], width: int | None) -> str:
    """A line for each workload, then what there is to say of them, in words."""
    if not found["workloads"]:
        return "no agent runs on this host"
    notes = [note for entry in found["workloads"] for note in _notes(entry)]
    if found["unfinished"]:
        notes.append(_unfinished_words(found["unfinished"]))
    lines = table(_HEADER, map(_row, found["workloads"]), width)
    return "\n".join([lines, "", *notes]) if notes else lines


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        entry["name"],
        short(entry["release"]),
        moment(entry["since"]),
        state_words(entry),
        uptime(entry),
        str(entry["restarts"]),
        str(entry["port"] or "-"),
    )


def uptime(entry: Mapping[str, Any]) -> str:
    return duration(entry["uptime_seconds"]) if entry["state"] == "active" else "-"


def _notes(entry: Mapping[str, Any]) -> list[str]:
    name, held = entry["name"], entry["held"]
    notes = [f"{name}: {entry['detail']}"] if entry["detail"] else []
    if held:
        why = f": {held['note']}" if held["note"] else ""
        notes.append(f"{name}: held since {moment(held['since'])} by {held['user']}@{held['host']}{why}")
        if entry["state"] not in ("inactive", "failed", "missing"):
            notes.append(f"{name}: held, but not stopped; `muster hold {name}` stops it")
        if held["moves_to"]:
            notes.append(
                f"{name}: deploy again to finish the move, or `muster unhold {name}` to keep it here"
            )
    if entry["drift"]:
        notes.append(f"{name}: drift: {', '.join(entry['drift'])}; `muster diff {name}` shows it")
    if entry["overrides"]:
        notes.append(f"{name}: overrides: {', '.join(entry['overrides'])}")
    return notes


def _unfinished_words(found: Mapping[str, Any]) -> str:
    what = f"a release of {', '.join(found['workloads'])} began at {moment(found['began'])}"
    if found["by"]:
        return f"{what} and is under way, by {found['by']}"
    return f"{what} and was interrupted; `muster resume` brings back what ran before"
