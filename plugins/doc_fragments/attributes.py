# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the attributes of this collection's modules mean, written once."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changed status prediction without modifying the target.
  diff_mode:
    description: Returns details of what has changed, or would change, in diff mode.
"""

    IDEMPOTENT = r"""
options: {}
attributes:
  idempotent:
    description: A second run with the same input changes nothing.
"""
