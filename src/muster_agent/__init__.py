# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reference agent of muster.agents: an agent of the public 2389 protocol in pure Python."""

from __future__ import annotations

__version__ = "0.1.0"
