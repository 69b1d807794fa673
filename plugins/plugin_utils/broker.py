# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker as a workload of the engine: its configuration, users and ACL are staged, switched and gated like an agent."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.files import sha256_bytes
from ansible_collections.muster.agents.plugins.plugin_utils import bridges
from ansible_collections.muster.agents.plugins.plugin_utils.bridges import Bridge, Link
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic, InputError
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import templated
from ansible_collections.muster.agents.plugins.plugin_utils.mosquitto import (
    AUTOSAVE,
    HARDENING,
    HEADER,
    LIMITS,
    BrokerPaths,
    BrokerSettings,
    Listener,
    key_fingerprint,
    render_acl,
    render_conf,
    render_passwords,
    secret_mark,
)
from ansible_collections.muster.agents.plugins.plugin_utils.secret_rule import complaint

if TYPE_CHECKING:
    from ansible_collections.muster.agents.plugins.plugin_utils.certificates import Material

BROKER = "mosquitto"
DEADLINE = 30.0  # seconds in which a broker has to take connections
TLS_NONE, TLS_FILES, TLS_PRIVATE_CA = "none", "files", "private_ca"
TLS = (TLS_NONE, TLS_FILES, TLS_PRIVATE_CA)
# Under which of its variables others reach a broker's host: the first that is set, else its name in the inventory.
ADDRESSES = ("mosquitto_address", "ansible_host")
URL_OPTIONS = ("mosquitto_tls", "mosquitto_port", "mosquitto_tls_port")
# Inventory variables with secrets: read at the last moment, and never a task's argument.
_KEY, _PASSPHRASE = "broker_tls_key", "broker_ca_passphrase"
# How the host's file of secrets names the key and the bridges, in base64 since a line there is one value.
_TLS_KEY, _BRIDGES = "TLS_KEY", "BRIDGES"
_FOLDER = ".pki"  # hidden, for Ansible reads all other files in an inventory's folder as inventory
_DEFAULTS = Path(__file__).resolve().parents[2] / "roles/mosquitto/defaults/main.yml"
_CONF = "/etc/mosquitto/conf.d/muster.conf"
_BRIDGES_CONF = "/etc/mosquitto/conf.d/muster-bridges.conf"
_DROP_IN = "/etc/systemd/system/mosquitto.service.d/muster.conf"


