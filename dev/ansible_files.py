# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What playbooks, roles and modules say of themselves: the variables that they read, their options, their documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2 import nodes

from dev import ROOT

_JINJA = jinja2.Environment(autoescape=True)
# The words of a task whose value is an expression without braces.
_EXPRESSIONS = ("when", "changed_when", "failed_when", "until", "that", "loop", "with_items")
_IMPORTS = (
    "ansible.builtin.import_playbook",
    "ansible.builtin.import_tasks",
    "ansible.builtin.include_tasks",
)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every text in a YAML document."""
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, dict):
        for name, below in node.items():
            yield from texts(below, str(name))
    elif isinstance(node, list):
        for below in node:
            yield from texts(below, key)


def variables(key: str, text: str) -> set[str]:
    """The names that a text of a task reads."""
    template = f"{{{{ {text} }}}}" if key in _EXPRESSIONS and "{{" not in text else text
    return {node.name for node in _JINJA.parse(template).find_all(nodes.Name)}


def playbooks() -> list[Path]:
    """Those that people run, and those that these import."""
    return sorted((ROOT / "playbooks").glob("*.yml"))


def read_by(playbook: Path) -> set[str]:
    """The names that a playbook reads, with what it imports or includes; also those that it sets itself."""
    found: set[str] = set()
    for key, text in texts(load(playbook)):
        found |= variables(key, text)
        if key in _IMPORTS:
            # `tasks/{{ 'a' if … else 'b' }}.yml` is one of several files; each is named in the text.
            names = {text, *(f"tasks/{word}.yml" for word in re.findall(r"'(\w+)'", text))}
            for name in sorted(names):
                found |= read_by(playbook.parent / name) if (playbook.parent / name).is_file() else set()
    return found


def header(path: Path) -> str:
    """The comment that a YAML file begins with, as one text."""
    lines = path.read_text("utf-8").splitlines()[1:]
    first = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("# ") for line in lines[:first])


def roles() -> list[Path]:
    return sorted(path for path in (ROOT / "roles").iterdir() if (path / "meta/argument_specs.yml").is_file())


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(role / "meta/argument_specs.yml")["argument_specs"]
    return found


def modules() -> list[Path]:
    return sorted((ROOT / "plugins" / "modules").glob("*.py"))


def documentation(module: Path) -> Mapping[str, Any]:
    """A module's DOCUMENTATION, with the options of its fragments."""
    found = _yaml_in(module, "DOCUMENTATION")
    options: dict[str, Any] = {}
    for name in found.get("extends_documentation_fragment", ()):
        fragment = ROOT / "plugins" / "doc_fragments" / f"{name.rpartition('.')[2]}.py"
        options |= _yaml_in(fragment, "DOCUMENTATION").get("options", {})
    return {**found, "options": {**found.get("options", {}), **options}}


def returned(module: Path) -> Mapping[str, Any]:
    """A module's RETURN; empty where it has none."""
    return _yaml_in(module, "RETURN")


def _yaml_in(module: Path, name: str) -> dict[str, Any]:
    text = re.search(rf'^ *{name} = r?"""(.*?)"""', module.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return (yaml.safe_load(text[1]) if text else None) or {}
