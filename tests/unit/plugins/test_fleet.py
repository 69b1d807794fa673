# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person writes in `fleet`, and what `-e agent=` picks from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils import fleet as fleet_module
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic, InputError
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import EACH, Entry, select
from tests.unit.plugins.builders import few
from tests.unit.plugins.test_engine_manifest import json_values


def read_fleet(raw: object) -> dict[str, Entry]:
    """A fleet in which nothing is wrong."""
    found: list[Diagnostic] = []
    entries = fleet_module.read_fleet(raw, found)
    assert found == []
    return entries


def problems(raw: object) -> dict[str, str]:
    """path → message of everything that is wrong."""
    found: list[Diagnostic] = []
    fleet_module.read_fleet(raw, found)
    assert found
    return {one.path: f"{one.message} ({one.suggestion})" for one in found}


# --- what is written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [{}, None])
def test_an_agent_needs_nothing_but_its_name(raw: object) -> None:
    entry = read_fleet({"researcher": raw})["researcher"]
    assert (entry.config, entry.pool, entry.instances, entry.runtime) == (
        "",
        "agents",
        1,
        "reference",
    )
    assert entry.resources == {}


def test_everything_that_can_be_written_is_read() -> None:
    raw = {
        "config": "team/w.toml",
        "hosts": "writers:!old",
        "instances": 2,
        "runtime": "agent2389",
        "resources": {"memory": "512Mi", "cpu": "500m", "tasks": 64},
        "environment": {"LOG_LEVEL": "debug", "RETRIES": 3, "STRICT": True},
        "overrides": {"llm": {"provider": "echo"}},
        "deadline": 30,
        "min_healthy_time": 0.5,
    }
    entry = read_fleet({"writer": raw})["writer"]
    assert (entry.config, entry.pool, entry.instances, entry.runtime) == (
        "team/w.toml",
        "writers:!old",
        2,
        "agent2389",
    )
    assert entry.resources == {"memory": 512 * 2**20, "cpu": 50, "tasks": 64}
    assert entry.environment == {"LOG_LEVEL": "debug", "RETRIES": "3", "STRICT": "true"}
    assert entry.overrides == {"llm": {"provider": "echo"}}
    assert (entry.deadline, entry.min_healthy_time) == (30.0, 0.5)


def test_a_pool_may_be_a_list_as_in_a_play() -> None:
    assert read_fleet({"writer": {"hosts": ["agents", "!old"]}})["writer"].pool == "agents,!old"


def test_resources_may_be_written_as_in_kubernetes() -> None:
    raw = {"limits": {"memory": "1Gi", "cpu": 2}, "requests": {"memory": "256Mi", "cpu": "250m"}}
    assert read_fleet({"w": {"resources": raw}})["w"].resources == {
        "memory": 2**30,
        "cpu": 200,
        "memory_request": 2**28,
        "cpu_request": 25,
    }


@pytest.mark.parametrize(
    ("instances", "names"),
    [
        (1, ["writer"]),
        (2, ["writer-1", "writer-2"]),
        ("2", ["writer-1", "writer-2"]),
        (EACH, ["writer-a", "writer-b"]),
    ],
)
def test_instances_have_names_of_their_own(instances: object, names: list[str]) -> None:
    assert read_fleet({"writer": {"instances": instances}})["writer"].instance_names(["b", "a"]) == names


# --- mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, {}, [], "researcher", 3])
def test_a_fleet_without_agents_says_what_to_write(raw: object) -> None:
    assert "fleet: {researcher: {}}" in problems(raw)["fleet"]


@pytest.mark.parametrize(
    ("raw", "where", "words"),
    [
        ({"instnces": 2}, "instnces", "did you mean instances?"),
        ({"frobnicate": 2}, "frobnicate", "unknown; known are"),
        ({"instances": 0}, "instances", "at least 1, or `each`"),
        ({"instances": "two"}, "instances", "at least 1, or `each`"),
        ({"instances": True}, "instances", "at least 1, or `each`"),
        ({"instances": 1.5}, "instances", "at least 1, or `each`"),
        ({"port": 80}, "port", "from 1024 to 65535"),
        ({"port": 65536}, "port", "from 1024 to 65535"),
        ({"port": "8080"}, "port", "from 1024 to 65535"),
        ({"port": True}, "port", "from 1024 to 65535"),
        ({"port": 8080, "instances": 2}, "port", "cannot be shared"),
        ({"port": 8080, "instances": "each"}, "port", "cannot be shared"),
        ({"config": ["writer.toml"]}, "config", "must be a text such as"),
        ({"runtime": {"name": "reference"}}, "runtime", "must be a text such as 'reference'"),
        ({"format": True}, "format", "must be a text such as 'agent2389'"),
        ({"hosts": {"agents": None}}, "hosts", "a host pattern such as agents, or a list"),
        ({"hosts": []}, "hosts", "a host pattern"),
        ({"hosts": ["agents", 3]}, "hosts", "a host pattern"),
        ({"environment": ["A=1"]}, "environment", "must be a mapping"),
        ({"overrides": "x"}, "overrides", "must be a mapping"),
        ({"resources": "1Gi"}, "resources", "must be a mapping"),
        ({"deadline": 0}, "deadline", "from 1 to 3600"),
        ({"deadline": "2m"}, "deadline", "from 1 to 3600"),
        ({"deadline": True}, "deadline", "from 1 to 3600"),
        ({"deadline": float("nan")}, "deadline", "from 1 to 3600"),
        ({"min_healthy_time": -1}, "min_healthy_time", "from 0 to 3600"),
        ({"resources": {"memory": "1GB"}}, "resources.memory", "write it like 512Mi or 1Gi"),
        ({"resources": {"cpu": "half"}}, "resources.cpu", "write it like 500m or 2"),
        ({"resources": {"tasks": "many"}}, "resources.tasks", "many"),
        ({"resources": {"tasks": -1}}, "resources.tasks", "-1"),
        ({"resources": {"disk": "1Gi"}}, "resources.disk", "unknown"),
        ({"resources": {"limits": {"disk": "1Gi"}}}, "resources.disk", "unknown"),
        ({"resources": {"limits": "1Gi"}}, "resources.limits", "must be a mapping"),
        ({"resources": {"requests": ["1Gi"]}}, "resources.requests", "must be a mapping"),
        ({"resources": {"requests": {"memory": "much"}}}, "resources.memory", "write it like"),
    ],
)
def test_a_mistake_is_placed_and_says_what_to_write(raw: dict[str, Any], where: str, words: str) -> None:
    found = problems({"writer": raw})
    assert list(found) == [f"fleet.writer.{where}"]
    assert words in found[f"fleet.writer.{where}"]


