# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happened here: `history.jsonl`, one line for each workload of each release, read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .files import read_bytes
from .layout import Layout
from .table import DIGITS, duration, moment, short, table

_HEADER = ("TIME", "AGENT", "WHAT", "FROM", "TO", "RESULT", "PHASE", "TOOK", "WHO")


def read(layout: Layout) -> list[dict[str, Any]]:
    """All entries, newest first, each with the same keys whatever version wrote it.

    A line that a power loss tore, or that is damaged otherwise, is passed over.
    """
    older = layout.history.with_name(f"{layout.history.name}.1")
    text = b"\n".join(read_bytes(path) or b"" for path in (older, layout.history)).decode("utf-8", "replace")
    return [entry for entry in map(_entry, reversed(text.split("\n"))) if entry]


def of_agent(entries: Iterable[dict[str, Any]], name: str, keys: Iterable[str]) -> list[dict[str, Any]]:
    """Those of an agent by the keys that its name has here, and of one that was removed by its name."""
    wanted = set(keys)
    return [entry for entry in entries if entry["key"] in wanted or name in (entry["key"], entry["name"])]


def since(entries: Iterable[Mapping[str, Any]], key: str, release: str | None) -> str | None:
    """When a release that is current became so, or None where the history does not go back so far."""
    for entry in entries:
        if entry["key"] == key and entry["after"] != entry["before"]:
            return str(entry["time"]) if release and entry["after"] == release else None
    return None


def _entry(line: str) -> dict[str, Any] | None:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or not _is_entry(raw):
        return None
    who, seconds = raw.get("who") or {}, raw.get("seconds") or {}
    return {
        "time": raw.get("time"),
        "key": raw["key"],
        "name": raw.get("name"),
        "via": raw.get("via") or _via(raw),
        "before": raw.get("before"),
        "after": raw.get("after"),
        "tried": raw.get("tried"),
        "result": raw.get("result"),
        "phase": raw.get("phase") or "",
        "reason": raw.get("reason") or "",
        "log": raw.get("log") or [],
        "seconds": seconds,
        "total": round(sum(seconds.values()), 3),
        "user": who.get("user"),
        "host": who.get("host"),
        "commit": who.get("commit"),
        "dirty": bool(who.get("dirty")),
    }


def _is_entry(raw: Mapping[str, Any]) -> bool:
    """Whether everything that is there is of its kind. What a line lacks, an older version did not write."""
    texts = ("time", "name", "via", "before", "after", "tried", "result", "phase", "reason")
    who, seconds, log = raw.get("who") or {}, raw.get("seconds") or {}, raw.get("log") or []
    return (
        isinstance(raw.get("key"), str)
        and all(isinstance(raw.get(name), (str, type(None))) for name in texts)
        and isinstance(who, dict)
        and all(isinstance(who.get(name), (str, type(None))) for name in ("user", "host", "commit"))
        and isinstance(seconds, dict)
        and all(isinstance(taken, (int, float)) for taken in seconds.values())
        and isinstance(log, list)
    )


def _via(raw: Mapping[str, Any]) -> str:
    """What wrote a line that does not say so itself."""
    if raw.get("recovery"):
        return "recovery"
    if "after" in raw:
        return "deploy"
    return "retire" if raw.get("result") == "retired" else "remove"


def as_table(entries: Iterable[Mapping[str, Any]], width: int | None) -> str:
    return table(_HEADER, map(_row, entries), width)


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        moment(entry["time"]),
        str(entry["name"]),
        entry["via"],
        short(entry["before"]),
        short(entry["tried"] or entry["after"]),
        str(entry["result"]),
        entry["phase"] or "-",
        duration(entry["total"]),
        _who(entry),
    )


def _who(entry: Mapping[str, Any]) -> str:
    commit = f" {entry['commit'][:DIGITS]}{'+' if entry['dirty'] else ''}" if entry["commit"] else ""
    return f"{entry['user'] or '?'}@{entry['host'] or '?'}{commit}"


def in_detail(entries: Iterable[Mapping[str, Any]]) -> str:
    return "\n\n".join("\n".join(_details(entry)) for entry in entries)


def _details(entry: Mapping[str, Any]) -> list[str]:
    phases = ", ".join(f"{name} {taken:.1f} s" for name, taken in entry["seconds"].items())
    facts = {
        "release": f"{entry['before'] or '-'} -> {entry['tried'] or entry['after'] or '-'}",
        "by": _who(entry),
        "phase": entry["phase"],
        "reason": entry["reason"],
        "seconds": phases,
    }
    return [
        f"{entry['time']}  {entry['name']}  {entry['via']}: {entry['result']}",
        *(f"  {name + ':':<9}{text}" for name, text in facts.items() if text),
        *(f"    | {line}" for line in entry["log"]),
    ]
