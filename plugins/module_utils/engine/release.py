# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The release, phase by phase: this file reads like the table in the design.

`stage` runs in the caller's process and touches nothing that runs. `switch_over` runs in a transient unit of systemd's
(see `detach.py`), so that a dead controller changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import compare, ports, systemd
from .check import check
from .commit import FAILED, Outcome, commit, revert
from .compare import NOTHING, Change
from .errors import EngineError
from .gate import Watch, start_and_gate
from .layout import Layout
from .lock import locked
from .mask import masked, secret_values
from .presence import twin
from .prune import prune
from .recover import recover
from .request import Request
from .retire import moved_away, orphans
from .stage import make_room, missing_packages, missing_runtimes, stage_release, stage_runtimes
from .state import State, load, record, save
from .switch import keep_secrets, register, switch


def stage(layout: Layout, request: Request) -> dict[str, Any]:
    """Lock, stage, check. Returns the report; changes nothing at all with `check_mode`."""
    systemd.require()
    if request.check_mode:
        return _survey(layout, request)
    with locked(layout, request.who):
        recovered = recover(layout, request.who)
        report = _survey(layout, request)
        report["recovered"] = [outcome.as_dict() for outcome in recovered]
        if report["missing_packages"] or report["refused"]:
            return report
        pending = [
            request.wanted[change["key"]] for change in report["workloads"] if change["action"] != NOTHING
        ]
        make_room(layout, pending, request.runtime_files)
        if request.runtime_files:
            stage_runtimes(layout, request.runtime_files)
            report["missing_runtimes"] = missing_runtimes(layout, (item.manifest for item in pending))
        if report["missing_runtimes"]:
            return report
        fresh = [item for item in pending if stage_release(layout, item)]
        verdicts = check(layout, fresh, request.parallel)
        report["refused"] = {request.wanted[key].manifest.name: reason for key, reason in verdicts.items()}
        for key in verdicts:
            prune(layout, load(layout), [key])
        return report


def _survey(layout: Layout, request: Request) -> dict[str, Any]:
    """What a switch would do, without doing it."""
    manifests = [item.manifest for item in request.wanted.values()]
    changes = compare.compare(layout, request.wanted)
    pending = [change for change in changes if change.action != NOTHING]
    state = load(layout)
    return {
        "workloads": [
            {
                "key": change.key,
                "name": change.name,
                "before": change.before,
                "after": change.after,
                "action": change.action,
                "reasons": change.reasons,
            }
            for change in changes
        ],
        "diff": [
            entry
            for change in pending
            for entry in compare.differences(layout, change, request.wanted[change.key])
        ],
        "missing_packages": missing_packages(layout, manifests),
        "missing_runtimes": missing_runtimes(layout, (change.manifest for change in pending)),
        "refused": ports.conflicts(pending),
        "retire": moved_away(state, request),
        "orphans": orphans(state, request),
    }


def switch_over(layout: Layout, request: Request) -> dict[str, Any]:
    """Switch, gate, commit or revert, prune: for every workload that differs, each with its own outcome."""
    with locked(layout, request.who, wait=10.0):
        recovered = recover(layout, request.who)
        changes = [change for change in compare.compare(layout, request.wanted) if change.action != NOTHING]
        changes, refused = _refuse_twins(request, changes)
        state = load(layout)
        outcomes = refused + _transact(layout, state, request, changes)
        for outcome in outcomes:
            outcome.reason = masked(outcome.reason, secret_values(request.secrets))
            outcome.log = [masked(line, secret_values(request.secrets)) for line in outcome.log]
            record(layout, {"who": dict(request.who), **outcome.as_dict()})
        prune(layout, state, request.wanted)
        save(layout, state)
        return {
            "outcomes": [outcome.as_dict() for outcome in outcomes],
            "recovered": [one.as_dict() for one in recovered],
        }


def _transact(layout: Layout, state: State, request: Request, changes: list[Change]) -> list[Outcome]:
    before = {change.key: change.before for change in changes}
    with _transaction(layout, state, changes):
        started = time.monotonic()
        failed: dict[str, Watch] = {}
        watches: dict[str, Watch] = {}
        for change in changes:
            watches[change.key] = Watch(change.manifest, change.action)
            try:
                switch(layout, change.key, change.after, request.wanted[change.key].secrets_text)
            except (EngineError, OSError) as error:
                watches[change.key].verdict = f"could not be switched: {error}"
        complaints = register(change.unit for change in changes)
        for change in changes:
            if change.unit in complaints:
                watches[change.key].verdict = complaints[change.unit]
        switched = time.monotonic() - started
        start_and_gate((watch for watch in watches.values() if watch.verdict is None), request.parallel)
        failed = {key: watch for key, watch in watches.items() if not watch.healthy}
        outcomes = [
            commit(layout, state, watch, before[key]) for key, watch in watches.items() if watch.healthy
        ]
        outcomes += revert(layout, state, failed, before, request.parallel) if failed else []
        for outcome in outcomes:
            outcome.seconds["switch"] = switched
    return outcomes


@contextmanager
def _transaction(layout: Layout, state: State, changes: list[Change]) -> Iterator[None]:
    """Write down what is about to change before the first change, and that it is over after the last."""
    if not changes:
        yield
        return
    for change in changes:
        keep_secrets(layout, change.key)
    state.transaction = {
        "began": time.time(),
        "before": {change.key: change.before for change in changes},
        "after": {change.key: change.after for change in changes},
    }
    save(layout, state)
    yield
    state.transaction = None
    save(layout, state)


def _refuse_twins(request: Request, changes: list[Change]) -> tuple[list[Change], list[Outcome]]:
    """One id never runs twice: an agent that is new on this host must not be available on the broker already."""
    go: list[Change] = []
    refused: list[Outcome] = []
    for change in changes:
        reason = twin(change.manifest, request.wanted[change.key].secrets) if change.before is None else None
        if reason is None or request.assume_gone:
            go.append(change)
        else:
            refused.append(Outcome(change.key, change.name, FAILED, None, None, reason))
    return go, refused
