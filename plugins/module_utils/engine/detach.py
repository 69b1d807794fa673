# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run the second half of a release in a transient unit, so that it outlives whoever asked for it.

The request carries secrets, so it lies in no file system: the unit reads it from the memory of whoever asks, and with whom it
goes. The report, without any, comes back by a directory in /run. Whoever waits holds a lock on that, so that it is known when
nobody does any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import boot, systemd
from .errors import EngineError
from .files import OURS, make_directory, remove, write
from .install import is_installed
from .layout import Layout
from .state import load

_POLL = 0.02  # seconds
_LOOKS_A_SECOND = 50
_PREFIX = "muster-release-"
_REPORT, _ENGINE = "report.json", "muster.pyz"


def run_detached(layout: Layout, request_text: str) -> dict[str, Any]:
    """Start the unit, wait for its report. Raises EngineError where the unit ended without one."""
    name = f"{_PREFIX}{secrets.token_hex(4)}"
    make_directory(layout.run, 0o700)
    _sweep(layout)
    boot.ensure(layout)
    with _scratch(layout.run / name) as scratch, _offered(name, request_text) as offered:
        started = systemd.run(
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={name}",
            "--property=Description=muster: release of agents",
            "--property=KillMode=mixed",
            f"--property=OnFailure={boot.UNIT}",
            "--",
            sys.executable,
            "-I",
            str(_engine(layout, scratch)),
            "carry-on",
            str(scratch),
            offered,
        )
        if started.returncode != 0:
            raise EngineError(f"systemd-run: {started.stderr.strip()}; nothing was changed")
        return _wait(layout, scratch, f"{name}.service")


@contextlib.contextmanager
def _offered(name: str, text: str) -> Iterator[str]:
    """Where the text can be read meanwhile: a file in memory alone, and of this process alone."""
    with open(os.memfd_create(name), "wb") as stream:
        stream.write(text.encode())
        stream.flush()
        yield f"/proc/{os.getpid()}/fd/{stream.fileno()}"


def _engine(layout: Layout, scratch: Path) -> Path:
    """This engine, at a place where it stays for as long as the unit runs: whoever called may remove the file it came in."""
    program = Path(sys.argv[0])
    if is_installed(layout, program):
        return layout.engine
    write(scratch / _ENGINE, program.read_bytes(), 0o700)
    return scratch / _ENGINE


@contextlib.contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A directory under a lock that ends with this process. It gets its name only once it is locked."""
    unnamed = path.with_name(f".{path.name}{OURS}new")
    unnamed.mkdir(mode=0o700)
    handle = os.open(unnamed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.rename(unnamed, path)
        yield path
    finally:
        for left in (unnamed, path):
            with contextlib.suppress(OSError):
                remove(left)
        os.close(handle)


def _sweep(layout: Layout) -> None:
    """Remove what nobody waits for any more, because the controller was gone, once its unit has ended."""
    for scratch in layout.run.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _ended(f"{scratch.name}.service"):
                    remove(scratch)
            finally:
                os.close(handle)


def _ended(unit: str) -> bool:
    return systemd.show([unit])[unit].active in ("inactive", "failed")


def _wait(layout: Layout, scratch: Path, unit: str) -> dict[str, Any]:
    """The unit's report. Raises EngineError once the unit has ended and there is none that can be read."""
    looks = 1
    while True:
        # Asked before the report is looked for: one that is left in between is still found.
        ended = looks % _LOOKS_A_SECOND == 0 and _ended(unit)
        report = _report(scratch)
        if report is not None:
            return report
        if ended:
            raise EngineError(f"{_what_happened(layout)}; `journalctl -u {unit}` says more")
        looks += 1
        time.sleep(_POLL)


def _report(scratch: Path) -> dict[str, Any] | None:
    """None while there is none, or none that can be read: /run may be full, or somebody may have cleared it."""
    try:
        report = json.loads((scratch / _REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def _what_happened(layout: Layout) -> str:
    """In the words of state.json, which alone knows how far a unit came that ended without a report."""
    with contextlib.suppress(EngineError):
        if load(layout).transaction is not None:
            return f"the release was killed, and {boot.UNIT} brings back what ran before"
    return (
        "the release was killed, or could not leave its report; nothing is half done. `muster history` says whether it was "
        "released, reverted, or never begun"
    )


def take_request(scratch: Path, offered: Path) -> str:
    """Read the request. Raises EngineError where whoever asked is gone.

    From here on to be told to end is a failure like any other: systemd would call it success and not start the unit that
    brings back what ran before.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(1))
    with contextlib.suppress(OSError):
        # Another process may have that number by now, and any file.
        if os.readlink(offered).startswith(f"/memfd:{scratch.name} "):
            return offered.read_text("utf-8")
    raise EngineError("whoever asked for this was gone before it began; nothing was changed")


def leave_report(scratch: Path, report: dict[str, Any]) -> None:
    write(scratch / _REPORT, json.dumps(report).encode(), 0o600)
