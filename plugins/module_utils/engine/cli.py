# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command `muster`, for people on the host; `apply` and `carry-on` are for the controller.

Each command is a function here that asks the module of its name and prints what it says.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import sys
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import (
    backup,
    completion,
    detach,
    diff,
    health_report,
    health_round,
    history,
    logs,
    maintenance,
    metrics,
    names,
    recover,
    release,
    releases,
    report,
    request,
    restore,
    retire,
    rollback,
    status,
    systemd,
)
from .errors import Busy, EngineError, NoRoom, Unsupported
from .files import sha256_bytes
from .layout import Layout
from .lock import locked
from .options import parser
from .outcome import REMOVED, REVERTED
from .state import State, load
from .table import terminal_width

_INTERRUPTED = 130
# How many the fleet keeps is known to the controller only: from here nothing proven is pruned.
_KEEP_ALL = 1_000_000


class NotRoot(EngineError):
    kind = "not_root"
    exit_code = 77


class IoFailed(EngineError):
    kind = "io"
    exit_code = 74


_KINDS = {one.kind: one for one in (EngineError, Unsupported, Busy, NoRoom, NotRoot, IoFailed)}


def main(arguments: Sequence[str] | None = None, layout: Layout = Layout()) -> int:  # noqa: B008 - it is frozen
    """Exit codes: 0 done and all is well; 1 refused, not healthy, or it differs; 2 wrong usage; 69 this host cannot run
    agents; 73 no room; 74 input or output failed; 75 busy; 77 not root; 130 Ctrl-C.
    """
    options = parser().parse_args(arguments)
    try:
        code = _run(layout, options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has had enough, as in `muster history | head`; what is still to be flushed must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _run(layout: Layout, options: argparse.Namespace) -> int:
    try:
        if options.command not in ("completion", "apply", "carry-on"):
            _require_root(layout)
        return _COMMANDS[options.command](layout, options)
    except BrokenPipeError:
        raise
    except EngineError as error:
        return _refuse(options, error)
    except PermissionError as error:
        return _refuse(options, NotRoot(f"{error}; run it as root"))
    except OSError as error:
        return _refuse(options, IoFailed(str(error)))


def _require_root(layout: Layout) -> None:
    if layout.lib.is_dir() and not os.access(layout.lib, os.R_OK):
        raise NotRoot("what runs here is for root to see; try sudo")


def _refuse(options: argparse.Namespace, error: EngineError) -> int:
    if getattr(options, "json", False):
        _say(json.dumps({"error": str(error), "kind": error.kind}))
    else:
        sys.stderr.write(f"muster: {error}\n")
    return error.exit_code


def _say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def _tell(options: argparse.Namespace, document: Mapping[str, Any], text: Callable[[], str]) -> None:
    _say(json.dumps(document) if options.json else text())


def _status(layout: Layout, options: argparse.Namespace) -> int:
    found = status.document(layout, options.names)
    _tell(options, found, lambda: status.as_table(found, terminal_width()))
    return 0 if status.healthy(found) else 1


def _health(layout: Layout, options: argparse.Namespace) -> int:
    found = health_report.document(layout, options.names)
    _tell(options, found, lambda: health_report.as_text(found, terminal_width()))
    return 0 if health_report.fine(found) else 1


def _look_after(layout: Layout, options: argparse.Namespace) -> int:
    health_round.go_round(layout)
    return 0


def _history(layout: Layout, options: argparse.Namespace) -> int:
    found = history.read(layout)
    if options.names:
        found = history.of_agent(found, options.names, names.keys_of(load(layout), [options.names]))
    found = found[: options.lines]
    text = history.in_detail if options.verbose else lambda shown: history.as_table(shown, terminal_width())
    _tell(options, {"entries": found}, lambda: text(found) if found else "nothing has happened yet")
    return 0


def _releases(layout: Layout, options: argparse.Namespace) -> int:
    state = load(layout)
    found = releases.releases(layout, state, _chosen(state, options))
    _tell(options, {"releases": found}, lambda: releases.as_table(found, terminal_width()))
    return 0


def _chosen(state: State, options: argparse.Namespace) -> list[str]:
    return names.require(state, [options.names]) if options.names else sorted(state.workloads)


def _diff(layout: Layout, options: argparse.Namespace) -> int:
    state = load(layout)
    if options.old:
        key = names.require_one(state, options.names)
        old = releases.resolve(layout, state, key, options.old)
        new = releases.resolve(layout, state, key, options.new or releases.current(layout, state, key) or "")
        between = diff.between(layout, key, old, new)
        _tell(options, between, lambda: diff.between_text(between))
        return 1 if between["files"] else 0
    found = diff.host(layout, state, _chosen(state, options))
    _tell(options, {"workloads": found}, lambda: diff.host_text(found))
    return 1 if any(entry["drift"] for entry in found) else 0


def _logs(layout: Layout, options: argparse.Namespace) -> int:
    state = load(layout)
    key = names.require_one(state, options.name)
    wanted = releases.resolve(layout, state, key, options.release) if options.release else None
    chosen = logs.Selection(options.lines, options.since, options.follow, options.run, wanted)
    unit = state.workloads[key]["unit"]
    if not options.json:
        return logs.show(layout, key, unit, chosen)
    lines = logs.entries(layout, key, unit, chosen)
    if not options.follow:
        _say(json.dumps({"name": names.name_of(key), "unit": unit, "lines": list(lines)}))
        return 0
    for line in lines:
        _say(json.dumps(line))
        sys.stdout.flush()
    return 0


def _rollback(layout: Layout, options: argparse.Namespace) -> int:
    asked = _request(layout, options, target=options.to, keep=_KEEP_ALL)
    try:
        found = _checked(detach.run_detached(layout, json.dumps(asked)))
    except KeyboardInterrupt:
        sys.stderr.write(f"\nmuster: no longer waiting; {_what_goes_on()}\n")
        raise
    _tell(options, found, lambda: report.outcomes_text(found["outcomes"]))
    return 0 if report.fine(found["outcomes"]) else 1


def _what_goes_on() -> str:
    """Ctrl-C may have come before systemd had the rollback, and then there is none."""
    units = systemd.run("systemctl", "list-units", "--plain", "--no-legend", "muster-release-*.service")
    if units.stdout.strip():
        return "the rollback goes on, and `muster history` will say how it ended"
    return "no rollback is under way, and `muster history` says whether there was one"


def _hold(layout: Layout, options: argparse.Namespace) -> int:
    found = maintenance.hold_agents(layout, _parsed(_request(layout, options, note=options.note)))
    _tell(options, found, lambda: maintenance.as_text(found))
    return 0


def _unhold(layout: Layout, options: argparse.Namespace) -> int:
    found = maintenance.unhold_agents(layout, _parsed(_request(layout, options)))
    _tell(options, found, lambda: maintenance.as_text(found))
    return 0 if all(outcome["ready"] for outcome in found["outcomes"]) else 1


def _resume(layout: Layout, options: argparse.Namespace) -> int:
    with locked(layout, _who(), wait=10.0):
        outcomes = [outcome.as_dict() for outcome in recover.recover(layout, _who())]
    _tell(options, {"outcomes": outcomes}, lambda: report.outcomes_text(outcomes) or "nothing was unfinished")
    return 0 if report.fine(outcomes, REVERTED, REMOVED) else 1


def _metrics(layout: Layout, options: argparse.Namespace) -> int:
    found = list(metrics.samples(layout))
    if options.output:
        metrics.write(options.output, found)
    if options.json:
        _say(json.dumps({"metrics": [dict(zip(("name", "labels", "value"), one)) for one in found]}))
    elif not options.output:
        _say(metrics.text(found))
    return 0


def _completion(layout: Layout, options: argparse.Namespace) -> int:
    _say(completion.bash() if options.shell == "bash" else completion.zsh())
    return 0


def _names(layout: Layout, options: argparse.Namespace) -> int:
    _say("\n".join(names.words(load(layout))))
    return 0


def _release_ids(layout: Layout, options: argparse.Namespace) -> int:
    state = load(layout)
    _say(
        "\n".join(
            one for key in names.keys_of(state, [options.name]) for one in releases.on_disk(layout, key)
        )
    )
    return 0


def _backup_piece(layout: Layout, options: argparse.Namespace) -> int:
    _say(backup.piece(layout, sys.stdin.read()))
    return 0


def _restore_piece(layout: Layout, options: argparse.Namespace) -> int:
    restore.take(layout, sys.stdin.buffer.read())
    return 0


def _request(layout: Layout, options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """The request that the controller would send for this. Raises EngineError for a name of nothing here."""
    names.require(load(layout), options.names)
    return {
        "format": request.FORMAT,
        "phase": options.command,
        "who": _who(),
        "names": list(options.names),
        **more,
    }


def _parsed(asked: Mapping[str, Any]) -> request.Request:
    return request.parse(json.dumps(asked))


def _who() -> dict[str, str]:
    return {"user": os.environ.get("SUDO_USER") or "root", "host": socket.gethostname()}


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    """A report; raises the error that it reports."""
    if "error" in found:
        raise _KINDS.get(str(found.get("kind")), EngineError)(found["error"])
    return found


def _apply(layout: Layout, options: argparse.Namespace) -> int:
    """A JSON report on standard output and exit code 0, so that the caller need not guess from words.

    Raises EngineError, and there is no report, where `--engine` asks for another engine or this user may not carry it out.
    """
    text = sys.stdin.read() if options.engine is None else _for_this_engine(options.engine)
    _say(json.dumps(_reported(lambda: request.parse(text), lambda asked: _dispatch(layout, asked, text))))
    return 0


def _for_this_engine(digest: str) -> str:
    """The request from standard input, deflated and in base64. Raises EngineError."""
    if os.geteuid() != 0:
        raise NotRoot("only root can carry out a request")
    if sha256_bytes(Path(sys.argv[0]).read_bytes()) != digest:
        raise EngineError("the request is for another engine")
    try:
        return zlib.decompress(base64.b64decode(sys.stdin.buffer.read())).decode()
    except (zlib.error, ValueError) as error:
        raise EngineError(f"not a request: {error}") from None


def _carry_on(layout: Layout, options: argparse.Namespace) -> int:
    """1 where the transaction is left open: then systemd starts the unit that brings back what ran before."""
    text = detach.take_request(options.scratch, options.request)
    report = _reported(lambda: request.parse(text), lambda asked: _second_half(layout, asked))
    detach.leave_report(options.scratch, report)
    # While another has the host, an open transaction is that one's.
    return 1 if "error" in report and report["kind"] != Busy.kind and _is_open(layout) else 0


def _is_open(layout: Layout) -> bool:
    """Whether a transaction is open, as far as can be told."""
    try:
        return load(layout).transaction is not None
    except EngineError:
        return True


def _second_half(layout: Layout, asked: request.Request) -> dict[str, Any]:
    others = {"rollback": rollback.rollback, "restore_start": restore.start}
    return others.get(asked.phase, release.switch_over)(layout, asked)


def _dispatch(layout: Layout, asked: request.Request, text: str) -> dict[str, Any]:
    detached = asked.phase in ("switch", "restore_start") or (
        asked.phase == "rollback" and not asked.check_mode
    )
    if detached:
        return detach.run_detached(layout, text)
    if asked.phase == "release":
        return _stage_and_switch(layout, asked, text)
    phases: dict[str, Callable[[], dict[str, Any]]] = {
        "stage": lambda: release.stage(layout, asked),
        "rollback": lambda: rollback.rollback(layout, asked),
        "retire": lambda: retire.retire(layout, asked),
        "remove": lambda: retire.remove_agents(layout, asked),
        "hold": lambda: maintenance.hold_agents(layout, asked),
        "unhold": lambda: maintenance.unhold_agents(layout, asked),
        maintenance.COME_BACK: lambda: maintenance.unhold_agents(layout, asked),
        "status": lambda: status.document(layout),
        "releases": lambda: releases.named(layout, asked.names),
        "backup": lambda: backup.make(layout, asked),
        "backup_end": lambda: backup.forget(layout, asked),
        "restore_look": lambda: restore.look(layout, asked),
        "restore_begin": lambda: restore.begin(layout, asked),
        "restore_drop": lambda: restore.drop(layout, asked),
        "restore_unpack": lambda: restore.unpack(layout, asked),
        "restore_place": lambda: restore.place(layout, asked),
    }
    if asked.phase not in phases:
        raise EngineError(f"unknown phase {asked.phase!r}")
    return phases[asked.phase]()


def _stage_and_switch(layout: Layout, asked: request.Request, text: str) -> dict[str, Any]:
    """Both halves in one call, for a workload that no other host's depends on."""
    staged = release.stage(layout, asked)
    ready = not (
        asked.check_mode or staged["refused"] or staged["missing_packages"] or staged["missing_runtimes"]
    )
    if ready and any(one["action"] != "nothing" for one in staged["workloads"]):
        staged.update(detach.run_detached(layout, text))
    return staged


def _reported(
    parse: Callable[[], request.Request], work: Callable[[request.Request], dict[str, Any]]
) -> dict[str, Any]:
    """The report, or why there is none: an error that nobody foresaw says at least in which phase it came."""
    phase = "request"
    try:
        asked = parse()
        phase = asked.phase
        return work(asked)
    except EngineError as error:
        return {"error": str(error), "kind": error.kind}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return {"error": f"{phase}: {where}{error.strerror or error}", "kind": "refused"}
    except Exception as error:  # noqa: BLE001 - the caller gets a sentence, the journal what a developer needs
        traceback.print_exc()
        return {"error": f"{phase}: internal error: {type(error).__name__}: {error}", "kind": "internal"}


_COMMANDS: dict[str, Callable[[Layout, argparse.Namespace], int]] = {
    "status": _status,
    "health": _health,
    "history": _history,
    "releases": _releases,
    "rollback": _rollback,
    "diff": _diff,
    "logs": _logs,
    "hold": _hold,
    "unhold": _unhold,
    "resume": _resume,
    "metrics": _metrics,
    "completion": _completion,
    "apply": _apply,
    "carry-on": _carry_on,
    "_backup_piece": _backup_piece,
    "_restore_piece": _restore_piece,
    "_health": _look_after,
    "_names": _names,
    "_releases": _release_ids,
}
