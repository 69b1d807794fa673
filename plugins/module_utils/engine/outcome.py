# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What became of one workload, for the report, the history and the controller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RELEASED = "released"  # the new release is current and healthy
REVERTED = "reverted"  # it was not healthy; the previous release is current again, and healthy
REMOVED = "removed"  # it was not healthy and there was none before: nothing of it runs
FAILED = "failed"  # nothing that the engine could bring up is healthy
REFUSED = "refused"  # nothing of it was changed; what ran before runs on
UNCHANGED = "unchanged"  # there was nothing to do


@dataclass
class Outcome:
    """What became of one workload.

    `after` is what is current now. Where that is not the release that was to be, `tried` is that one, and `phase`, `reason`
    and `log` say where and why it was not kept. `seconds` is how long each phase took, `warnings` what went wrong beside.
    """

    key: str
    name: str
    result: str
    before: str | None
    after: str | None
    reason: str = ""
    log: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    warnings: list[str] = field(default_factory=list)
    tried: str | None = None

    def as_dict(self) -> dict[str, Any]:
        rounded = {phase: round(taken, 3) for phase, taken in self.seconds.items()}
        return {**vars(self), "seconds": rounded}
