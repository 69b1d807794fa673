# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab of the fault suite, with the fleet deployed. It stays up: who starts the tests takes it down."""

from __future__ import annotations

import pytest

from tests.faults import lab


@pytest.fixture(scope="session")
def machines() -> dict[str, lab.Machine]:
    """All agent hosts by name."""
    return lab.lab(lab.hosts())
