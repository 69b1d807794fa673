# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The schema of the fleet's variables, which editors and the reference go by, says what the code does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ansible_collections.muster.agents.plugins.module_utils.engine.health import Health
from ansible_collections.muster.agents.plugins.plugin_utils import fleet, runtimes
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import Policy

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "plugins/plugin_utils/schemas/fleet.schema.json").read_text("utf-8"))
PARTS = SCHEMA["$defs"]
# What is left of a runtime that is right but for the key in question.
RUNTIME = {"artifacts": {"any": {"src": "x", "sha256": "0" * 64}}, "run": ["{program}"]}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = PARTS[name]["properties"]
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    below = PARTS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    return {**below, **{key: value for key, value in schema.items() if key != "$ref"}}


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_it_has_the_keys_that_the_code_knows() -> None:
    assert sorted(properties("entry")) == sorted(fleet._KEYS)
    assert sorted(properties("runtime")) == sorted(runtimes._KEYS)
    assert list(properties("rollout")) == list(Policy.__dataclass_fields__)
    assert PARTS["secrets_backend"]["enum"] == list(fleet.BACKENDS)
    assert properties("runtime")["kind"]["enum"] == list(runtimes._KINDS)


def test_its_defaults_are_those_of_the_code() -> None:
    policy = {key: one["default"] for key, one in properties("rollout").items()}
    assert policy == {**asdict(Policy()), "then": list(Policy().then)}
    health = {
        name: {key: one["default"] for key, one in part["properties"].items()}
        for name, part in properties("health").items()
    }
    assert health == asdict(Health())
    entry = {key: one["default"] for key, one in properties("entry").items() if "default" in one}
    plain = fleet.Entry("x")
    assert {key: getattr(plain, "pool" if key == "hosts" else key) for key in entry} == entry
    given = {key: properties("resources")[key]["default"] for key in ("memory", "cpu", "tasks")}
    assert fleet.Resources(**fleet._resources(given, "x", [])) == fleet.Resources()


def samples(schema: dict[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Values of a key, and whether it takes them."""
    schema = resolved(schema)
    for value in schema.get("enum", schema.get("examples", ())):
        yield value, True
    if "enum" in schema:
        yield "other", False
    for bound, step in (("minimum", -1), ("maximum", 1)):
        if bound in schema:
            yield schema[bound], True
            yield schema[bound] + step, False


def cases() -> Iterator[tuple[str, str, Any, bool]]:
    for name, one in properties("entry").items():
        for value, good in samples(one):
            if name not in ("min_healthy_time", "deadline"):  # they limit each other
                yield "entry", name, value, good
    for part, names in (("rollout", list(properties("rollout"))), ("resources", ["memory", "cpu", "tasks"])):
        for name in names:
            for value, good in samples(properties(part)[name]):
                yield part, name, value, good
    for probe, part_of in properties("health").items():
        for name, one in part_of["properties"].items():
            for value, good in samples(one):
                yield "health", f"{probe}.{name}", value, good
    for name in ("kind", "check", "run", "watchdog", "metrics"):
        for value, good in samples(properties("runtime")[name]):
            yield "runtime", name, value, good


def problems(part: str, name: str, value: Any) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    if part == "runtime":
        runtimes.read_runtimes({"r": {**RUNTIME, name: value}}, found)
    else:
        for key in reversed(name.split(".")):
            value = {key: value}
        fleet.read_fleet({"a": value if part == "entry" else {part: value}}, found)
    return found


@pytest.mark.parametrize(("part", "name", "value", "good"), list(cases()))
def test_what_it_allows_is_taken_and_what_it_forbids_is_refused(
    part: str, name: str, value: Any, good: bool
) -> None:
    assert (problems(part, name, value) == []) is good


def written_out(node: Any) -> Any:
    """Without what is an expression."""
    if isinstance(node, dict):
        return {
            key: written_out(value)
            for key, value in node.items()
            if "{{" not in str(value) or isinstance(value, dict)
        }
    return node


@pytest.mark.parametrize("environment", ["demo", "production", "staging"])
def test_the_inventories_fit_it(environment: str) -> None:
    variables = yaml.safe_load(
        (ROOT / f"inventories/{environment}/group_vars/all/fleet.yml").read_text("utf-8")
    )
    jsonschema.validate(written_out(variables), SCHEMA)
