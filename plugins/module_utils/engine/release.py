# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The release, phase by phase: this file reads like the table in the design.

`stage` runs in the caller's process and touches nothing that runs. `switch_over` runs in a transient unit of systemd's
(see `detach.py`), so that a dead controller changes nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import compare, health_timer, ports, rotation, secret_files, systemd
from .check import check
from .compare import Change, owed_file
from .errors import EngineError
from .files import write
from .install import install
from .layout import Layout
from .lock import locked
from .mask import masked, secret_values
from .outcome import REFUSED, RELEASED, Outcome
from .presence import twin
from .prune import prune
from .reasons import BROKER_RESTARTED, DRIFT, NOTHING, RECORD, RELOAD, RESTART
from .recover import recover
from .request import Request, Wanted
from .retire import moved_away, orphans
from .stage import make_room, missing_packages, missing_runtimes, passed, stage_release, stage_runtimes
from .state import load
from .switch import whole
from .transaction import DEPLOY, ROTATION, Order, transact, write_down
from .trial import trial


def stage(layout: Layout, request: Request) -> dict[str, Any]:
    """Lock, stage, check. Returns the report; changes nothing at all with `check_mode`."""
    version = systemd.require()
    if request.check_mode:
        return _survey(layout, rotation.completed(layout, request), version)
    with locked(layout, request.who) as waited:
        recovered = _begin(layout, request)
        request = rotation.completed(layout, request)
        report = _survey(layout, request, version)
        report["recovered"] = [outcome.as_dict() for outcome in recovered]
        report["seconds"] = {"lock": round(waited, 3)}
        wanted = (item.manifest for key, item in request.wanted.items() if key not in request.look)
        if missing_packages(layout, wanted) or report["refused"]:
            return report
        pending = [one["key"] for one in report["workloads"] if one["action"] != NOTHING and not one["look"]]
        began = time.monotonic()
        fresh = _stage(layout, request, report, pending)
        report["seconds"]["stage"] = round(time.monotonic() - began, 3)
        if fresh:
            began = time.monotonic()
            verdicts = {**check(layout, fresh, request.parallel), **_try_out(layout, fresh, report)}
            report["seconds"]["check"] = round(time.monotonic() - began, 3)
            report["refused"] = {
                request.wanted[key].manifest.name: f"check: {reason}" for key, reason in verdicts.items()
            }
            for item in fresh:
                if item.manifest.key not in verdicts:
                    passed(layout, item.manifest)
            prune(layout, load(layout), verdicts, request.keep)
        return report


def _try_out(layout: Layout, fresh: Iterable[Wanted], report: Mapping[str, Any]) -> dict[str, str]:
    """key → what is wrong. A reload reads no config that could be."""
    restarting = {one["key"] for one in report["workloads"] if one["action"] == RESTART}
    found = {item.manifest.key: trial(layout, item) for item in fresh if item.manifest.key in restarting}
    return {key: verdict for key, verdict in found.items() if verdict}


def _begin(layout: Layout, request: Request) -> list[Outcome]:
    """What every call that changes something does first, with the lock held."""
    state = load(layout)  # refuses one that it cannot read before anything else happens
    install(layout)
    health_timer.ensure(layout, state)
    return recover(layout, request.who, _install_directories(layout, request))


def _install_directories(layout: Layout, request: Request) -> set[Path]:
    return {
        layout.on_host(install.path).parent
        for item in request.wanted.values()
        for install in item.manifest.all_installs
    }


def _stage(layout: Layout, request: Request, report: dict[str, Any], keys: Iterable[str]) -> list[Wanted]:
    """Stage runtimes and releases; returns those that are to be checked. All of it, or nothing and EngineError."""
    pending = [request.wanted[key] for key in keys]
    actions = {one["key"]: one for one in report["workloads"]}
    make_room(layout, pending, request.runtime_files)
    try:
        if request.runtime_files:
            stage_runtimes(layout, request.runtime_files)
            report["missing_runtimes"] = missing_runtimes(layout, (item.manifest for item in pending))
        if report["missing_runtimes"]:
            return []
        for item in pending:
            _owe(layout, actions[item.manifest.key])
        return [item for item in pending if stage_release(layout, item)]
    except OSError as error:
        with contextlib.suppress(OSError):
            prune(layout, load(layout), [item.manifest.key for item in pending], request.keep)
        raise EngineError(f"{error.filename or layout.lib}: cannot be staged: {error.strerror}") from None


def _owe(layout: Layout, one: Mapping[str, Any]) -> None:
    """Mending a release on disk removes what told that its process must be restarted. So that is written down first."""
    mended = one["before"] == one["after"] and any(reason.startswith(DRIFT) for reason in one["reasons"])
    if mended and one["action"] in (RELOAD, RESTART):
        write(owed_file(layout, one["key"]), one["action"].encode(), 0o600)


