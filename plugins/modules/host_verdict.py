#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_verdict
short_description: End the part of a host in a play as failed or unreachable
version_added: 0.3.0
description:
  - The last task of C(deploy.yml), C(rollback.yml) and C(status.yml). What went wrong on a host was kept until then, so that the others could go on.
options:
  verdict:
    description: 'One of the C(verdicts) of M(muster.agents.fleet_rollout) or M(muster.agents.fleet_status): C(kind) and C(msg).'
    type: dict
    required: true
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
  - module: muster.agents.fleet_rollout
"""

EXAMPLES = r"""
- name: Result
  muster.agents.host_verdict:
    verdict: "{{ rollout.verdicts[inventory_hostname] }}"
  when: inventory_hostname in rollout.verdicts
"""

RETURN = r"""
msg:
  description: What went wrong.
  returned: always
  type: str
"""
