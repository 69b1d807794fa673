# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The log of one workload, from the journal.

journalctl writes into a filter and not to the terminal itself, so that a secret that an agent printed is masked here too.
Only the secrets of today are known: one that was rotated away stays readable in older lines.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from . import history, secret_files, systemd
from .errors import EngineError
from .layout import Layout
from .mask import masked
from .names import name_of
from .table import epoch, written


@dataclass(frozen=True)
class Selection:
    """Which lines: the last `lines`, `since` in journalctl's words, of the running process, or of one release."""

    lines: int
    since: str | None = None
    follow: bool = False
    run: bool = False
    release: str | None = None


def journal_arguments(layout: Layout, key: str, unit: str, chosen: Selection, as_json: bool) -> list[str]:
    """The journalctl to run. Raises EngineError where the history does not tell when a release ran."""
    arguments = ["journalctl", "--quiet", "--no-pager", f"--lines={chosen.lines}"]
    arguments.append(f"--output={'json' if as_json else 'short-iso'}")
    if chosen.since:
        arguments.append(f"--since={chosen.since}")
    if chosen.follow:
        arguments.append("--follow")
    if chosen.release:
        began, ended = period(history.read(layout), key, chosen.release)
        arguments += [] if chosen.since else [f"--since=@{began:.0f}"]
        arguments += [f"--until=@{ended:.0f}"] if ended is not None else []
    if chosen.run:
        invocation = systemd.show([unit])[unit].invocation
        # The process's own lines carry the one field, systemd's lines about it the other.
        return [*arguments, f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}"]
    return [*arguments, f"--unit={unit}"]


def period(entries: Sequence[dict[str, Any]], key: str, release: str) -> tuple[float, float | None]:
    """From when to when a release was tried or current the last time (epoch's seconds; None: until now).

    `entries` are the newest first. The history has the end of each change, and how long it took.
    """
    ended: float | None = None
    for entry in entries:
        at = epoch(entry["time"])
        if entry["key"] != key or at is None or entry["after"] == entry["before"]:
            continue
        began = at - entry["total"] - 1
        if entry["after"] == release != entry["before"]:
            return began, ended
        ended = at
    raise EngineError(f"the history does not say when {name_of(key)} was on release {release}")


def show(layout: Layout, key: str, unit: str, chosen: Selection) -> int:
    """Print the lines as they come. Returns journalctl's exit status."""
    with _journalctl(journal_arguments(layout, key, unit, chosen, as_json=False)) as process:
        hide = secret_files.hide(layout, key)
        try:
            for line in _stream(process):
                sys.stdout.write(masked(line, hide))
                sys.stdout.flush()
        except BrokenPipeError:  # such as `muster logs x | head`
            process.terminate()
            raise
        except KeyboardInterrupt:  # journalctl got it too
            return 0
    return 1 if process.returncode > 0 else 0


def entries(layout: Layout, key: str, unit: str, chosen: Selection) -> Iterator[dict[str, Any]]:
    """{"time", "priority", "pid", "invocation", "message"} of each line. Raises EngineError with journalctl's own words."""
    hide = secret_files.hide(layout, key)
    with _journalctl(journal_arguments(layout, key, unit, chosen, as_json=True)) as process:
        for line in _stream(process):
            yield _entry(json.loads(line), hide)
    if process.returncode > 0:
        raise EngineError(f"journalctl ended with status {process.returncode}")


def _journalctl(arguments: Sequence[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        arguments,
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    # Ctrl-C reaches both; what is sent to this process alone must end the other, too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: process.terminate())
    return process


def _stream(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:
        raise EngineError("journalctl gives no output")
    return process.stdout


def _entry(raw: dict[str, Any], hide: Sequence[str]) -> dict[str, Any]:
    message = raw.get("MESSAGE")
    if isinstance(message, list):  # bytes that are no plain text
        message = bytes(message).decode("utf-8", "replace")
    return {
        "time": written(int(raw.get("__REALTIME_TIMESTAMP", 0)) / 1e6),
        "priority": int(raw.get("PRIORITY", 6)),
        "pid": int(raw.get("_PID", 0)),
        "invocation": raw.get("_SYSTEMD_INVOCATION_ID") or raw.get("INVOCATION_ID"),
        "message": masked(str(message or ""), hide),
    }
