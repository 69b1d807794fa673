# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A role's argument specs, its defaults and its tasks name the same variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev.ansible_files import entry_points, load, roles, texts, variables

ROLES = roles()

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


def options(role: Path) -> dict[str, dict[str, Any]]:
    """The options of all entry points together."""
    return {
        name: one for entry in entry_points(role).values() for name, one in entry.get("options", {}).items()
    }


def used(role: Path) -> dict[str, set[str]]:
    """Variable → the files of tasks, handlers and templates that read it."""
    found: dict[str, set[str]] = {}
    for path in sorted([*role.glob("tasks/**/*.yml"), *role.glob("handlers/*.yml")]):
        for key, text in texts(load(path)):
            for name in variables(key, text):
                found.setdefault(name, set()).add(path.name)
    for path in sorted(role.glob("templates/*.j2")):
        for name in variables("", path.read_text("utf-8")):
            found.setdefault(name, set()).add(path.name)
    return found


def test_there_are_roles() -> None:
    assert {"agent", "mosquitto"} <= {role.name for role in ROLES}


@each_role
def test_specs_and_defaults_name_the_same_keys_with_the_same_values(role: Path) -> None:
    with_default = {name: one["default"] for name, one in options(role).items() if "default" in one}
    assert with_default == (load(role / "defaults/main.yml") or {})


@each_role
def test_an_option_is_required_or_has_a_default_or_may_be_left_out(role: Path) -> None:
    for name, one in options(role).items():
        assert not (one.get("required") and "default" in one), name
        assert one.get("description"), f"{name} is not described"
        assert one.get("type"), f"{name} has no type"


@each_role
def test_a_default_is_of_its_type(role: Path) -> None:
    kinds: dict[str, type] = {"bool": bool, "dict": dict, "int": int, "list": list, "path": str, "str": str}
    for name, one in options(role).items():
        if "default" in one and one["type"] in kinds:
            assert isinstance(one["default"], kinds[one["type"]]), name
            assert (one["type"] == "bool") == isinstance(one["default"], bool), name


@each_role
def test_every_variable_of_the_role_that_a_task_reads_is_declared(role: Path) -> None:
    undeclared = {
        name: files
        for name, files in used(role).items()
        if name.startswith(f"{role.name}_") and name not in options(role)
    }
    assert undeclared == {}


@each_role
def test_every_declared_variable_is_read(role: Path) -> None:
    assert set(options(role)) <= set(used(role))


@each_role
def test_every_variable_is_the_roles_own(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []


@each_role
def test_every_file_of_tasks_that_is_an_entry_point_is_there(role: Path) -> None:
    for name in entry_points(role):
        assert (role / f"tasks/{name}.yml").is_file()
