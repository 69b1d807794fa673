# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pages of `docs/reference/` about playbooks, roles and modules, from what these say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dev import ansible_files
from dev.markdown import code, literal, prose, sentence, table
from dev.shell import Failure

# What is given with -e, or stands in the inventory for one playbook alone. All else is a variable of the fleet or of a role.
_GIVEN = {
    "agent": "Which agents: a name or a comma list. A name is a key of the fleet, an agent id, or that of one instance.",
    "backup_data": "`false` leaves the agents' data out.",
    "backup_folder": "Where backups are kept on the controller; `.backups` beside the inventory if it is not said.",
    "backup_without_data": "Agents whose data are left out, as a list.",
    "note": "Why, for everybody who looks.",
    "purge": "`true` removes the agent's data, too.",
    "release": "The release to go back to, by the beginning of its id; without it, the previous proven one.",
    "restore_hosts": "For a new host the one whose backup it gets, such as `{agent-9: agent-1}`, where the names differ.",
    "restore_replace": "`true` takes off first what is on the host.",
    "restore_run": "Which backup: the name of its folder; the newest if it is not said.",
    "restore_start": "`false` puts everything in place and starts nothing.",
    "sarif": "A file on the controller that gets the findings as SARIF 2.1.0.",
    "secret": "Which secrets: a name of `agent_secrets`, or a comma list.",
    "site_observability": "Whether metrics, alerts and dashboard are set up too; if it is not said, where there is a"
    " group `prometheus` or node_exporter is wanted.",
    "status_format": "`table` or `json`.",
    "observability_folder": "A folder on the controller that gets targets, rules and dashboard.",
    "observability_labels": "Labels that every target gets, such as `{environment: production}`.",
    "observability_node_exporter_port": "Where node_exporter listens on every host, 9100 if it is not said.",
}
# Where it means something else than above.
_GIVEN_TO = {
    (
        "deploy.yml",
        "agent",
    ): "Which agents: a name, a comma list or `all`. A name is a key of the fleet, a config's file name"
    " without its ending, or an agent id.",
    (
        "rotate_secrets.yml",
        "agent",
    ): "Whose: a name, a comma list or `all`. A name is a key of the fleet, an agent id, or that of"
    " one instance.",
}
# What Ansible and Jinja have by themselves.
_BUILT_IN = re.compile(r"ansible_\w+|inventory_\w+|hostvars|groups|item|omit|dict|now|query|lookup|_\w+")
# Only parts of others.
_PARTS = ("plan.yml", "pool.yml")


def playbooks_page(of_the_fleet: Iterable[str]) -> list[str]:
    """`of_the_fleet`: the variables that the fleet's own page tells of. Raises Failure for one that nobody tells of."""
    fleet = set(of_the_fleet)
    of_roles = {name for role in ansible_files.roles() for name in _options(role)}
    lines = [
        "# Playbooks",
        "",
        "Each runs as `ansible-playbook muster.agents.<name>` where the collection is installed, and from a clone by its path"
        " (`deploy.yml` and `rollback.yml` also stand at the root). Variables of the inventory have a [page](fleet.md) of their"
        " own; `-e` sets any of them for one run.",
    ]
    for path in ansible_files.playbooks():
        if path.name in _PARTS:
            continue
        names = ansible_files.read_by(path) - of_roles - _set_by(path)
        names = {name for name in names if not _BUILT_IN.fullmatch(name)}
        if unknown := names - fleet - set(_GIVEN):
            raise Failure(
                f"{path.name} reads {', '.join(sorted(unknown))}: describe it in dev/collection_pages.py"
            )
        lines += [
            "",
            f'## <a id="{path.stem}"></a>{code(path.name)}',
            "",
            sentence(prose(ansible_files.header(path))),
        ]
        given = sorted(names & set(_GIVEN))
        if given:
            rows = ((code(name), _GIVEN_TO.get((path.name, name), _GIVEN[name])) for name in given)
            lines += ["", *table(("Variable", "Meaning"), rows)]
        read = ", ".join(code(name) for name in sorted(names & fleet))
        lines += ["", f"Reads of the inventory: {read}."] if read else []
    return lines


