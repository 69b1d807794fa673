#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_config
short_description: Read agent configs of four formats, and find every mistake before a host is touched
version_added: 0.2.0
description:
  - Reads agent configs (agent2389 TOML, SimpleMas or OpenMAS deploy metadata, GenAI C(agent.config.json), Agent Engine
    config folders, and formats of your own by their JSON Schema), recognised by their content.
  - Reports everything that is wrong in one run, each finding with its file, line, column, code and, where there is one,
    a suggestion. The codes are explained in C(docs/diagnostics.md).
  - With O(path), files and folders are checked by themselves; which secrets they need is listed, not required.
  - With O(fleet), the whole inventory is checked as the deploy checks it, and the agents against each other. No host has
    to be reachable. Of secrets only the names in the variable C(agent_secrets) are read, so values that are encrypted one
    by one (C(ansible-vault encrypt_string)) need no password. Where it is not defined, secrets are listed, not required.
  - With neither, the inventory's own variable C(fleet) is checked. Of the options below, those that are not given are then
    taken from the variables C(agent_runtimes), C(agents_dir), C(mqtt_broker_url), C(mqtt_broker_ca), C(fleet_silence) and C(fleet_strict).
  - What is wrong with the fleet is placed in the files of C(group_vars/all), or a YAML inventory, that define it.
  - It runs on the controller and changes nothing.
extends_documentation_fragment:
  - muster.agents.fleet
options:
  path:
    description:
      - Files and folders. A relative one counts from the directory that the command runs in, else from an inventory's
        directory or one of the three above it.
      - In a folder, what is no agent config is left out and listed in RV(left_out).
    type: list
    elements: str
  fleet:
    description: The agents by name, as for M(muster.agents.agent_plan). Not together with O(path).
    type: raw
  format:
    description: The format of O(path), for files whose content does not say it, such as C(agent2389) or C(genai).
    type: str
    default: ''
  fail_on:
    description: The least level at which the task fails.
    type: str
    choices: [error, warning, hint, never]
    default: error
  sarif:
    description: A file to write the findings to as SARIF 2.1.0, so that code hosts show them in pull requests.
    type: path
attributes:
  check_mode:
    description: It changes nothing, and does the same. The SARIF file is written too.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: The same files give the same findings in the same order.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_plan
"""

EXAMPLES = r"""
- name: Check every agent config of a folder
  muster.agents.agent_config:
    path: agents

- name: Check a whole inventory, warnings too, and leave a report for the code host
  muster.agents.agent_config:
    fleet: "{{ fleet }}"
    runtimes: "{{ agent_runtimes | default({}) }}"
    strict: true
    sarif: muster.sarif

# From a shell: ansible localhost -m muster.agents.agent_config -a 'path=agents'
# The fleet of an inventory: ansible localhost -i inventories/production -m muster.agents.agent_config
"""

RETURN = r"""
diagnostics:
  description: Everything that was found, by file, line and column.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description: The kind of finding; it never changes its meaning.
      type: str
      sample: MA204
    level:
      description: C(error), C(warning) or C(hint).
      type: str
    file:
      description: The file, or an empty text for a variable that no file could be found for.
      type: str
      sample: agents/researcher.toml
    line:
      description: From 1.
      type: int
      sample: 14
    column:
      description: In characters, from 1.
      type: int
      sample: 1
    path:
      description: The key.
      type: str
      sample: llm.temperature
    message:
      description: What is wrong. Never the value of a secret.
      type: str
      sample: llm.temperature is 3.5; it must be between 0.0 and 2.0
    suggestion:
      description: What was probably meant.
      type: str
      sample: did you mean max_tool_calls?
counts:
  description: How many of each level.
  returned: always
  type: dict
  sample: {error: 1, warning: 0, hint: 2}
specs:
  description: Every agent that could be read, whatever its format, in one form. What has no value is left out.
  returned: always
  type: list
  elements: dict
  contains:
    agent_id:
      description: Its id.
      type: str
    format:
      description: The format it was read from.
      type: str
    agent:
      description: Its key in the fleet; only with O(fleet).
      type: str
    description:
      description: What it does, in its own words.
      type: str
    runtime:
      description: The program that the config names, where it names one.
      type: str
    file:
      description: The file that its id stands in.
      type: str
    secrets:
      description: The variables that it needs from C(agent_secrets), each with C(variable) and C(required).
      type: list
      elements: dict
    environment:
      description: Variables that the config itself sets. What looks like a secret is hidden.
      type: dict
    ports:
      description: Ports that the config fixes.
      type: list
      elements: dict
    volumes:
      description: Folders that must outlive releases.
      type: list
      elements: dict
    dependencies:
      description: Other agents that it needs or can use.
      type: list
      elements: dict
    targets:
      description: The ids of agents that it hands work to.
      type: list
      elements: str
    mqtt:
      description: How it reaches its broker.
      type: dict
    resources:
      description: What it asks for, in Kubernetes notation.
      type: dict
    scaling:
      description: How many copies it asks for.
      type: dict
    health:
      description: What to probe.
      type: dict
    version:
      description: Its own version, where it has one.
      type: str
    files:
      description: The names of its files on the host.
      type: list
      elements: str
silenced:
  description: The findings that were not reported, each with its C(reason).
  returned: always
  type: list
  elements: dict
left_out:
  description: Files of the folders in O(path) that are no agent configs.
  returned: always
  type: list
  elements: str
msg:
  description: The findings as lines of text, and a last line that sums them up.
  returned: always
  type: str
"""
