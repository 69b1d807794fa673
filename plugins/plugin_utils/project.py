# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From an inventory's variables and the files of a project to what the fleet's checks and its plan work with."""

from __future__ import annotations

import functools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.plugin_utils import bridges, schema_check
from ansible_collections.muster.agents.plugins.plugin_utils.broker import (
    ADDRESSES,
    URL_OPTIONS,
    broker_url,
    controller_file,
)
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    ERROR,
    Diagnostic,
    InputError,
    fleet_error,
    in_order,
)
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import (
    WHERE,
    Entry,
    read_backend,
    read_fleet,
)
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_model import (
    HOST_MEMORY,
    Broker,
    Inputs,
    Survey,
)
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_places import FleetPlaces
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_survey import survey
from ansible_collections.muster.agents.plugins.plugin_utils.formats import formats
from ansible_collections.muster.agents.plugins.plugin_utils.health import read_health, read_notify
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import (
    CREDENTIALS_KEY,
    SECRETS,
    secret_names,
)
from ansible_collections.muster.agents.plugins.plugin_utils.policy import apply, read_silence
from ansible_collections.muster.agents.plugins.plugin_utils.pools import pool_hosts
from ansible_collections.muster.agents.plugins.plugin_utils.quantity import memory_bytes
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import read_policy
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import read_runtimes

# What agent_plan and agent_config both take.
FLEET_OPTIONS: dict[str, dict[str, Any]] = {
    "fleet": {"type": "raw"},
    "runtimes": {"type": "raw", "default": {}},
    "agents_dir": {"type": "str", "default": "agents"},
    "broker_url": {"type": "str"},
    "broker_ca": {"type": "str"},
    "broker_group": {"type": "str", "default": "broker"},
    "silence": {"type": "raw", "default": {}},
    "rollout": {"type": "raw"},
    "health": {"type": "raw"},
    "notify": {"type": "raw"},
    "secrets_backend": {"type": "raw"},
    "strict": {"type": "bool", "default": False},
}
_SILENCE, _ROLLOUT, _HEALTH, _NOTIFY = "fleet_silence", "fleet_rollout", "fleet_health", "fleet_notify"
_BROKER_CA = "mqtt_broker_ca"
# Endings under which a config is looked for when the fleet does not name its file; the last is a folder.
_ENDINGS = (".toml", ".yaml", ".yml", ".json", "")


def need_jsonschema() -> None:
    """One sentence instead of one for each config. Raises AnsibleActionFail."""
    if schema_check.MISSING:
        raise AnsibleActionFail(
            f"the controller's Python has no module {schema_check.MISSING}; install it there with:"
            " pip install jsonschema"
        )


def check_fleet(
    action: ActionBase, options: Mapping[str, Any], variables: Mapping[str, Any], *, deploying: bool
) -> tuple[Inputs, Survey, list[tuple[Diagnostic, str]]]:
    """The whole fleet, read and checked, with its findings in order and placed in the inventory's own files.

    `deploying`: secrets that are not defined are missing; else they are only not known. Also what was silenced, with why.
    """
    need_jsonschema()
    problems: list[Diagnostic] = []
    inputs = _inputs(action, options, variables, problems, deploying=deploying)
    found = survey(inputs)
    silence = read_silence(options["silence"], _SILENCE, problems)
    by_agent = {name: entry.silence for name, entry in inputs.fleet.items()}
    remaining, silenced = apply([*problems, *found.diagnostics], silence, by_agent, options["strict"])
    remaining += _silenced_away(options["fleet"], found, remaining, silenced)
    put = _places(action, options, variables).put
    found.diagnostics = in_order(map(put, remaining))
    return inputs, found, [(put(one), reason) for one, reason in silenced]


