#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_info
short_description: What runs on a host, and whether it is ready
version_added: 0.1.0
description:
  - Asks the release engine on the host. C(ready) is what the agent itself answered just now.
options:
  defer:
    description: Do not fail where the host refuses or cannot be reached, but return it as C(problem).
    type: bool
    default: false
    version_added: 0.3.0
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
  - module: muster.agents.fleet_status
"""

EXAMPLES = r"""
- name: Ask what runs here
  muster.agents.agent_info:
  register: status
"""

RETURN = r"""
problem:
  description: With O(defer), why there is no answer; C(kind) and C(msg).
  returned: when the host gave no answer
  type: dict
agents:
  description: One entry for each agent on the host.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Its name on the host., type: str}
    base: {description: Its key in the fleet., type: str}
    host: {description: The host., type: str}
    agent_id: {description: Its id., type: str}
    release: {description: The current release., type: str}
    since: {description: 'When it became current, in UTC.', type: str}
    previous: {description: The release that a rollback would go to., type: str}
    version: {description: The version that its config says., type: str}
    runtime: {description: Name and version of its runtime., type: str}
    config_sha256: {description: SHA-256 of the config that is there., type: str}
    unit: {description: Its systemd unit., type: str}
    state: {description: systemd's word for its state., type: str}
    ready: {description: Whether it answered as itself and ready., type: bool}
    uptime_seconds: {description: Seconds since it became active., type: int}
    restarts: {description: How often systemd restarted it., type: int}
    port: {description: Its health port., type: int}
    ill: {description: 'What the health checks found of it though it answers so: V(stuck) or V(deaf), else empty.', type: str}
    detail: {description: Why it is not ready or ill., type: str}
    held: {description: 'Since when, by whom and why it is held stopped; null where it is not.', type: dict}
    drift: {description: What was changed by hand., type: list}
    overrides: {description: Drop-ins of other people., type: list}
    unfinished: {description: Whether a release of it is under way or was interrupted., type: bool}
"""
