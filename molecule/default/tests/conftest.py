# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The deployed fleet: one researcher, and a writer on each host."""

from __future__ import annotations

import fleet
import pytest


@pytest.fixture
def researcher(agents: dict[str, fleet.Agent]) -> fleet.Agent:
    return agents["researcher"]


@pytest.fixture
def neighbour(agents: dict[str, fleet.Agent], researcher: fleet.Agent) -> fleet.Agent:
    """The writer on the researcher's host."""
    return next(agent for agent in agents.values() if agent.host == researcher.host and agent != researcher)