def _silenced_away(
    fleet: object,
    found: Survey,
    remaining: Sequence[Diagnostic],
    silenced: Sequence[tuple[Diagnostic, str]],
) -> list[Diagnostic]:
    """An agent that cannot be read does not leave the fleet without a word, whatever is silenced."""
    reported = {one.agent for one in remaining if one.level == ERROR}
    unread = [str(name) for name in (fleet if isinstance(fleet, Mapping) else ()) if name not in found.agents]
    codes: dict[str, set[str]] = defaultdict(set)
    for one, _reason in silenced:
        codes[one.agent].add(one.code)
    return [
        fleet_error(
            "MA421",
            f"{WHERE}.{name}.silence",
            f"{name} cannot be read, and why is silenced ({', '.join(sorted(codes[name]))})",
            agent=name,
        )
        for name in unread
        if name not in reported and codes[name]
    ]


def _inputs(
    action: ActionBase,
    options: Mapping[str, Any],
    variables: Mapping[str, Any],
    problems: list[Diagnostic],
    *,
    deploying: bool,
) -> Inputs:
    roots = search_roots(variables)
    fleet = options["fleet"]
    rollout = read_policy(options["rollout"], _ROLLOUT, problems)
    health = read_health(options["health"], _HEALTH, problems)
    backend = read_backend(options["secrets_backend"], "secrets_backend", problems)
    entries = read_fleet(fleet, problems, rollout, health, backend)
    values = _HostValues(variables, required=deploying)
    below = functools.lru_cache(maxsize=None)(files_below)
    return Inputs(
        fleet=entries,
        runtimes=read_runtimes(options["runtimes"], problems),
        config_path=lambda entry: find_config(entry, str(options["agents_dir"]), roots, below),
        resolve_hosts=functools.lru_cache(maxsize=None)(
            lambda pattern: pool_hosts(pattern, action._loader, action._templar, variables)
        ),
        broker=_broker(options, variables, values, problems),
        secret_names=_secret_names(action, variables, deploying=deploying),
        vault_hint=_vault_hint(action, variables),
        credentials_key=variables.get(CREDENTIALS_KEY) is not None or not deploying,
        schema_path=lambda name: _first(name, roots),
        host_address=lambda host: str(values.get(host, "ansible_host") or host),
        host_memory=functools.partial(_host_memory, values, problems),
        whole=isinstance(fleet, Mapping) and len(entries) == len(fleet),
        rollout=rollout,
        health=health,
        notify=read_notify(options["notify"], _NOTIFY, problems),
    )


class _HostValues:
    """Variables of hosts. Where they are not `required`, one that cannot be templated is as good as none: it may be made
    of facts, which nobody gathers without the hosts."""

    def __init__(self, variables: Mapping[str, Any], *, required: bool) -> None:
        self._hosts, self._required = variables.get("hostvars", {}), required

    def get(self, host: str, name: str) -> Any:
        try:
            return self._hosts[host].get(name) if host in self._hosts else None
        except AnsibleError:
            if self._required:
                raise
            return None


def _host_memory(values: _HostValues, problems: list[Diagnostic], host: str) -> int | None:
    value = values.get(host, HOST_MEMORY)
    if value is None:
        return None
    try:
        return memory_bytes(str(value))
    except ValueError as error:
        problems.append(fleet_error("MA403", HOST_MEMORY, str(error)))
        return None


def _broker(
    options: Mapping[str, Any],
    variables: Mapping[str, Any],
    values: _HostValues,
    problems: list[Diagnostic],
) -> Broker | None:
    url = options["broker_url"]
    ca = _broker_ca(options, variables, problems)
    if url:
        return Broker(url, own=False, ca=ca)
    hosts = variables.get("groups", {}).get(options["broker_group"], [])
    if not hosts:
        return None
    for host in hosts:
        bridges.read_bridges(values.get(host, bridges.VARIABLE), problems)
    host = hosts[0]
    variables_of = {name: values.get(host, name) for name in (*ADDRESSES, *URL_OPTIONS)}
    return Broker(broker_url({"inventory_hostname": host, **variables_of}), own=True)


