# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""After a killed engine or a power loss: revert what was left unfinished, so that the host is on one release again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import systemd
from .check import SCRATCH
from .commit import Failure, Touched, forget_all, revert, touched_by
from .errors import EngineError
from .files import leftovers, our_leftovers, remove
from .layout import KINDS, Layout
from .outcome import FAILED, Outcome
from .state import load, record, save

RECOVERY = "recovery"
_INTERRUPTED = "was interrupted before it was proven"
_PARALLEL = 8


def recover(layout: Layout, who: Mapping[str, str], directories: Iterable[Path] = ()) -> list[Outcome]:
    """Finish the transaction that state.json says is open, if there is one, and sweep what a kill left behind.

    Call with the lock held. `directories` are further places where releases install files. Nothing in the transaction
    stops it: what can be brought back is, and the rest is reported as failed with the file, so that the next deploy can
    put it right.
    """
    outcomes = revert_open(layout, _INTERRUPTED)
    for outcome in outcomes:
        warning = record(layout, {"via": RECOVERY, "who": dict(who), **outcome.as_dict()})
        outcome.warnings += [warning] if warning else []
    sweep(layout, directories)
    return outcomes


def revert_open(layout: Layout, why: str) -> list[Outcome]:
    """Revert the open transaction. It stays open until all is back, so that a crash in here is recovered from, too."""
    state = load(layout)
    if state.transaction is None:
        return []
    touched: dict[str, Touched] = {}
    outcomes: list[Outcome] = []
    for key in sorted(state.transaction["after"]):
        try:
            layout.workload(key)  # refuses what is no key
            touched[key] = touched_by(state.transaction, key)
        except EngineError as error:
            before = state.transaction["before"][key]
            reason = f"{why}; and the revert failed: {error}"
            outcomes.append(Outcome(key, key.partition("/")[2], FAILED, before, None, reason, phase="revert"))
    outcomes += revert(layout, state, _failures(touched, why), _PARALLEL) if touched else []
    state.transaction = None
    save(layout, state)
    forget_all(touched)
    return outcomes


def _failures(touched: Mapping[str, Touched], why: str) -> list[Failure]:
    """Where each was: the process that ran before is gone only where its start was part of the transaction."""
    units = systemd.show([one.unit for one in touched.values()])
    return [
        Failure(
            one, "switch" if one.invocation and units[one.unit].invocation == one.invocation else "gate", why
        )
        for one in touched.values()
    ]


def sweep(layout: Layout, directories: Iterable[Path] = ()) -> None:
    """Remove what a killed run left beside: a secret must not lie around. Only while no transaction is open.

    `directories` are further places where releases install files.
    """
    shared = {layout.lib, layout.units, *directories}
    found = [path for directory in shared for path in our_leftovers(directory)]
    for directory in (layout.secrets, *layout.secrets.glob("*.creds")):
        found += leftovers(directory)
    found += layout.run.glob(f"{SCRATCH}*")
    for kind in KINDS.values():
        for workload in (layout.lib / kind).glob("*"):
            found += our_leftovers(workload) + leftovers(workload / "releases")
    for path in found:
        with contextlib.suppress(OSError):
            remove(path)
