# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""After a killed engine or a power loss: revert what was left unfinished, so that the host is on one release again."""

from __future__ import annotations

from collections.abc import Mapping

from . import manifest
from .commit import Outcome, revert
from .compare import RESTART
from .errors import EngineError
from .gate import Watch
from .layout import Layout
from .manifest import Manifest
from .state import load, record, save
from .switch import forget_secrets


def recover(layout: Layout, who: Mapping[str, str]) -> list[Outcome]:
    """Finish the transaction that state.json says is open, if there is one. Call with the lock held."""
    state = load(layout)
    if state.transaction is None:
        return []
    before: dict[str, str | None] = state.transaction["before"]
    failed: dict[str, Watch] = {}
    for key, release in state.transaction["after"].items():
        document = _readable(layout, key, release) or _readable(layout, key, before[key])
        if document is not None:
            failed[key] = Watch(document, RESTART, verdict="was interrupted before it was proven")
    outcomes = revert(layout, state, failed, before, parallel=8)
    state.transaction = None
    save(layout, state)
    forget_secrets(layout, before)
    for outcome in outcomes:
        record(layout, {"who": dict(who), "recovery": True, **outcome.as_dict()})
    return outcomes


def _readable(layout: Layout, key: str, release: str | None) -> Manifest | None:
    if release is None:
        return None
    try:
        return manifest.read(layout, key, release)
    except EngineError:
        return None
