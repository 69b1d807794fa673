#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_releases
short_description: List the releases that a host has of its agents
version_added: 0.3.0
description:
  - Asks the release engine on the host which releases of each agent are there, which one is current, and which were proven good.
options:
  names:
    description: Only these agents, by fleet key, instance name or agent id; all by default.
    type: list
    elements: str
    default: []
  defer:
    description: Do not fail where the host refuses or cannot be reached, but return it as C(problem).
    type: bool
    default: false
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_rollback
"""

EXAMPLES = r"""
- name: Look which releases there are
  muster.agents.agent_releases:
  register: found
"""

RETURN = r"""
agents:
  description: Each agent with C(name), C(base), C(agent_id) and its C(releases), the newest first.
  returned: success
  type: list
  elements: dict
problem:
  description: With O(defer), why there is no answer; C(kind) and C(msg).
  returned: when the host gave no answer
  type: dict
"""