def _set_by(playbook: Path) -> set[str]:
    """What the playbook and its parts register or define themselves."""
    text = "\n".join((playbook.parent / name).read_text("utf-8") for name in (playbook.name, *_PARTS))
    return set(re.findall(r"^ +register: (\w+)", text, re.MULTILINE))


def roles_page() -> list[str]:
    lines = [
        "# Variables of the roles",
        "",
        "The playbooks apply the roles; these variables stand in the inventory.",
    ]
    for role in ansible_files.roles():
        lines += ["", f'## <a id="{role.name}"></a>Role {code(role.name)}']
        lines += ["", f"[What it does](../../roles/{role.name}/README.md)."]
        shown: list[Any] = []
        for name, entry in ansible_files.entry_points(role).items():
            if entry["options"] in shown:
                continue
            shown.append(entry["options"])
            lines += ["", f"{sentence(entry['short_description'])[:-1]} (`tasks/{name}.yml`):", ""]
            rows = _option_rows(entry["options"], modules="modules.md")
            lines += table(("Variable", "Type", "Default", "Meaning"), rows)
    return lines


def _options(role: Path) -> Iterator[str]:
    for entry in ansible_files.entry_points(role).values():
        yield from entry["options"]


def modules_page() -> list[str]:
    lines = [
        "# Modules",
        "",
        "The playbooks call them; playbooks of your own can, too. `ansible-doc muster.agents.<name>` says the same, with"
        " examples.",
    ]
    for path in ansible_files.modules():
        found = ansible_files.documentation(path)
        lines += [
            "",
            f'## <a id="{path.stem}"></a>{code(path.stem)}',
            "",
            sentence(_words(found["short_description"])),
            "",
        ]
        lines += [f"- {_words(one)}" for one in found["description"]]
        lines += ["", *_attributes(found["attributes"])]
        if found["options"]:
            rows = _option_rows(found["options"])
            lines += ["", *table(("Option", "Type", "Default", "Meaning"), rows)]
        values = list(_return_rows(ansible_files.returned(path)))
        lines += ["", *table(("Returned", "Type", "Meaning"), values)] if values else []
    return lines


def _attributes(found: Mapping[str, Any]) -> Iterator[str]:
    for name, one in found.items():
        words = _words(" ".join(_listed(one["description"])))
        yield f"- {name.replace('_', ' ').capitalize()}: {one['support']}. {words}"


def _option_rows(options: Mapping[str, Any], modules: str = "") -> Iterator[tuple[str, ...]]:
    for name, one in options.items():
        kind = f"list of {one['elements']}" if one.get("elements") else one.get("type", "str")
        default = (
            "required"
            if one.get("required")
            else ""
            if one.get("default") is None
            else literal(one["default"])
        )
        meaning = " ".join(_words(text, modules) for text in _listed(one["description"]))
        if one.get("choices"):
            meaning += f" One of {', '.join(map(literal, one['choices']))}."
        yield code(name), kind, default, meaning


def _return_rows(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, ...]]:
    for name, one in values.items():
        when = "" if one.get("returned") in (None, "always", "success") else f" Where {one['returned']}."
        yield code(f"{above}{name}"), one["type"], " ".join(map(_words, _listed(one["description"]))) + when
        yield from _return_rows(one.get("contains", {}), f"{above}{name}.")


def _listed(text: str | list[str]) -> list[str]:
    return text if isinstance(text, list) else [text]


def _words(text: str, modules: str = "") -> str:
    """Ansible's markup as Markdown; `modules` is the page that modules stand on, where that is another."""
    text = re.sub(r"\bM\(muster\.agents\.(\w+)\)", rf"[`\1`]({modules}#\1)", text)
    text = re.sub(r"\bO\(muster\.agents\.(\w+)#module:(\w+)\)", rf"`\2` of [`\1`]({modules}#\1)", text)
    # A code's own parentheses are balanced.
    text = re.sub(r"\b(?:C|V|O|RV)\(((?:[^()]|\([^()]*\))*)\)", lambda found: code(found[1]), text)
    return prose(text)
