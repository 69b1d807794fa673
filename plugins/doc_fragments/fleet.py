# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """What agent_plan and agent_config both take."""

    DOCUMENTATION = r"""
requirements:
  - jsonschema >= 4.18 on the controller
options:
  runtimes:
    description: The programs that run configs, by name. The built-in C(reference) is always there.
    type: raw
    default: {}
  agents_dir:
    description:
      - Where the fleet's configs stand, relative to the directory that the command runs in, or to an inventory's directory
        or one of the three above it.
    type: str
    default: agents
  broker_url:
    description: URL of an external broker. Without it C(${MQTT_BROKER_URL}) is derived from the broker group.
    type: str
  broker_ca:
    description:
      - A file on the controller with the CA that agents verify an external broker with, for a O(broker_url) with C(mqtts://).
        Without it they go by what their hosts trust. A relative path starts at the inventory's folder.
    type: str
    version_added: 0.4.0
  broker_group:
    description: The inventory group whose first host is the broker.
    type: str
    default: broker
  strict:
    description: Warnings count as errors.
    type: bool
    default: false
    version_added: 0.2.0
  rollout:
    description:
      - 'In which order hosts switch, such as C({canary: 1, then: [25%, 100%], max_failed: 0, pause: 0, revert_switched: false}).'
      - 'What is left out is as in C({canary: 1, then: [100%], max_failed: 0, pause: 0, revert_switched: false}).'
    type: raw
    version_added: 0.3.0
  health:
    description:
      - 'How agents are looked after once they run: any part of C({liveness: {delay: 30, period: 10, timeout: 5, threshold: 3},
        readiness: {delay: 10, period: 5, timeout: 3, threshold: 2}, broker: {period: 30, timeout: 5, threshold: 3,
        heartbeats: 3}, restart: {wait: 60, most: 4}}), which are the defaults. Times in seconds; C(most) is restarts within
        an hour.'
      - An agent's own C(health) in the fleet goes before it, key by key.
    type: raw
    version_added: 0.4.0
  notify:
    description:
      - 'A command on the host that is told when the health of an agent or its broker changes, such as
        C({run: [/usr/local/bin/tell], timeout: 30, user: nobody}). It gets C(MUSTER_*) variables, and the same as JSON on its
        standard input.'
      - An agent's own C(notify) in the fleet takes its place.
    type: raw
    version_added: 0.4.0
  secrets_backend:
    description:
      - How the secrets of agents are kept on their hosts, where an agent's C(secrets_backend) says nothing else.
      - C(environment_file) is a file that only root can read. C(credentials) are encrypted at rest by C(systemd-creds), and need
        systemd 250 or newer.
      - 'Without it, as C(environment_file).'
    type: raw
    version_added: 0.4.0
  silence:
    description:
      - 'Codes that are not reported, each with the reason, such as C({MA201: read by our own fork}).'
      - What keeps a file from being read (errors of C(MA1xx)) and literal secrets (C(MA301)) cannot be silenced.
    type: raw
    default: {}
    version_added: 0.2.0
"""