def _survey(layout: Layout, request: Request, version: int) -> dict[str, Any]:
    """What a switch would do, without doing it. Of the workloads in `look` it is told, and nothing comes of it.

    `version` is systemd's.
    """
    changes = rotation.narrowed(request, compare.compare(layout, request.wanted))
    pending = [change for change in changes if change.action != NOTHING and change.key not in request.look]
    state = load(layout)
    hide = secret_values(request.secrets)
    return {
        "workloads": [
            {
                "key": change.key,
                "name": change.name,
                "before": change.before,
                "after": change.after,
                "action": change.action,
                "reasons": change.reasons,
                "version_before": change.version_before,
                "look": change.key in request.look,
            }
            for change in changes
        ],
        "diff": [
            {side: masked(text, hide) for side, text in entry.items()}
            for change in pending
            for entry in compare.differences(layout, change, request.wanted[change.key])
        ],
        "missing_packages": missing_packages(layout, (item.manifest for item in request.wanted.values())),
        "missing_runtimes": missing_runtimes(layout, (change.manifest for change in pending)),
        "refused": {
            **ports.conflicts(pending),
            **{one.name: why for one in pending if (why := secret_files.refusal(one.manifest, version))},
            **rotation.refusals(layout, request, pending),
            **_forbidden(pending, request),
        },
        "held": {change.name: change.held for change in changes if change.held is not None},
        "here": [item.manifest.name for item in request.wanted.values()],
        "ids": sorted(str(entry["agent_id"]) for entry in state.workloads.values() if entry.get("agent_id")),
        "unfinished": sorted(state.transaction["after"]) if state.transaction else [],
        "retire": moved_away(state, request),
        "orphans": orphans(state, request),
    }


def _forbidden(pending: Iterable[Change], request: Request) -> dict[str, str]:
    """name → why, for a change with a reason, or of something released that runs with an action, that this request does not
    allow. What a new package started is nobody's yet."""
    found = {
        change.name: f"was changed by hand: {', '.join(change.drift)}"
        for change in pending
        if change.drift and request.forbid_drift
    }
    for change in pending:
        for reason, why in request.forbid.items():
            served = change.before is not None and change.running
            if reason in change.reasons or (reason == change.action and served):
                found[change.name] = why
    return found


def switch_over(layout: Layout, request: Request) -> dict[str, Any]:
    """Switch, gate, commit or revert, prune: for every workload that differs, each with its own outcome."""
    with locked(layout, request.who, wait=10.0) as waited:
        recovered = _begin(layout, request)
        request = rotation.completed(layout, request)
        hide = secret_values(request.secrets)
        seconds = {**request.staged_seconds, "lock": request.staged_seconds.get("lock", 0.0) + waited}
        rotates = bool(request.rotate) and not request.restart
        via = ROTATION if rotates else DEPLOY
        order = Order(request.parallel, request.keep, via, request.who, hide, seconds)
        changes, refused = _refuse_unfit(layout, request, _changes(layout, request))
        write_down(layout, refused, order)
        texts = {key: wanted.secrets_text for key, wanted in request.wanted.items()}
        outcomes = refused + transact(layout, changes, texts, order)
        if rotates:
            rotation.sweep(layout, [one.key for one in outcomes if one.result == RELEASED])
        return {
            "outcomes": [outcome.as_dict() for outcome in outcomes],
            "recovered": [outcome.as_dict() for outcome in recovered],
        }


def _changes(layout: Layout, request: Request) -> list[Change]:
    """What differs, and what stage has mended on disk (`force`): that goes through the gate, too. And what must restart."""
    changes = rotation.narrowed(request, compare.compare(layout, request.wanted))
    for change in changes:
        if change.name in request.restart:
            change.needs(BROKER_RESTARTED)
        elif change.action == NOTHING and change.name in request.force:
            change.needs("mended", RECORD)
    return [
        change
        for change in changes
        if change.action != NOTHING and change.held is None and change.key not in request.look
    ]


def _refuse_unfit(
    layout: Layout, request: Request, changes: list[Change]
) -> tuple[list[Change], list[Outcome]]:
    """What must not go on: a release that is not whole on disk, and an id that runs somewhere else already."""
    recorded = load(layout).workloads
    forbidden = _forbidden(changes, request)
    go: list[Change] = []
    refused: list[Outcome] = []
    for change in changes:
        try:
            whole(layout, change.key, change.after)
        except EngineError as error:
            reason: str | None = f"is not as it was staged ({error}); deploy again"
        else:
            fresh = (
                _new_here(change, recorded.get(change.key, {}).get("agent_id")) and not request.assume_gone
            )
            reason = forbidden.get(change.name) or (
                twin(change.manifest, request.wanted[change.key].secrets) if fresh else None
            )
        if reason is None:
            go.append(change)
        else:
            refused.append(
                Outcome(
                    change.key,
                    change.name,
                    REFUSED,
                    change.before,
                    change.before,
                    reason,
                    phase="switch",
                    tried=change.after,
                )
            )
    return go, refused


def _new_here(change: Change, recorded_id: str | None) -> bool:
    """Whether this id has not been running on this host, as far as the records or the running unit tell."""
    return not change.running if recorded_id is None else recorded_id != change.manifest.gate.agent_id
