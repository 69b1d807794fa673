# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An hour in which everything goes wrong that goes wrong in a year, under a steady load of tasks."""

import sys

from dev import ROOT

# The streams of tasks are those of Molecule's tests.
sys.path.insert(0, str(ROOT / "molecule" / "common"))
