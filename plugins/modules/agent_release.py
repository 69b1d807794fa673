#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_release
short_description: Release, retire or remove the agents of one host, in one call
version_added: 0.1.0
description:
  - Hands the plan of one host to the release engine there. Twenty agents cost about what one costs.
  - A release that does not become healthy is reverted on the host, and the task fails with the reason and the last log lines.
  - The values of secrets are read from the variables C(agent_secrets) and C(fleet_credentials_key) at the last moment. They are
    never an argument, and no result, diff or log holds them.
options:
  phase:
    description:
      - V(stage) writes and checks the releases and touches nothing that runs.
      - V(retire) takes off the host what moved to another one, and only stops what is about to (O(moves)).
      - V(switch) makes the staged releases current, gates them, and commits or reverts.
      - V(remove) takes agents off the host.
    type: str
    choices: [stage, retire, switch, remove]
    required: true
  plan:
    description: The C(plan) that M(muster.agents.agent_plan) returned.
    type: raw
    default: {}
  staged:
    description: What phase V(stage) returned, for the phases after it.
    type: raw
    default: {}
  only:
    description: Of what was staged, switch or retire only these agents, by the names of their instances.
    type: list
    elements: str
    version_added: 0.3.0
  moves:
    description:
      - Of what is retired, the agents that are about to start on another host, each with that host.
      - They are stopped and kept, so that M(muster.agents.agent_hold) with O(muster.agents.agent_hold#module:moving) brings them back.
    type: dict
    default: {}
    version_added: 0.4.0
  names:
    description: Agents to remove, by their key in the fleet, an instance's name or an agent id.
    type: list
    elements: str
    default: []
  purge:
    description: Remove the data of the agents too.
    type: bool
    default: false
  assume_gone:
    description: Start an agent that is new on this host although the broker says that its id is available elsewhere.
    type: bool
    default: false
  parallel:
    description: How many services may be on their way up at one time.
    type: int
    default: 8
  keep:
    description: How many releases that were proven good stay on the host, the current one among them.
    type: int
    default: 5
    version_added: 0.3.0
  fail_on_drift:
    description: In phase V(stage), refuse where something was changed by hand, instead of mending it.
    type: bool
    default: false
    version_added: 0.3.0
  restart:
    description: In phase V(switch), restart and gate also what does not differ; after a restart of the broker, its agents may be deaf.
    type: bool
    default: false
    version_added: 0.4.0
  stay:
    description: In phase V(switch), restart and gate the agents in O(only) on the releases that they have, and switch nothing.
    type: bool
    default: false
    version_added: 0.4.0
  defer:
    description: Do not fail where something went wrong on the host, but return it as C(problem), or in C(outcomes).
    type: bool
    default: false
    version_added: 0.3.0
attributes:
  check_mode:
    description: Predicts what a run would do, also on a host that was never deployed to.
    support: full
  diff_mode:
    description: Phase V(stage) shows configs, environments, units and runtimes; of secrets only the names.
    support: full
  idempotent:
    description: A second run with the same plan changes nothing.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_plan
  - module: muster.agents.agent_info
"""

EXAMPLES = r"""
- name: Stage and check
  muster.agents.agent_release:
    phase: stage
    plan: "{{ planned.plan }}"
  register: staged

- name: Switch
  muster.agents.agent_release:
    phase: switch
    plan: "{{ planned.plan }}"
    staged: "{{ staged }}"
"""

RETURN = r"""
pending:
  description: Agents that have something to switch, each with its reasons.
  returned: phase is stage
  type: dict
  sample: {researcher: [agent.toml, secrets]}
refused:
  description: Agents that must not be switched, each with the reason.
  returned: phase is stage
  type: dict
retire:
  description: Agents that are here and by today's plan belong elsewhere.
  returned: phase is stage
  type: list
releases:
  description: The release before and after, of each agent in C(pending).
  returned: phase is stage
  type: dict
seconds:
  description: How long the phases of staging took on this host.
  returned: phase is stage
  type: dict
held:
  description: Agents that are held stopped, each with C(since), C(who) and C(note). They are left as they are.
  returned: phase is stage
  type: dict
broker:
  description: On the broker's host, what its release would change (C(pending), C(missing_packages)).
  returned: phase is stage
  type: dict
here:
  description: All agents that belong on this host.
  returned: phase is stage
  type: list
ids:
  description: Ids of all agents that are on this host.
  returned: phase is stage
  type: list
orphans:
  description: Agents that are here and that no fleet names any more, with their ids. They are left alone.
  returned: phase is stage
  type: dict
outcomes:
  description:
    - What became of each agent. C(result) is C(released), C(reverted), C(removed), C(failed) or C(refused).
    - C(phase) says where it went wrong, C(reason) and C(log) why, C(seconds) how long each phase took.
  returned: phase is switch
  type: list
  elements: dict
retired:
  description: The agents that were taken off the host because they moved.
  returned: phase is retire
  type: list
moving:
  description: The agents that were stopped because they are about to start elsewhere.
  returned: phase is retire
  type: list
removed:
  description: The agents that were removed, each with C(name), C(base) and C(warning).
  returned: phase is remove
  type: list
purged:
  description: The data directories that were removed.
  returned: phase is remove
  type: list
kind:
  description: Why the host did not do it; C(refused), C(unsupported), C(busy), C(no_room) or C(unreachable).
  returned: failure
  type: str
problem:
  description: With O(defer), C(kind) and C(msg) of what would have failed the task.
  returned: when something went wrong on the host
  type: dict
"""
