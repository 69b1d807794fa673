#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: broker_release
short_description: Release a Mosquitto broker's configuration, users and ACL
version_added: 0.1.0
description:
  - The broker's files go through the same engine as an agent's; staged, switched, gated, and reverted where the broker does not come up.
  - A change of users, ACL or certificate alone is a reload; only a changed configuration restarts the broker.
  - Passwords are derived from the variable C(fleet_credentials_key), which is read at the last moment; the broker's host gets hashes only.
options:
  agents:
    description: Ids of the agents that may log in, each with an ACL for exactly its own topics.
    type: list
    elements: str
    required: true
  clients:
    description: Names of other programs that may send tasks and read answers and statuses.
    type: list
    elements: str
    default: []
  port:
    description: Port of the listener.
    type: int
    default: 1883
  bind_address:
    description: Address of the listener that agents use; every address without it.
    type: str
  tls:
    description:
      - How that listener is encrypted. V(files) takes a certificate of your own. V(private_ca) makes a CA and signs one.
      - The certificate is a file of the release, its key is a secret and in no release; a reload is enough for either to change.
    type: str
    choices: [none, files, private_ca]
    default: none
    version_added: 0.4.0
  tls_port:
    description: Port of the listener with TLS.
    type: int
    default: 8883
    version_added: 0.4.0
  tls_certificate:
    description:
      - With O(tls=files), the certificate on the controller, in PEM, with those between it and the CA after it.
      - A relative path starts at the inventory's folder, here and below.
    type: str
    default: ""
    version_added: 0.4.0
  tls_key:
    description: With O(tls=files), its key on the controller, in PEM. The variable C(broker_tls_key) holds the key itself instead.
    type: str
    default: ""
    version_added: 0.4.0
  tls_ca:
    description: With O(tls=files), the CA that agents verify with; without it they use the trust store of their hosts.
    type: str
    default: ""
    version_added: 0.4.0
  tls_folder:
    description:
      - With O(tls=private_ca), where the CA and the certificates are kept on the controller; C(.pki) in the inventory's folder by default.
      - The keys in it have mode 0600, and are encrypted with C(broker_ca_passphrase) where that variable is set.
    type: str
    default: ""
    version_added: 0.4.0
  tls_names:
    description: With O(tls=private_ca), further host names and addresses that the certificate is for.
    type: list
    elements: str
    default: []
    version_added: 0.4.0
  tls_days:
    description: With O(tls=private_ca), how long a certificate is valid; with a third of it left, it is renewed.
    type: int
    default: 365
    version_added: 0.4.0
  tls_client_ca:
    description:
      - The CA of clients that show a certificate, on the controller, in PEM. They have a listener of their own and need no password.
      - Who connects is the user that the certificate's common name says, one of O(clients). Agents keep their passwords.
    type: str
    default: ""
    version_added: 0.4.0
  tls_client_port:
    description: Port of that listener.
    type: int
    default: 8884
    version_added: 0.4.0
  plain_address:
    description: With TLS, the address of the listener without it, which stays for programs on the broker's host; empty for none.
    type: str
    default: 127.0.0.1
    version_added: 0.4.0
  persistence:
    description: Keep queued tasks and retained statuses over a restart.
    type: bool
    default: true
  autosave_interval:
    description:
      - Seconds between two times that the broker saves what it keeps. A crash costs what came since, confirmed or not.
      - 0 saves only when the broker stops.
    type: int
    default: 10
    version_added: 0.4.0
  max_packet_size:
    description: The largest packet in bytes; a message of 256 KiB, with 64 KiB for its topic and headers. 0 is no limit, here and below.
    type: int
    default: 327680
    version_added: 0.4.0
  max_connections:
    description: How many clients may be connected to a listener at one time.
    type: int
    default: 1000
    version_added: 0.4.0
  max_inflight_messages:
    description: How many messages may be on their way to one client without its confirmation.
    type: int
    default: 20
    version_added: 0.4.0
  max_queued_messages:
    description: How many messages wait for one client that is away or busy; further ones are dropped.
    type: int
    default: 10000
    version_added: 0.4.0
  max_queued_bytes:
    description: How many bytes of them; whichever limit is met first counts.
    type: int
    default: 67108864
    version_added: 0.4.0
  bridges:
    description:
      - 'Connections to other brokers, by name, such as C({cloud: {address: mqtt.example.com, username: site-1, topics: [{topic: "/conversations/#",
        direction: out}]}}). Their keys are C(address), C(port), C(topics), C(username), C(tls), C(ca) and C(options).'
      - Their passwords are in the variable C(broker_bridge_passwords), by the same names.
    type: raw
    default: {}
    version_added: 0.4.0
  extra:
    description: Further lines for mosquitto.conf, at its end.
    type: list
    elements: str
    default: []
  rekey:
    description: Allow what concerns all agents at once; a new C(fleet_credentials_key), and a restart of a broker that runs.
    type: bool
    default: true
  deadline:
    description: Seconds within which the broker must take connections.
    type: float
    default: 30.0
attributes:
  check_mode:
    description: Predicts what a run would do, also where the package is not installed yet.
    support: full
  diff_mode:
    description: Shows configuration and ACL; of the users only that they differ.
    support: full
  idempotent:
    description: Salts are derived too, so a second run writes the same bytes and changes nothing.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_release
"""

EXAMPLES = r"""
- name: A broker for two agents and a task sender
  muster.agents.broker_release:
    agents: [researcher-agent, writer-agent]
    clients: [ci]
"""

RETURN = r"""
missing_packages:
  description: Debian packages to install before the release can go on.
  returned: always
  type: list
outcomes:
  description: What became of the broker.
  returned: always
  type: list
"""
