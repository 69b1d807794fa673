# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What became of workloads, in sentences for people on the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .outcome import FAILED, REFUSED, RELEASED, REMOVED, REVERTED

_ENDS = {
    RELEASED: "is on release {after} and healthy",
    REVERTED: "was brought back to {after}, which is healthy",
    REMOVED: "was taken down: there was no release to go back to",
    FAILED: "failed, and nothing of it is healthy",
    REFUSED: "refused, nothing was changed",
}


def outcomes_text(outcomes: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(line for outcome in outcomes for line in _lines(outcome))


def _lines(outcome: Mapping[str, Any]) -> list[str]:
    end = _ENDS.get(outcome["result"], outcome["result"]).format(**outcome)
    phase = f"{outcome['phase']}: " if outcome.get("phase") else ""
    why = f": {phase}{outcome['reason']}" if outcome["reason"] else ""
    return [f"{outcome['name']}: {end}{why}", *(f"    | {line}" for line in outcome["log"])]


def fine(outcomes: Iterable[Mapping[str, Any]], *also: str) -> bool:
    """Whether all came to what was asked for; `also` are further results that will do."""
    return all(outcome["result"] in (RELEASED, *also) for outcome in outcomes)
