#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_plan
short_description: Decide which agent runs where, from the fleet and the agents' configs
version_added: 0.1.0
description:
  - Reads every config of the fleet, applies the fleet's overrides, resolves placeholders, checks all agents as
    M(muster.agents.agent_config) does, places each instance on a host and gives it a port. A pure function of its input; no
    host is touched.
  - Of secrets only the names in the variable C(agent_secrets) are read.
  - All errors are reported at once, each with its file and line or the variable it is in; warnings are shown, too.
extends_documentation_fragment:
  - muster.agents.fleet
options:
  agent:
    description:
      - Which agents; a name, a comma list or C(all).
      - A name resolves by its key in the fleet, then by the stem of its config file, then by C(agent.id).
    type: raw
    default: all
  fleet:
    description:
      - The agents by name, each with any of C(config), C(format), C(hosts), C(instances), C(runtime), C(resources),
        C(environment), C(overrides), C(port), C(deadline), C(min_healthy_time), C(rollout), C(hooks), C(health), C(notify),
        C(secrets_backend) and C(silence).
    type: raw
    required: true
  unit_template:
    description: A Jinja template for the systemd unit, in place of the built-in one.
    type: str
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: It never changes anything.
    support: none
  idempotent:
    description: The same input gives the same plan, byte for byte.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_config
  - module: muster.agents.agent_release
"""

EXAMPLES = r"""
- name: Plan the whole fleet
  muster.agents.agent_plan:
    fleet:
      researcher: {}
      writer:
        hosts: writers
        instances: 2
        resources: {memory: 1Gi, cpu: 500m}
  register: planned
  run_once: true
"""

RETURN = r"""
plan:
  description:
    - Who runs where, without the value of any secret.
  returned: success
  type: dict
  contains:
    hosts:
      description: For each host, as JSON text, a list of workloads, with manifest, files and where each secret comes from.
      type: dict
    pool:
      description: Every host on which an agent of the fleet may run.
      type: list
    brokers:
      description: The hosts of the broker group, empty with an external broker.
      type: list
    names:
      description: The selected agents, by their key in the fleet.
      type: list
    fleet:
      description: All agents, by their key in the fleet.
      type: list
    ids:
      description: Every agent id of the whole fleet.
      type: list
    artifacts:
      description: Runtime files that may have to be pushed, by SHA-256.
      type: dict
"""
