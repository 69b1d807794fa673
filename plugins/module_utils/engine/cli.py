# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command `muster`: `status` and `resume` for people on the host; `apply` and `carry-on` for the controller."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import VERSION, detach, recover, release, request, retire, status
from .errors import EngineError
from .layout import Layout
from .lock import locked


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done; 1 refused or not healthy; 69 this host cannot run agents; 73 no room; 74 input or output
    failed; 75 busy; 77 not root.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(Layout(), options))
    except EngineError as error:
        sys.stderr.write(f"muster: {error}\n")
        return error.exit_code
    except PermissionError as error:
        sys.stderr.write(f"muster: {error}; run it as root\n")
        return 77
    except OSError as error:
        sys.stderr.write(f"muster: {error}\n")
        return 74


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="muster", description="Agents on this host: what runs, and finishing what was interrupted."
    )
    parser.add_argument("--version", action="version", version=f"muster {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    show = commands.add_parser("status", help="what runs here, and whether it is ready")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=_status)
    resume = commands.add_parser("resume", help="finish or revert a release that was interrupted")
    resume.set_defaults(run=_resume)
    apply = commands.add_parser("apply", help="carry out a request from standard input (for the controller)")
    apply.set_defaults(run=_apply)
    carry_on = commands.add_parser("carry-on", help="the detached half of apply")
    carry_on.add_argument("scratch", type=Path)
    carry_on.set_defaults(run=_carry_on)
    return parser


def _status(layout: Layout, options: argparse.Namespace) -> int:
    entries = status.status(layout)
    if options.json:
        _say(json.dumps({"version": VERSION, "workloads": entries}))
    else:
        _say(f"{'NAME':<24} {'RELEASE':<17} {'STATE':<10} {'READY':<6} {'PORT':>5} {'RESTARTS':>8}  DETAIL")
        for entry in entries:
            ready = "yes" if entry["ready"] else "no"
            _say(
                f"{entry['name']:<24} {entry['release'] or '-':<17} {entry['state']:<10} {ready:<6} "
                f"{entry['port'] or 0:>5} {entry['restarts']:>8}  {entry['detail']}"
            )
    return 0 if options.json or all(entry["ready"] for entry in entries) else 1


def _resume(layout: Layout, options: argparse.Namespace) -> int:
    who = {"user": os.environ.get("SUDO_USER", "root"), "host": socket.gethostname()}
    with locked(layout, who, wait=10.0):
        outcomes = recover.recover(layout, who)
    for outcome in outcomes:
        _say(f"{outcome.name}: {outcome.result}: {outcome.reason}")
    if not outcomes:
        _say("nothing was unfinished")
    return 0 if all(outcome.result in ("reverted", "removed") for outcome in outcomes) else 1


def _apply(layout: Layout, options: argparse.Namespace) -> int:
    """Always exits 0 with a JSON report on standard output, so that the caller need not guess from words."""
    text = sys.stdin.read()
    _say(json.dumps(_reported(lambda: _dispatch(layout, request.parse(text), text))))
    return 0


def _carry_on(layout: Layout, options: argparse.Namespace) -> int:
    text = detach.take_request(options.scratch)
    detach.leave_report(options.scratch, _reported(lambda: release.switch_over(layout, request.parse(text))))
    return 0


def _dispatch(layout: Layout, asked: request.Request, text: str) -> dict[str, Any]:
    if asked.phase == "stage":
        return release.stage(layout, asked)
    if asked.phase == "switch":
        return detach.run_detached(layout, text)
    if asked.phase == "release":
        return _stage_and_switch(layout, asked, text)
    if asked.phase == "retire":
        return retire.retire(layout, asked)
    if asked.phase == "remove":
        return retire.remove_agents(layout, asked)
    if asked.phase == "status":
        return {"workloads": status.status(layout)}
    raise EngineError(f"unknown phase {asked.phase!r}")


def _stage_and_switch(layout: Layout, asked: request.Request, text: str) -> dict[str, Any]:
    """Both halves in one call, for a workload that no other host's depends on."""
    report = release.stage(layout, asked)
    ready = not (
        asked.check_mode or report["refused"] or report["missing_packages"] or report["missing_runtimes"]
    )
    if ready and any(one["action"] != "nothing" for one in report["workloads"]):
        report.update(detach.run_detached(layout, text))
    return report


def _reported(work: Any) -> dict[str, Any]:
    try:
        report: dict[str, Any] = work()
    except EngineError as error:
        return {"error": str(error), "kind": error.kind}
    except OSError as error:
        return {"error": f"{error.filename or 'the host'}: {error.strerror}", "kind": "refused"}
    except Exception as error:  # noqa: BLE001 - the caller gets a sentence, the journal what a developer needs
        traceback.print_exc()
        return {"error": f"internal error: {type(error).__name__}: {error}", "kind": "internal"}
    return report
