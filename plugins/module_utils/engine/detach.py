# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run the second half of a release in a transient unit, so that it outlives whoever asked for it.

The request lies in /run (memory, 0600) until the unit has read it, because it carries secrets; the report comes back
the same way.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from . import boot, systemd
from .errors import EngineError
from .files import make_directory, remove, write
from .layout import Layout

_POLL = 0.05
_FORGOTTEN = 3600.0
_REQUEST, _REPORT = "request.json", "report.json"


def run_detached(layout: Layout, request_text: str) -> dict[str, Any]:
    """Start the unit, wait for its report. Raises EngineError where the unit ended without one."""
    name = f"muster-release-{secrets.token_hex(4)}"
    scratch = layout.run / name
    make_directory(layout.run, 0o700)
    _sweep(layout)
    boot.ensure(layout)
    scratch.mkdir(mode=0o700)
    write(scratch / _REQUEST, request_text.encode(), 0o600)
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
        os.path.abspath(sys.argv[0]),
        "carry-on",
        str(scratch),
    )
    if started.returncode != 0:
        remove(scratch)
        raise EngineError(f"systemd-run: {started.stderr.strip()}")
    return _wait(scratch, f"{name}.service")


def _sweep(layout: Layout) -> None:
    """Reports that nobody came back for, because the controller was gone."""
    for report in layout.run.glob(f"muster-release-*/{_REPORT}"):
        if time.time() - report.stat().st_mtime > _FORGOTTEN:
            remove(report.parent)


def _wait(scratch: Path, unit: str) -> dict[str, Any]:
    looks = 0
    while True:
        ended = looks % 20 == 19 and systemd.show([unit])[unit].active in ("inactive", "failed")
        if (scratch / _REPORT).exists():
            report: dict[str, Any] = json.loads((scratch / _REPORT).read_text("utf-8"))
            remove(scratch)
            return report
        if ended:
            remove(scratch)
            raise EngineError(
                f"the release was killed, and {boot.UNIT} brings back what ran before; `journalctl -u {unit}` says more"
            )
        looks += 1
        time.sleep(_POLL)


def take_request(scratch: Path) -> str:
    """Read the request and remove it from the host."""
    text = (scratch / _REQUEST).read_text("utf-8")
    (scratch / _REQUEST).unlink()
    return text


def leave_report(scratch: Path, report: dict[str, Any]) -> None:
    write(scratch / _REPORT, json.dumps(report).encode(), 0o600)
