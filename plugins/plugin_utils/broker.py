# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker as a workload of the engine: its configuration, users and ACL are staged, switched and gated like an agent."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.files import sha256_bytes
from ansible_collections.muster.agents.plugins.plugin_utils import certificates
from ansible_collections.muster.agents.plugins.plugin_utils.certificates import Material
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import templated
from ansible_collections.muster.agents.plugins.plugin_utils.mosquitto import (
    HARDENING,
    LIMITS,
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
TLS_NONE, TLS_FILES, TLS_PRIVATE_CA = "none", "files", "private_ca"
TLS = (TLS_NONE, TLS_FILES, TLS_PRIVATE_CA)
# Under which of its variables others reach a broker's host: the first that is set, else its name in the inventory.
ADDRESSES = ("mosquitto_address", "ansible_host")
URL_OPTIONS = ("mosquitto_tls", "mosquitto_port", "mosquitto_tls_port")
# Inventory variables with secrets: read at the last moment, and never a task's argument.
_KEY, _PASSPHRASE = "broker_tls_key", "broker_ca_passphrase"
_TLS_KEY = (
    "TLS_KEY"  # how the host's file of secrets names the key, in base64 since a line there is one value
)
_FOLDER = ".pki"  # hidden, for Ansible reads all other files in an inventory's folder as inventory
_DEFAULTS = Path(__file__).resolve().parents[2] / "roles/mosquitto/defaults/main.yml"
_CONF = "/etc/mosquitto/conf.d/muster.conf"
_DROP_IN = "/etc/systemd/system/mosquitto.service.d/muster.conf"


def broker_options(action: ActionBase, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What a host's variables say of its broker, by the names of broker_release's options; else the role's defaults."""
    defaults = yaml.safe_load(_DEFAULTS.read_text("utf-8"))
    return {
        name.removeprefix("mosquitto_"): action._templar.template(variables[name])
        if name in variables
        else value
        for name, value in defaults.items()
    }


def broker_address(variables: Mapping[str, Any]) -> str:
    """The name or address under which agents reach the broker."""
    return str(
        next((variables[name] for name in ADDRESSES if variables.get(name)), variables["inventory_hostname"])
    )


def broker_url(variables: Mapping[str, Any]) -> str:
    """What ${MQTT_BROKER_URL} becomes, from the variables of the broker's host."""
    address = broker_address(variables)
    if (variables.get("mosquitto_tls") or TLS_NONE) == TLS_NONE:
        return f"mqtt://{address}:{variables.get('mosquitto_port') or 1883}"
    return f"mqtts://{address}:{variables.get('mosquitto_tls_port') or 8883}"


def broker_material(
    action: ActionBase, options: Mapping[str, Any], variables: Mapping[str, Any]
) -> Material | None:
    """The certificate and key of one host's broker, made or renewed where a private CA has to; None without TLS.

    Raises CertificateError, a ValueError, where they cannot be used.
    """
    if options["tls"] not in TLS:
        raise ValueError(f"mosquitto_tls is {options['tls']!r}; it must be one of {', '.join(TLS)}")
    if options["tls"] == TLS_NONE:
        return None
    template = action._templar.template
    host = str(variables["inventory_hostname"])
    given = {name: template(variables[name]) for name in ADDRESSES if variables.get(name)}
    address = broker_address({"inventory_hostname": host, **given})
    base = Path(str(variables.get("inventory_dir") or "."))
    if options["tls"] == TLS_FILES:
        secret = str(templated(action, variables.get(_KEY), _KEY) or "")
        return certificates.from_files(
            _file(options, base, "tls_certificate"),
            secret.encode() if secret else _file(options, base, "tls_key"),
            _file(options, base, "tls_ca") if options["tls_ca"] else None,
            [address],
        )
    ca = certificates.PrivateCa(
        folder=base / Path(str(options["tls_folder"] or _FOLDER)).expanduser(),
        passphrase=str(templated(action, variables.get(_PASSPHRASE), _PASSPHRASE) or ""),
        days=int(options["tls_days"]),
        keep=not action._task.check_mode,
    )
    names = list(dict.fromkeys([address, host, *map(str, options["tls_names"])]))
    return certificates.from_private_ca(ca, host, names)


def _file(options: Mapping[str, Any], base: Path, name: str) -> Path:
    """A file on the controller; a relative path starts at the inventory's folder."""
    if not options[name]:
        also = f", or {_KEY} in the vault" if name == "tls_key" else ""
        raise ValueError(f"with mosquitto_tls: {TLS_FILES}, mosquitto_{name} names a file{also}")
    return base / Path(str(options[name])).expanduser()


def broker_secrets(material: Material | None) -> dict[str, str]:
    """What of a broker lies with the host's secrets, and in no release."""
    return {_TLS_KEY: base64.b64encode(material.key).decode()} if material else {}


def _listeners(options: Mapping[str, Any]) -> list[Listener]:
    """The one that agents use first."""
    plain, address = int(options["port"]), options["bind_address"]
    if options["tls"] == TLS_NONE:
        return [Listener(plain, address)]
    local = [Listener(plain, options["plain_address"])] if options["plain_address"] else []
    return [Listener(int(options["tls_port"]), address, tls=True), *local]


def broker_workload(
    options: Mapping[str, Any], key: str, agents: Sequence[str], material: Material | None
) -> dict[str, Any]:
    """{manifest, files} for Debian's mosquitto.service, from options of broker_release.

    Raises ValueError where a name or address cannot be used.
    """
    paths = BrokerPaths()
    clients = options["clients"]
    settings = BrokerSettings(
        listeners=tuple(_listeners(options)),
        persistence=bool(options["persistence"]),
        extra=tuple(options["extra"]),
        **{name: int(options[name]) for name in LIMITS},
    )
    texts = {
        "conf": render_conf(settings, paths),
        "passwords": render_passwords(key, [*agents, *clients]),
        "acl": render_acl(agents, clients),
        "hardening": HARDENING,
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
    install = {
        _CONF: {"file": "conf", "mode": "0644"},
        _DROP_IN: {"file": "hardening", "mode": "0644"},
        paths.passwords: {"file": "passwords", **secret},
        paths.acl: {"file": "acl", **secret},
    }
    about: dict[str, Any] = {
        "format": manifest.FORMAT,
        "kind": "service",
        "name": BROKER,
        "base": BROKER,
        "unit": "mosquitto.service",
        "install": install,
        "reload": ["passwords", "acl"],
        "hidden": ["passwords"],
        # Tells a new key from new users, and tells nothing of the key.
        "credentials": key_fingerprint(key),
        "requires": {"/usr/sbin/mosquitto": "mosquitto"},
        "gate": gate,
    }
    about["trial"] = {
        "run": ["/usr/sbin/mosquitto", "-c", "/etc/mosquitto/mosquitto.conf"],
        "folder": "/etc/mosquitto",
        "emptied": ["/var/lib/mosquitto", "/var/log/mosquitto", "/run/mosquitto"],
        "refused": "Error found at",
    }
    if material is not None:
        texts["certificate"] = material.certificate
        install[paths.certificate] = {"file": "certificate", "mode": "0644"}
        gate["tls"] = material.sha256
        about["certificate_ends"] = material.ends
        about["secret_files"] = {paths.key: {"secret": _TLS_KEY, **secret}}
        about["secrets"] = {_TLS_KEY: {"from": "broker_tls", "name": BROKER}}
        # Mosquitto reads both anew on a reload.
        about["reload"] += ["certificate", manifest.SECRETS]
    about["files"] = {name: sha256_bytes(text.encode()) for name, text in texts.items()}
    return {"manifest": about, "files": texts}
