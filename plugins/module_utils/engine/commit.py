# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 6, commit or revert: every workload ends on exactly one release, and what it is called is what was seen.

A revert is a release like any other: the previous one is switched back and gated too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import systemd
from .compare import RESTART
from .errors import EngineError
from .files import read_bytes
from .gate import Watch, start_and_gate
from .layout import Layout
from .state import State
from .switch import register, switch, take_down

RELEASED = "released"  # the new release is current and healthy
REVERTED = "reverted"  # it was not healthy; the previous release is current again, and healthy
REMOVED = "removed"  # it was not healthy and there was none before: nothing of it runs
FAILED = "failed"  # nothing that the engine could bring up is healthy
_KEEP_PROVEN = 50


@dataclass
class Outcome:
    """What became of one workload. `reason` and `log` say why a release was not kept."""

    key: str
    name: str
    result: str
    before: str | None
    after: str | None
    reason: str = ""
    log: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def commit(layout: Layout, state: State, watch: Watch, before: str | None) -> Outcome:
    """Write down that the release is current and proven."""
    document = watch.manifest
    proven = [release for release in state.proven(document.key) if release != document.release]
    state.workloads[document.key] = {
        "release": document.release,
        "proven": [*proven, document.release][-_KEEP_PROVEN:],
        "unit": document.unit,
        "base": document.base,
        "agent_id": document.gate.agent_id,
    }
    return Outcome(
        document.key, document.name, RELEASED, before, document.release, seconds={"gate": watch.seconds}
    )


def revert(
    layout: Layout, state: State, failed: dict[str, Watch], before: dict[str, str | None], parallel: int
) -> list[Outcome]:
    """Bring back what ran before, all at once, and gate it too."""
    outcomes = []
    back: dict[str, Watch] = {}
    for key, watch in failed.items():
        outcome = Outcome(
            key,
            watch.manifest.name,
            FAILED,
            before[key],
            None,
            watch.verdict or "",
            watch.log,
            {"gate": watch.seconds},
        )
        outcomes.append(outcome)
        try:
            restored = _restore(layout, key, before[key], watch)
        except (EngineError, OSError) as error:
            outcome.reason += f"; and the revert failed: {error}"
            continue
        if restored is None:
            outcome.result = REMOVED
            state.workloads.pop(key, None)
        else:
            back[key] = restored
    complaints = register(watch.manifest.unit for watch in back.values())
    for watch in back.values():
        watch.verdict = complaints.get(watch.manifest.unit)
    start_and_gate((watch for watch in back.values() if watch.verdict is None), parallel)
    for outcome in outcomes:
        watch_back = back.get(outcome.key)
        if watch_back is None:
            continue
        outcome.after, outcome.seconds["revert"] = watch_back.manifest.release, watch_back.seconds
        if watch_back.healthy:
            outcome.result = REVERTED
        else:
            outcome.reason += f"; and the previous release is not healthy either: it {watch_back.verdict}"
    return outcomes


def _restore(layout: Layout, key: str, release: str | None, watch: Watch) -> Watch | None:
    """Put the previous release and its secrets back on disk; None where there was none and all is taken down."""
    if release is None:
        take_down(layout, key, watch.manifest)
        systemd.daemon_reload()
        systemd.run("systemctl", "reset-failed", "--", watch.manifest.unit)
        return None
    secrets = read_bytes(layout.secrets_before(key))
    document = switch(layout, key, release, secrets.decode() if secrets is not None else None)
    return Watch(document, RESTART)
