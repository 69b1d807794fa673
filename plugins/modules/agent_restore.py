#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_restore
short_description: Bring one host back from its backup
version_added: 0.4.0
description:
  - Takes what M(muster.agents.agent_backup) wrote to a host that has nothing of muster, and starts on it exactly the releases that were
    current, with the secrets of today, gated. What was held stays held.
  - Its steps are those of the playbook C(restore.yml), so that no host is changed before all backups were proven.
  - The passphrase is the inventory variable C(backup_passphrase). It is no option, so that no task holds it.
options:
  step:
    description:
      - V(look) decrypts the whole backup and asks the host, and changes nothing.
      - V(unpack) brings it there and unpacks it beside everything, and proves every file of it.
      - V(place) puts all in place, and V(start) starts the workloads of one O(kind).
    type: str
    choices: [look, unpack, place, start]
    required: true
  folder:
    description: The folder of all backups on the controller; a relative path starts at the inventory's. Without it that is C(.backups).
    type: str
    default: ''
  run:
    description: The name of the backup. Without it the newest is taken.
    type: str
    default: ''
  source:
    description: The host whose backup it is, where that is another one.
    type: str
    default: ''
  replace:
    description: Take off first what muster has on the host. Without it such a host is refused.
    type: bool
    default: false
  unpacked:
    description: What the step V(unpack) returned.
    type: dict
    default: {}
  kind:
    description: What is to be started.
    type: str
    choices: [agent, service]
    default: agent
  will_start:
    description: Whether a start is to follow. The step V(unpack) then refuses where today's secrets do not fit.
    type: bool
    default: true
  assume_gone:
    description: Start an agent although the broker says that its id is available somewhere.
    type: bool
    default: false
  parallel:
    description: How many services may be on their way up at one time.
    type: int
    default: 8
attributes:
  check_mode:
    description: The step V(look) does all of its work; the others do nothing.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: A host that was restored is not one to restore to.
    support: none
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_backup
"""

EXAMPLES = r"""
- name: Is there a backup that could be restored
  muster.agents.agent_restore:
    step: look
"""

RETURN = r"""
file:
  description: The backup on the controller.
  returned: by the step V(look)
  type: str
made:
  description: When it was made, in UTC.
  returned: by the step V(look)
  type: str
replaces:
  description: What would be taken off the host first.
  returned: by the step V(look)
  type: list
  elements: str
token:
  description: What names the unpacked backup on the host.
  returned: by the step V(unpack)
  type: str
workloads:
  description: What is in the backup, with the names of the secrets that it needs.
  returned: by the steps V(unpack) and V(place)
  type: list
  elements: raw
ids:
  description: The ids of its agents.
  returned: by the step V(unpack)
  type: list
  elements: str
services:
  description: Its services, such as the broker.
  returned: by the step V(unpack)
  type: list
  elements: str
missing_packages:
  description: What they need and the host lacks.
  returned: by the step V(unpack)
  type: list
  elements: str
outcomes:
  description: What became of each workload.
  returned: by the step V(start)
  type: list
  elements: dict
"""
