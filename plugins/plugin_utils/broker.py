# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker as a workload of the engine: its configuration, users and ACL are staged, switched and gated like an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.files import sha256_bytes
from ansible_collections.muster.agents.plugins.plugin_utils.mosquitto import (
    BrokerPaths,
    BrokerSettings,
    Listener,
    key_fingerprint,
    render_acl,
    render_conf,
    render_passwords,
)

BROKER = "mosquitto"
DEADLINE = 30.0  # seconds in which a broker has to take connections
_DEFAULTS = Path(__file__).resolve().parents[2] / "roles/mosquitto/defaults/main.yml"
_CONF = "/etc/mosquitto/conf.d/muster.conf"


def broker_options(action: ActionBase, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What a host's variables say of its broker, by the names of broker_release's options; else the role's defaults."""
    defaults = yaml.safe_load(_DEFAULTS.read_text("utf-8"))
    return {
        name.removeprefix("mosquitto_"): action._templar.template(variables[name])
        if name in variables
        else value
        for name, value in defaults.items()
    }


def broker_workload(options: Mapping[str, Any], key: str, agents: Sequence[str]) -> dict[str, Any]:
    """{manifest, files} for Debian's mosquitto.service, from options of broker_release.

    Raises ValueError where a name or address cannot be used.
    """
    paths = BrokerPaths()
    clients = options["clients"]
    settings = BrokerSettings(
        listeners=(Listener(int(options["port"]), options["bind_address"]),),
        persistence=bool(options["persistence"]),
        extra=tuple(options["extra"]),
    )
    texts = {
        "conf": render_conf(settings, paths),
        "passwords": render_passwords(key, [*agents, *clients]),
        "acl": render_acl(agents, clients),
    }
    listener = settings.listeners[0]
    gate: dict[str, Any] = {
        "port": listener.port,
        "deadline": float(options.get("deadline", DEADLINE)),
        "min_healthy_time": 1.0,
    }
    if listener.bind_address not in (None, "0.0.0.0", "::"):
        gate["host"] = listener.bind_address
    secret = {"mode": "0640", "group": "mosquitto"}
    return {
        "manifest": {
            "format": manifest.FORMAT,
            "kind": "service",
            "name": BROKER,
            "base": BROKER,
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
