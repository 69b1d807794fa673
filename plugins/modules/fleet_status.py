#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_status
short_description: Print what runs where, once for all hosts of the play
version_added: 0.1.0
description:
  - Takes what M(muster.agents.agent_info) found on each host and prints a table or one line of JSON.
  - Fails, after printing, where an agent is not ready, stuck, deaf or missing, where something was changed by hand, or a host gave no answer;
    with O(defer) it says in RV(verdicts) of which host that is true. An agent that is held is as it should be.
options:
  found:
    description: The result of M(muster.agents.agent_info), by host.
    type: dict
    required: true
  hosts:
    description: All hosts that were asked.
    type: list
    elements: str
    required: true
  fleet:
    description: The agents that should run, by their key in the fleet.
    type: list
    elements: str
    default: []
  instances:
    description: How many instances there should be of each, by their key in the fleet; what is no number is not counted.
    type: dict
    default: {}
    version_added: 0.5.0
  names:
    description: Show only these agents, by fleet key, instance name or id.
    type: list
    elements: str
    default: []
  format:
    description: V(table) for people, V(json) for programs.
    type: str
    choices: [table, json]
    default: table
  defer:
    description: Do not fail, so that M(muster.agents.host_verdict) ends each host's part of the play as what it was.
    type: bool
    default: false
    version_added: 0.5.0
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: It never changes anything.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_info
  - module: muster.agents.host_verdict
"""

EXAMPLES = r"""
- name: Print the status of two hosts
  muster.agents.fleet_status:
    hosts: [a, b]
    found:
      a: "{{ hostvars.a.status }}"
      b: "{{ hostvars.b.status }}"
"""

RETURN = r"""
agents:
  description: All agents that were found.
  returned: always
  type: list
absent:
  description: Agents that should run, or were asked for, and were found on no host.
  returned: always
  type: list
silent:
  description: Hosts that gave no answer, each with the reason.
  returned: always
  type: dict
verdicts:
  description: C(kind) and C(msg) for each host that is not as it should be, for M(muster.agents.host_verdict).
  returned: always
  type: dict
"""