def _broker_ca(options: Mapping[str, Any], variables: Mapping[str, Any], problems: list[Diagnostic]) -> str:
    """The CA of an external broker, as PEM; "" where agents go by what their hosts trust."""
    url, name = options["broker_url"] or "", options["broker_ca"]
    if not name:
        return ""
    try:
        if not url:
            raise ValueError(
                "belongs to mqtt_broker_url; for the broker group there are mosquitto_tls and mosquitto_tls_ca"
            )
        if not url.startswith("mqtts://"):
            raise ValueError(f"mqtt_broker_url is {url}, over which nothing is verified; write mqtts://")
        # The implicit localhost that validates belongs to no inventory.
        base = {"inventory_dir": variables.get("inventory_dir") or next(iter(_folders(variables)), None)}
        # Here, for who has no CA should not wait for Ansible to compile it.
        from ansible_collections.muster.agents.plugins.plugin_utils import certificates

        text, warnings = certificates.trusted(controller_file(base, name))
    except ValueError as error:
        problems.append(fleet_error("MA430", _BROKER_CA, str(error)))
        return ""
    for warning in warnings:
        Display().warning(warning)
    return text


def _secret_names(
    action: ActionBase, variables: Mapping[str, Any], *, deploying: bool
) -> frozenset[str] | None:
    """The names in the vault; None where it is neither defined nor needed. No value is looked at."""
    given = variables.get(SECRETS)
    if given is None and not deploying:
        return None
    try:
        return frozenset(secret_names(action, variables))
    except AnsibleError:
        # Templated from something that is encrypted: without the vault's password, nobody knows.
        if deploying or not isinstance(given, str):
            raise
        return None


# --- files of the project -------------------------------------------------------------------------------------


def _sources(variables: Mapping[str, Any]) -> list[Path]:
    """The inventory's files and folders, the one that wins last; a list of hosts on the command line is none."""
    given = variables.get("ansible_inventory_sources") or []
    sources = [Path(str(one)) for one in given if "," not in str(one)]
    return [path.absolute() for path in sources if _exists(path, folder=True)]


def _folders(variables: Mapping[str, Any]) -> list[Path]:
    """The inventory's folders, the one that wins first."""
    folders = [path if path.is_dir() else path.parent for path in reversed(_sources(variables))]
    return list(dict.fromkeys(folders))


def search_roots(variables: Mapping[str, Any]) -> list[Path]:
    """Where a project's own files may stand: where the command runs, and the inventory's folders and those above them."""
    folders = [folder.resolve() for folder in _folders(variables)]
    above = [folder for one in folders for folder in (one, *list(one.parents)[:3])]
    return list(dict.fromkeys([Path.cwd(), *above]))


def find_config(
    entry: Entry,
    directory: str,
    roots: Sequence[Path],
    below: Callable[[Path], Mapping[str, Sequence[Path]]] | None = None,
) -> tuple[Path, str]:
    """(path, the path as people know it); a bare name is also found in a folder below `directory`.

    `below` is `files_below`, unless something remembers what that finds. Raises InputError naming where it was looked for,
    or the several files that it could be.
    """
    given = entry.config.partition("#")[0]
    names = [given] if given else [f"{entry.name}{ending}" for ending in _ENDINGS]
    for root in roots:
        # What the fleet does not name is only looked for among the agents: a project has files of all names.
        folders = (root / directory, root) if given else (root / directory,)
        for path in (folder / name for name in names for folder in folders):
            if _exists(path, folder=bool(given) or path.name == entry.name):
                return _config_in(path)
        listing = {} if "/" in names[0] else (below or files_below)(root / directory)
        found = [path for name in names for path in listing.get(name, ())]
        if len(found) == 1:
            return _config_in(found[0])
        if found:
            message = (
                f"could be any of {', '.join(map(shown, found))}; say which in fleet.{entry.name}.config"
            )
            raise InputError([_missing(f"{directory}/{names[0]}", message, entry)])
    looked = ", ".join(dict.fromkeys(shown(root / directory) for root in roots[:3]))
    raise InputError(
        [_missing(f"{directory}/{names[0]}", f"no such agent config; looked in {looked}", entry)]
    )


