#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_backup
short_description: Back up what muster has on one host, encrypted
version_added: 0.4.0
description:
  - Fetches the state of muster, releases with their runtimes, history, holds, the data of agents, and the database of a broker that is
    saved for this moment, and writes them to one encrypted file on the controller. Agents and broker run on.
  - Secrets are not part of it. A restore takes those of its own day from the inventory.
  - The passphrase is the inventory variable C(backup_passphrase), which belongs in a vault. It is no option, so that no task holds it.
  - What arrives is encrypted before it is written, and is in no log. A host that muster has nothing on gets no file.
options:
  folder:
    description: The folder of all backups on the controller; a relative path starts at the inventory's. Without it that is C(.backups).
    type: str
    default: ''
  run:
    description: The name of this backup, which becomes a folder with a file for each host.
    type: str
    required: true
  data:
    description: Whether the data of agents are part of it.
    type: bool
    default: true
  without_data:
    description: Agents whose data are left out, by fleet key, instance or id.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells what would be in it, and writes nothing.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: Each call makes a backup of what is there then.
    support: none
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_restore
"""

EXAMPLES = r"""
- name: Back up, but for what the crawler can fetch again
  muster.agents.agent_backup:
    run: before-the-move
    without_data: [crawler]
"""

RETURN = r"""
file:
  description: The file on the controller.
  returned: where muster has something on the host
  type: str
workloads:
  description: The agents and services that are in it.
  returned: where muster has something on the host
  type: list
  elements: str
left_out:
  description: What could not be part of it, each with why.
  returned: where muster has something on the host
  type: list
  elements: str
"""
