#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_targets
short_description: Tell what Prometheus is to scrape, from the fleet
version_added: 0.4.0
description:
  - Checks the fleet as M(muster.agents.agent_plan) does, and gives a target for every agent whose runtime has metrics as
    Prometheus text, and one for node_exporter on every host that has agents or the broker.
  - A pure function of its input; no host is touched, no secret is read.
  - An agent that cannot be scraped is left out with a warning that says why.
  - The host variable C(observability_address) names a host for Prometheus where C(ansible_host) does not.
extends_documentation_fragment:
  - muster.agents.fleet
options:
  fleet:
    description: The agents by name, as for M(muster.agents.agent_plan).
    type: raw
    required: true
  labels:
    description: Labels that every target gets, beside C(host), and C(agent) and C(base) of an agent.
    type: dict
    default: {}
  node_exporter_port:
    description: Where node_exporter listens on every host.
    type: int
    default: 9100
  prometheus_group:
    description:
      - The inventory group of the hosts that run Prometheus.
      - Agents that listen on loopback are scraped where its only host is theirs.
    type: str
    default: prometheus
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: It never changes anything.
    support: none
  idempotent:
    description: The same input gives the same targets.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_plan
"""

EXAMPLES = r"""
- name: Tell what to scrape
  muster.agents.fleet_targets:
    fleet: "{{ fleet }}"
    labels: {environment: production}
  register: targets
"""

RETURN = r"""
agents:
  description: Targets for Prometheus' C(file_sd), one for each agent, with C(targets) and C(labels).
  returned: success
  type: list
  elements: dict
hosts:
  description: Likewise one for node_exporter on each host.
  returned: success
  type: list
  elements: dict
left_out:
  description: Agents that cannot be scraped, by instance, each with why.
  returned: success
  type: dict
"""
