# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The release engine: the program `muster` on each host. Standard library only, Python 3.9 or newer.

It gets finished bytes and applies them; it knows nothing of Ansible, Jinja or a vault. One release goes through
the phases lock, stage, check, switch, gate, commit or revert, prune: each has a module of that name here, and
`release.py` strings them together.
"""

from __future__ import annotations

VERSION = "0.5.0"
