# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker as a workload of the engine: its configuration, users and ACL are staged, switched and gated like an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.files import sha256_bytes
from ansible_collections.muster.agents.plugins.plugin_utils.mosquitto import (
    BrokerPaths,
    BrokerSettings,
    key_fingerprint,
    render_acl,
    render_conf,
    render_passwords,
)

_CONF = "/etc/mosquitto/conf.d/muster.conf"


def broker_workload(
    settings: BrokerSettings, key: str, agents: Sequence[str], clients: Sequence[str], deadline: float
) -> dict[str, Any]:
    """{manifest, files} for Debian's mosquitto.service. Raises ValueError where a name or address cannot be used."""
    paths = BrokerPaths()
    texts = {
        "conf": render_conf(settings, paths),
        "passwords": render_passwords(key, [*agents, *clients]),
        "acl": render_acl(agents, clients),
    }
    listener = settings.listeners[0]
    gate: dict[str, Any] = {"port": listener.port, "deadline": deadline, "min_healthy_time": 1.0}
    if listener.bind_address not in (None, "0.0.0.0", "::"):
        gate["host"] = listener.bind_address
    secret = {"mode": "0640", "group": "mosquitto"}
    return {
        "manifest": {
            "format": manifest.FORMAT,
            "kind": "service",
            "name": "mosquitto",
            "base": "mosquitto",
            "unit": "mosquitto.service",
            "files": {name: sha256_bytes(text.encode()) for name, text in texts.items()},
            "install": {
                _CONF: {"file": "conf", "mode": "0644"},
                paths.passwords: {"file": "passwords", **secret},
                paths.acl: {"file": "acl", **secret},
            },
            "reload": ["passwords", "acl"],
            "hidden": ["passwords"],
            # Tells a new key from new users, and tells nothing of the key.
            "credentials": key_fingerprint(key),
            "requires": {"/usr/sbin/mosquitto": "mosquitto"},
            "gate": gate,
        },
        "files": texts,
    }
