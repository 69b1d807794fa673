#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_rollback
short_description: Take agents of one host back to earlier releases
version_added: 0.3.0
description:
  - Switches to releases that are still on the host, with the secrets of today, and gates them like any release. A release that does
    not become healthy is reverted.
  - Nothing is downloaded. Without a controller, C(muster rollback) on the host does the same.
options:
  targets:
    description: 'The release for each agent: the name of an instance, and a release id.'
    type: dict
    required: true
  source:
    description: What the history of the host is to say about the fleet, such as C(commit).
    type: dict
    default: {}
  parallel:
    description: How many services may be on their way up at one time.
    type: int
    default: 8
  keep:
    description: How many proven releases stay on the host.
    type: int
    default: 5
  defer:
    description: Do not fail where the host refuses or cannot be reached, but return it as C(problem).
    type: bool
    default: false
attributes:
  check_mode:
    description: Predicts what a run would do.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: An agent that is on its target already is refused, and not restarted.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_releases
"""

EXAMPLES = r"""
- name: Take one agent back
  muster.agents.agent_rollback:
    targets:
      researcher: 3f2a9c41d05e7b86
"""

RETURN = r"""
outcomes:
  description: What became of each agent, with C(result), C(phase), C(reason) and seconds for each phase.
  returned: success
  type: list
  elements: dict
problem:
  description: With O(defer), why nothing was done; C(kind) and C(msg).
  returned: when the host refused or cannot be reached
  type: dict
"""
