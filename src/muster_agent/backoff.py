# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting times between attempts."""

from __future__ import annotations

import random


def delay(attempt: int, base: float, cap: float) -> float:
    """Seconds before attempt `attempt` (from 1) is repeated: doubling up to `cap`, at least half of it, jittered.

    The jitter keeps many agents that lost the same broker from coming back in the same instant.
    """
    full = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return full * random.uniform(0.5, 1.0)
