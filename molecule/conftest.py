# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of all scenarios begin with."""

from __future__ import annotations

from collections.abc import Iterator

import fleet
import pytest


@pytest.fixture
def agents() -> dict[str, fleet.Agent]:
    """All agents, as they run when the test begins."""
    return fleet.agents()


@pytest.fixture
def restored() -> Iterator[None]:
    """For a test that changes the fleet: the next one finds it as it was."""
    yield
    fleet.deploy()