@pytest.mark.parametrize("name", ["", "..", "-x", "a/b", "a b", "é", 3, None, "a" * 65])
def test_a_name_that_cannot_be_a_unit_is_refused(name: object) -> None:
    assert "begins with a letter or digit" in problems({name: {}})[f"fleet.{name}"]


@pytest.mark.parametrize("raw", [[], "x", 3, True])
def test_an_agent_is_a_mapping(raw: object) -> None:
    assert "must be a mapping" in problems({"writer": raw})["fleet.writer"]


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(
        {
            "-x": {},
            "writer": {"instances": 0, "port": 1, "prot": 1, "resources": {"memory": "x", "cpu": "y"}},
            "editor": 3,
            "good": {},
        }
    )
    assert sorted(found) == [
        "fleet.-x",
        "fleet.editor",
        "fleet.writer.instances",
        "fleet.writer.port",
        "fleet.writer.prot",
        "fleet.writer.resources.cpu",
        "fleet.writer.resources.memory",
    ]


KEYS = [
    "config",
    "deadline",
    "environment",
    "hosts",
    "instances",
    "min_healthy_time",
    "overrides",
    "port",
    "resources",
]


@few
@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3))
def test_anything_else_gives_a_fleet_or_problems(raw: dict[str, Any]) -> None:
    found: list[Diagnostic] = []
    assert "writer" in fleet_module.read_fleet({"writer": raw}, found)
    assert all(one.path.startswith("fleet.writer") and one.message for one in found)


# --- the choice ---------------------------------------------------------------------------------------------

KNOWN = {
    "writer": ("writer", "writer-agent"),
    "research": ("researcher", "researcher-agent"),
    "editor": ("ed", "editor-agent"),
}


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("all", ["writer", "research", "editor"]),
        ("writer", ["writer"]),
        ("researcher", ["research"]),
        ("editor-agent", ["editor"]),
        ("editor,writer", ["editor", "writer"]),
        (" editor , writer ,", ["editor", "writer"]),
        (["editor", "researcher"], ["editor", "research"]),
        ("writer,writer-agent,writer", ["writer"]),
    ],
)
def test_a_name_a_list_or_all(asked: object, chosen: list[str]) -> None:
    assert select(asked, KNOWN) == chosen


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        ({"x": ("a", "b"), "other": ("x", "x")}, "x"),
        ({"by-stem": ("x", "a"), "by-id": ("b", "x")}, "by-stem"),
        ({"by-id": ("b", "x"), "third": ("c", "d")}, "by-id"),
    ],
)
def test_a_key_goes_before_a_file_and_a_file_before_an_id(
    known: dict[str, tuple[str, str]], chosen: str, order: int
) -> None:
    assert select("x", dict(list(known.items())[::order])) == [chosen]


@pytest.mark.parametrize("asked", ["", " ", ",", []])
def test_an_empty_choice_is_not_everything(asked: object) -> None:
    """`-e agent=$UNSET` must not deploy the whole fleet."""
    with pytest.raises(InputError, match="agent: error MA404: is empty; write `all` for the whole fleet"):
        select(asked, KNOWN)


def test_an_unknown_name_lists_the_known_and_the_nearest() -> None:
    with pytest.raises(InputError) as refusal:
        select("reseacher,writer,nobody", KNOWN)
    assert sorted(map(str, refusal.value.diagnostics)) == [
        "agent: error MA404: no agent 'nobody' in the fleet; known are editor, research, writer",
        "agent: error MA404: no agent 'reseacher' in the fleet; known are editor, research, writer "
        "(did you mean researcher?)",
    ]


def test_an_agents_own_backend_for_secrets_goes_before_the_fleets() -> None:
    found: list[Diagnostic] = []
    raw = {"writer": {}, "editor": {"secrets_backend": "environment_file"}}
    entries = fleet_module.read_fleet(raw, found, secrets_backend="credentials")
    assert {name: one.secrets_backend for name, one in entries.items()} == {
        "writer": "credentials",
        "editor": "environment_file",
    }
    assert read_fleet({"writer": {}})["writer"].secrets_backend == "environment_file"


@pytest.mark.parametrize("raw", ["credential", "vault", True, ["credentials"], {}])
def test_an_unknown_backend_for_secrets_is_told_with_those_there_are(raw: object) -> None:
    found: list[Diagnostic] = []
    fleet_module.read_fleet({"writer": {"secrets_backend": raw}}, found)
    (one,) = found
    assert (one.code, one.path) == ("MA403", "fleet.writer.secrets_backend")
    assert "must be environment_file or credentials" in str(one)
    assert ("did you mean credentials?" in str(one)) == (raw in ("credential", ["credentials"]))
