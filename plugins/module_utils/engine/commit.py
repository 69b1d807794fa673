# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 6, commit or revert: every workload ends on exactly one release, and what it is called is what was seen.

A revert is a release like any other: the previous one is switched back and gated too. It touches only processes that the
transaction touched: where the one from before still runs, the files go back and the gate only looks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import manifest, secret_files, systemd
from .compare import Change, owed_file
from .errors import EngineError
from .files import remove
from .gate import Watch, start_and_gate
from .layout import Layout
from .manifest import Manifest
from .mask import masked
from .outcome import FAILED, RELEASED, REMOVED, REVERTED, Outcome
from .reasons import NOT_RECORDED, RECORD, RELOAD, RESTART
from .state import State, released_before
from .switch import Swap, forget, from_dict, register, stop, undo
from .systemd import Unit

_KEEP_PROVEN = 50


@dataclass(frozen=True)
class Touched:
    """What the transaction knows of one workload from before its first change: enough to go back without the new release.

    `invocation` is systemd's id of the start that ran then, "" where none did.
    """

    key: str
    unit: str
    before: str | None
    after: str
    invocation: str
    action: str
    swaps: tuple[Swap, ...]

    def as_dict(self) -> dict[str, Any]:
        swaps = [swap.as_dict() for swap in self.swaps]
        return {"unit": self.unit, "invocation": self.invocation, "action": self.action, "swaps": swaps}


@dataclass
class Failure:
    """A workload that does not stay on its new release: where and why, with its last log lines."""

    touched: Touched
    phase: str
    reason: str
    log: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def touched_by(transaction: Mapping[str, Any], key: str) -> Touched:
    """Read back what `state.json` says. Raises EngineError where it cannot be followed."""
    try:
        raw = transaction["touched"][key]
        return Touched(
            key,
            str(raw["unit"]),
            transaction["before"][key],
            transaction["after"][key],
            str(raw["invocation"]),
            str(raw["action"]),
            tuple(from_dict(one) for one in raw["swaps"]),
        )
    except (KeyError, TypeError) as error:
        raise EngineError(
            f"the transaction does not say what it touched ({error}); deploy again, which puts everything right"
        ) from None


def commit(layout: Layout, state: State, change: Change, watch: Watch, secrets_text: str | None) -> Outcome:
    """Write down that the release is current and proven."""
    document = watch.manifest
    outcome = Outcome(document.key, document.name, RELEASED, change.before, document.release)
    proven = state.proven(document.key)
    if NOT_RECORDED in change.reasons:
        proven = [
            one
            for one in released_before(layout, document.key)
            if one != document.release and layout.release(document.key, one).is_dir()
        ]
        # That a release lies on the disk is no proof that it ever served.
        outcome.warnings.append(
            "state.json did not know it: of its earlier releases only those count as proven that the history names "
            f"({', '.join(proven) or 'none'})"
        )
    proven = [release for release in proven if release != document.release]
    state.workloads[document.key] = {
        "release": document.release,
        "proven": [*proven, document.release][-_KEEP_PROVEN:],
        "unit": document.unit,
        "base": document.base,
        "agent_id": document.gate.agent_id,
        **secret_files.record(layout, state, document, secrets_text),
    }
    remove(owed_file(layout, document.key))
    return outcome


def revert(layout: Layout, state: State, failures: list[Failure], parallel: int) -> list[Outcome]:
    """Bring back what ran before, all at once, and gate it too. What the outcomes quote has its secrets masked."""
    # Before anything goes back: the values of the release that failed lie on the disk only until then.
    hide = {failure.touched.key: _secrets(layout, failure.touched.key) for failure in failures}
    units = systemd.show([failure.touched.unit for failure in failures])
    outcomes = []
    back: dict[str, Watch] = {}
    for failure in failures:
        touched = failure.touched
        outcome = Outcome(
            touched.key,
            touched.key.partition("/")[2],
            FAILED,
            touched.before,
            None,
            failure.reason,
            failure.log,
            dict(failure.seconds),
            failure.phase,
            tried=touched.after,
        )
        outcomes.append(outcome)
        try:
            watch = _restore(layout, touched, units[touched.unit])
        except (EngineError, OSError) as error:
            outcome.phase = "revert"
            outcome.reason += f"; and the revert failed: {error}"
            continue
        if watch is None:
            outcome.result = REMOVED
            state.workloads.pop(touched.key, None)
        else:
            back[touched.key] = watch
    complaints = register(watch.manifest.unit for watch in back.values())
    for watch in back.values():
        watch.verdict = complaints.get(watch.manifest.unit)
    start_and_gate((watch for watch in back.values() if watch.verdict is None), parallel)
    for outcome in outcomes:
        if outcome.key in back:
            _judge(outcome, back[outcome.key])
        _mask(outcome, hide[outcome.key])
    return outcomes


def _secrets(layout: Layout, key: str) -> list[str]:
    """The values to hide. That they cannot be read keeps nothing from going back."""
    with contextlib.suppress(EngineError, OSError):
        return secret_files.hide_both(layout, key)
    return []


def _mask(outcome: Outcome, hide: Sequence[str]) -> None:
    outcome.reason = masked(outcome.reason, hide)
    outcome.log = [masked(line, hide) for line in outcome.log]


def _judge(outcome: Outcome, watch: Watch) -> None:
    outcome.after, outcome.seconds["revert"] = watch.manifest.release, watch.seconds
    if watch.healthy:
        outcome.result = REVERTED
        return
    outcome.phase = "revert"
    outcome.reason += f"; and the previous release is not healthy either: it {watch.verdict}"
    outcome.log += watch.log


def _restore(layout: Layout, touched: Touched, unit: Unit) -> Watch | None:
    """Put the previous release and its secrets back on disk; None where there was none and all is taken down.

    Raises EngineError where something of it is gone, after all that can be was brought back and started.
    """
    if touched.before is None:
        stop(touched.unit)
        faults = undo(touched.swaps)
        systemd.daemon_reload()
        systemd.run("systemctl", "reset-failed", "--", touched.unit)
        if faults:
            raise EngineError("; ".join(faults))
        return None
    faults = undo(touched.swaps)
    try:
        document: Manifest | None = manifest.read(layout, touched.key, touched.before)
    except EngineError as error:
        document = None
        faults.append(str(error))
    action = way_back(touched, unit)
    if document is None or faults:
        # It cannot be judged, so it is not called healthy; but it serves if it can.
        systemd.daemon_reload()
        if action == RESTART:
            systemd.restart(touched.unit)
        raise EngineError("; ".join(faults))
    return Watch(document, action)


def way_back(touched: Touched, unit: Unit) -> str:
    """Whether the process must change at all: not if it is the one from before the transaction."""
    same = bool(touched.invocation) and unit.invocation == touched.invocation
    if not (same and unit.running) or unit.job:
        return RESTART
    return RELOAD if touched.action == RELOAD else RECORD


def forget_all(touched: Mapping[str, Touched]) -> None:
    """Remove what lay beside, for workloads whose transaction is over."""
    for one in touched.values():
        forget(one.swaps)
