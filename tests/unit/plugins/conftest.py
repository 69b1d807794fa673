# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hypothesis for a machine that does other work at the same time: no deadline, and the same examples on every run."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("muster", deadline=None, derandomize=True, database=None)
settings.load_profile("muster")
