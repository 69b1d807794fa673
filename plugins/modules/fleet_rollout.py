#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rollout
short_description: Decide what a rollout does next, once for all hosts
version_added: 0.3.0
description:
  - The thread through C(deploy.yml), C(rollback.yml) and C(rotate_secrets.yml), between the tasks that work on hosts. It reads what
    those registered, decides which hosts switch in which wave and when a rollout stops, and prints the summary.
  - Playbooks of your own hardly need it. It knows the names under which this collection's roles and playbooks register their results.
options:
  step:
    description:
      - V(begin) reads what staging found and divides it into waves.
      - V(rollback) reads which releases there are and chooses those to go back to.
      - V(rotate) reads which secrets the current releases use, and plans the rotation of those that are asked for.
      - V(broker) and V(wave) read what came of the broker and of a wave.
      - V(stopped) takes out of a wave who was to move and did not stop where it was.
      - V(end) prints the summary, and says which hosts failed.
    type: str
    choices: [begin, rollback, rotate, broker, stopped, wave, end]
    required: true
  hosts:
    description: All hosts of the play, for the first step.
    type: list
    elements: str
    default: []
  course:
    description: What the step before returned.
    type: dict
    default: {}
  wave:
    description: Which wave, from 0.
    type: int
    default: 0
  names:
    description: In the steps V(rollback) and V(rotate), the agents by fleet key, instance name or agent id; C(all) are all.
    type: list
    elements: str
    default: []
  release:
    description: In step V(rollback), an id or how it begins; by default the previous proven release of each agent.
    type: str
    default: ''
  secrets:
    description: In step V(rotate), only these secrets, by their names in C(agent_secrets).
    type: list
    elements: str
    default: []
    version_added: 0.4.0
  fleet:
    description: In step V(rotate), the inventory's C(fleet), for the agents' own policies and hooks.
    type: raw
    default: {}
    version_added: 0.4.0
  rollout:
    description: In step V(rotate), the inventory's C(fleet_rollout).
    type: raw
    version_added: 0.4.0
  report:
    description: A file on the controller for the outcome as JSON, written by the step with which it is over.
    type: path
attributes:
  check_mode:
    description: It changes nothing on any host.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: It changes nothing on any host.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_release
"""

EXAMPLES = r"""
- name: Decide what follows
  muster.agents.fleet_rollout:
    step: begin
    hosts: "{{ ansible_play_hosts_all }}"
  register: _rollout
"""

RETURN = r"""
plan:
  description: What is to be rotated, in the form that M(muster.agents.agent_release) takes.
  returned: step is rotate
  type: dict
waves:
  description: The waves, each with the agents to C(switch) and to C(retire) by host.
  returned: success
  type: list
  elements: dict
stop:
  description: Why nothing more is switched; empty while the rollout goes on.
  returned: success
  type: str
outcomes:
  description: What became of each agent so far.
  returned: success
  type: list
  elements: dict
counts:
  description: How many agents were C(changed), C(unchanged), C(reverted), C(failed), and how many hosts were C(unreachable).
  returned: step is end
  type: dict
verdicts:
  description: The hosts on which something went wrong, each with C(kind) and C(msg).
  returned: step is end
  type: dict
"""