def _config_in(path: Path) -> tuple[Path, str]:
    """The path, or in a folder the one file that is an agent config by its name (`openmas.deploy.yaml`)."""
    if path.is_file():
        return path, shown(path)
    names = (
        name for one in formats().values() if not one.folder for name in one.file_names if "*" not in name
    )
    found = next((path / name for name in names if (path / name).is_file()), path)
    return found, shown(found)


def files_below(folder: Path) -> dict[str, list[Path]]:
    """Everything in the folders below one, by name; hidden ones are left out, and what a link leads to is seen once."""
    found: dict[str, list[Path]] = defaultdict(list)
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen and Path(place) != folder:
            for name in sorted([*files, *folders]):
                found[name].append(Path(place) / name)
        seen.add(real)
    return found


def _exists(path: Path, *, folder: bool) -> bool:
    try:
        return path.is_file() or (folder and path.is_dir())
    except (OSError, ValueError):
        return False


def _missing(name: str, message: str, entry: Entry) -> Diagnostic:
    return fleet_error("MA101", f"{WHERE}.{entry.name}.config", f"{name}: {message}", agent=entry.name)


def _first(name: str, roots: Sequence[Path]) -> Path:
    """A file that the project names, below the first root that has it."""
    return next((root / name for root in roots if _exists(root / name, folder=False)), roots[0] / name)


def shown(path: Path) -> str:
    """Relative to where the command runs, where it is below that."""
    here = os.path.join(os.getcwd(), "")
    for absolute in (os.path.abspath, os.path.realpath):  # the second asks the disk for each part of the path
        known = absolute(path)
        if known.startswith(here):
            return known.removeprefix(here)
    return str(path)


# --- where the inventory says what was found wrong ------------------------------------------------------------


def _variable_files(action: ActionBase, variables: Mapping[str, Any], group: str = "all") -> list[Path]:
    """Those of a group, as Ansible finds them, the one that wins last: beside the playbook go before the rest."""
    folders = [*reversed(_folders(variables)), Path(variables.get("playbook_dir") or ".")]
    return [
        Path(path)
        for folder in dict.fromkeys(folders)
        for path in action._loader.find_vars_files(str(folder / "group_vars"), group)
    ]


def _vault_hint(action: ActionBase, variables: Mapping[str, Any]) -> str:
    """How a secret is added: in the file that has the others; where there is none yet, in one that Ansible will read."""
    files = _variable_files(action, variables)
    for path in reversed(files):
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if text.startswith("$ANSIBLE_VAULT"):
            return f"with `ansible-vault edit {shown(path)}`"
        if re.search(rf"^{SECRETS}\s*:", text, re.MULTILINE):
            return f"in {shown(path)}"
    single = next((path for path in files if path.parent.name == "group_vars"), None)
    if single is not None:
        return f"in {shown(single)}"  # a folder `all` beside it would hide it
    folder = next(iter(_folders(variables)), Path.cwd()) / "group_vars/all"
    return f"with `ansible-vault create {shown(folder / 'vault.yml')}`"


def _places(action: ActionBase, options: Mapping[str, Any], variables: Mapping[str, Any]) -> FleetPlaces:
    files = [
        path
        for group in ("all", str(options["broker_group"]))
        for path in _variable_files(action, variables, group)
    ]
    inventories = [
        path
        for source in _sources(variables)
        for path in (sorted(source.iterdir()) if source.is_dir() else [source])
        if path.suffix in (".yml", ".yaml", ".json") and path.is_file()
    ]
    return FleetPlaces(options["fleet"], files, inventories, shown)
