#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_hold
short_description: Hold agents of one host stopped, or let them go on
version_added: 0.3.0
description:
  - A maintenance switch. A held agent is stopped and stays so across deploys and reboots.
  - Without a controller, C(muster hold) and C(muster unhold) on the host do the same.
options:
  names:
    description: The agents, by fleet key, instance name or agent id. Those that are not on this host are none of its business.
    type: list
    elements: str
    required: true
  held:
    description: Whether they are to be held. Where not, they start again and have to become ready.
    type: bool
    default: true
  note:
    description: Why, for everybody who looks.
    type: str
    default: ''
  moving:
    description: Let only those go on that were stopped because they were about to move to another host.
    type: bool
    default: false
    version_added: 0.4.0
  defer:
    description: Do not fail where the host cannot be asked or an agent is not ready, but return C(problem) or C(unready).
    type: bool
    default: false
    version_added: 0.4.0
attributes:
  check_mode:
    description: Predicts what a run would do.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: An agent that is held already is left alone.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_release
"""

EXAMPLES = r"""
- name: Stop the writer for as long as the disk is being replaced
  muster.agents.agent_hold:
    names: [writer]
    note: disk
"""

RETURN = r"""
held:
  description: The agents that were stopped.
  returned: always
  type: list
  elements: str
unheld:
  description: The agents that were let go on.
  returned: always
  type: list
  elements: str
unready:
  description: The agents that were let go on and did not become ready, each with why.
  returned: always
  type: dict
problem:
  description: With O(defer), C(kind) and C(msg) of what would have failed the task.
  returned: when the host did not answer or refused
  type: dict
unchanged:
  description: The agents that were as asked already.
  returned: always
  type: list
  elements: str
"""