@dataclass(frozen=True)
class Given:
    """What of a broker lies on the controller: its certificate and key (None without TLS), the CA of the clients that show a
    certificate ("" for none), its bridges. `warnings`: what is about to expire.
    """

    material: Material | None = None
    client_ca: str = ""
    links: tuple[Link, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ca(self) -> str:
        """What agents verify the broker with, as PEM; "" where that is what their hosts trust."""
        return (self.material.ca if self.material else None) or ""


# What broker_release takes of a broker, from variables of the role `mosquitto` with these names.
BROKER_OPTIONS: dict[str, dict[str, Any]] = {
    "clients": {"type": "list", "elements": "str", "default": []},
    "port": {"type": "int", "default": 1883},
    "bind_address": {"type": "str"},
    "tls": {"type": "str", "choices": list(TLS), "default": "none"},
    "tls_port": {"type": "int", "default": 8883},
    "tls_certificate": {"type": "str", "default": ""},
    "tls_key": {"type": "str", "default": "", "no_log": False},  # a path
    "tls_ca": {"type": "str", "default": ""},
    "tls_folder": {"type": "str", "default": ""},
    "tls_names": {"type": "list", "elements": "str", "default": []},
    "tls_days": {"type": "int", "default": 365},
    "tls_client_ca": {"type": "str", "default": ""},
    "tls_client_port": {"type": "int", "default": 8884},
    "plain_address": {"type": "str", "default": "127.0.0.1"},
    "persistence": {"type": "bool", "default": True},
    **{name: {"type": "int", "default": getattr(BrokerSettings, name)} for name in (AUTOSAVE, *LIMITS)},
    "bridges": {"type": "raw", "default": {}},
    "extra": {"type": "list", "elements": "str", "default": []},
    "deadline": {"type": "float", "default": DEADLINE},
}


def broker_options(action: ActionBase, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What a host's variables say of its broker, by the names of broker_release's options and of their types; else the role's
    defaults. Raises ValueError naming the variable that cannot be one: an INI inventory and -e know only text.
    """
    defaults = yaml.safe_load(_DEFAULTS.read_text("utf-8"))
    given = {
        name.removeprefix("mosquitto_"): action._templar.template(variables[name])
        if name in variables
        else value
        for name, value in defaults.items()
    }
    known = {name: value for name, value in given.items() if name in BROKER_OPTIONS and value is not None}
    # What values they may have, is checked with what belongs to them, and in better words.
    types = {
        name: {key: one for key, one in spec.items() if key != "choices"}
        for name, spec in BROKER_OPTIONS.items()
    }
    checked = ArgumentSpecValidator(types).validate(known)
    if checked.error_messages:
        raise ValueError(f"mosquitto_*: {'; '.join(checked.error_messages)}")
    return dict(checked.validated_parameters)


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


def broker_given(action: ActionBase, options: Mapping[str, Any], variables: Mapping[str, Any]) -> Given:
    """What one host's broker gets from the controller. Raises ValueError, naming it, where something cannot be used."""
    material = _material(action, options, variables)
    warnings = list(material.warnings) if material else []

    def trusted(name: str) -> str:
        if not name:
            return ""
        from ansible_collections.muster.agents.plugins.plugin_utils import certificates

        text, about = certificates.trusted(controller_file(variables, name))
        warnings.extend(about)
        return text

    if options["tls_client_ca"] and material is None:
        raise ValueError("mosquitto_tls_client_ca needs a broker with TLS: set mosquitto_tls")
    client_ca = trusted(str(options["tls_client_ca"]))
    passwords = variables.get(bridges.PASSWORDS)
    if isinstance(passwords, str):
        passwords = templated(action, passwords, bridges.PASSWORDS)
    links = [
        Link(one, _bridge_password(action, one, passwords), trusted(one.ca))
        for one in _bridges_of(options["bridges"])
    ]
    return Given(material, client_ca, tuple(links), tuple(warnings))


def _bridges_of(raw: object) -> tuple[Bridge, ...]:
    problems: list[Diagnostic] = []
    found = bridges.read_bridges(raw, problems)
    if problems:  # where nobody has checked the fleet before
        raise ValueError(str(InputError(problems)))
    return found


def _bridge_password(action: ActionBase, bridge: Bridge, passwords: object) -> str:
    """From the vault. Raises ValueError where there is none for a bridge that logs in, or Mosquitto could not read it."""
    if not bridge.username:
        return ""
    name = f"{bridges.PASSWORDS}.{bridge.name}"
    if not isinstance(passwords, Mapping) or bridge.name not in passwords:
        raise ValueError(
            f"{bridges.VARIABLE}.{bridge.name} logs in as {bridge.username}, and {name} is not defined; put the password into "
            "the vault under that name"
        )
    value = templated(action, passwords[bridge.name], name)
    wrong = complaint(name, value)
    if not wrong and str(value) != str(value).strip():
        wrong = "begins or ends with a blank, which Mosquitto would take off"
    if wrong:
        raise ValueError(f"{name} {wrong}")
    return str(value)


def _material(
    action: ActionBase, options: Mapping[str, Any], variables: Mapping[str, Any]
) -> Material | None:
    """The certificate and key of one host's broker, made or renewed where a private CA has to; None without TLS.

    Raises CertificateError, a ValueError, where they cannot be used.
    """
    if options["tls"] not in TLS:
        raise ValueError(f"mosquitto_tls is {options['tls']!r}; it must be one of {', '.join(TLS)}")
    if options["tls"] == TLS_NONE:
        return None
    # Without TLS nobody waits for it: Ansible compiles what it imports on every run.
    from ansible_collections.muster.agents.plugins.plugin_utils import certificates

    template = action._templar.template
    host = str(variables["inventory_hostname"])
    given = {name: template(variables[name]) for name in ADDRESSES if variables.get(name)}
    address = broker_address({"inventory_hostname": host, **given})
    if options["tls"] == TLS_FILES:
        secret = str(templated(action, variables.get(_KEY), _KEY) or "")
        return certificates.from_files(
            _file(options, variables, "tls_certificate"),
            secret.encode() if secret else _file(options, variables, "tls_key"),
            _file(options, variables, "tls_ca") if options["tls_ca"] else None,
            [address],
        )
    ca = certificates.PrivateCa(
        folder=controller_file(variables, str(options["tls_folder"] or _FOLDER)),
        passphrase=str(templated(action, variables.get(_PASSPHRASE), _PASSPHRASE) or ""),
        days=int(options["tls_days"]),
        keep=not action._task.check_mode,
    )
    names = list(dict.fromkeys([address, host, *map(str, options["tls_names"])]))
    was_there = ca.is_there
    made = certificates.from_private_ca(ca, host, names)
    if was_there:
        return made
    # A clone that lacks what another has made, would otherwise be found out when agents connect anew.
    warning = (
        f"there was no CA in {ca.folder}, so a new one is made: keep a copy. If the broker has one already, bring that here "
        "instead: agents outside of this deploy do not trust the new one"
    )
    return replace(made, warnings=(*made.warnings, warning))


def _file(options: Mapping[str, Any], variables: Mapping[str, Any], name: str) -> Path:
    if not options[name]:
        also = f", or {_KEY} in the vault" if name == "tls_key" else ""
        raise ValueError(f"with mosquitto_tls: {TLS_FILES}, mosquitto_{name} names a file{also}")
    return controller_file(variables, str(options[name]))


def controller_file(variables: Mapping[str, Any], name: str) -> Path:
    """A file on the controller; a relative path starts at the inventory's folder."""
    return Path(str(variables.get("inventory_dir") or ".")) / Path(name).expanduser()


def broker_secrets(given: Given) -> dict[str, str]:
    """What of a broker lies with the host's secrets, and in no release."""
    found = {_TLS_KEY: given.material.key} if given.material else {}
    if given.links:
        found[_BRIDGES] = f"{HEADER}\n{bridges.render(given.links, bridges.password_lines)}".encode()
    return {name: base64.b64encode(data).decode() for name, data in found.items()}


def _listeners(options: Mapping[str, Any]) -> list[Listener]:
    """The one that agents use first."""
    plain, address = int(options["port"]), options["bind_address"]
    if options["tls"] == TLS_NONE:
        return [Listener(plain, address)]
    found = [Listener(int(options["tls_port"]), address, tls=True)]
    if options["plain_address"]:
        found.append(Listener(plain, options["plain_address"]))
    if options["tls_client_ca"]:
        found.append(Listener(int(options["tls_client_port"]), address, tls=True, certificates=True))
    return found


def broker_workload(
    options: Mapping[str, Any], key: str, agents: Sequence[str], given: Given
) -> dict[str, Any]:
    """{manifest, files} for Debian's mosquitto.service, from options of broker_release and what the controller has for them.

    Raises ValueError where a name or address cannot be used.
    """
    paths = BrokerPaths()
    clients = options["clients"]
    settings = BrokerSettings(
        listeners=tuple(_listeners(options)),
        persistence=bool(options["persistence"]),
        extra=tuple(options["extra"]),
        **{name: int(options[name]) for name in (*LIMITS, AUTOSAVE)},
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
    secrets: dict[str, str] = {}  # where each is put
    if given.material is not None:
        texts["certificate"] = given.material.certificate
        install[paths.certificate] = {"file": "certificate", "mode": "0644"}
        gate["tls"] = given.material.sha256
        about["certificate_ends"] = given.material.ends
        secrets[_TLS_KEY] = paths.key
        # Mosquitto reads both anew on a reload. It does not read who signs the certificates of clients.
        about["reload"] += ["certificate", _TLS_KEY, manifest.SECRETS]
    if given.client_ca:
        texts["client-ca"] = given.client_ca
        install[paths.client_ca] = {"file": "client-ca", "mode": "0644"}
    if given.links:
        # To be seen and compared: what is put in place is the secret. It restarts the broker, which reads bridges at its start.
        texts["bridges"] = bridges.render(given.links, lambda link: _password_mark(key, link))
        secrets[_BRIDGES] = _BRIDGES_CONF
    for link in given.links:
        if link.ca:
            name = f"bridge-ca-{link.bridge.name}"
            texts[name] = link.ca
            install[bridges.ca_file(link.bridge)] = {"file": name, "mode": "0644"}
    if secrets:
        about["secret_files"] = {path: {"secret": name, **secret} for name, path in secrets.items()}
        about["secrets"] = {name: {"from": "broker", "name": BROKER} for name in secrets}
    about["files"] = {name: sha256_bytes(text.encode()) for name, text in texts.items()}
    return {"manifest": about, "files": texts}


def _password_mark(key: str, link: Link) -> list[str]:
    if not link.password:
        return []
    return [
        f"# its password is a secret: {secret_mark(key, 'bridge', f'{link.bridge.name}:{link.password}')}"
    ]
