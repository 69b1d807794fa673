# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Entry of `python -m muster_agent` and of the zipapp."""

from __future__ import annotations

import sys

# Said before anything else is imported: an older interpreter would fail on our syntax with a traceback.
if sys.version_info < (3, 9):  # noqa: UP036 (hosts may have an older one)
    sys.exit("muster-agent needs Python 3.9 or newer; this is " + sys.version.split()[0])

from muster_agent.cli import main

sys.exit(main())
