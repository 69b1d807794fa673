# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which agents leave a host: those that today's plan has elsewhere, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Request, parse
from ansible_collections.muster.agents.plugins.module_utils.engine.retire import (
    moved_away,
    orphans,
    remove_agents,
)
from ansible_collections.muster.agents.plugins.module_utils.engine.state import State, save
from tests.unit.plugins.builders import TEXTS, nested, raw_manifest


def entry(base: str, agent_id: str = "id") -> dict[str, Any]:
    return {"release": "a" * 16, "proven": [], "unit": "u", "base": base, "agent_id": agent_id}


HERE = State(
    {
        "agents/writer-1": entry("writer", "writer-agent-1"),
        "agents/writer-2": entry("writer", "writer-agent-2"),
        "agents/editor": entry("editor", "editor-agent"),
        "services/mosquitto": entry("mosquitto"),
    }
)


def request(*wanted: str, **changes: Any) -> Request:
    """A request that wants these instances on this host."""
    workloads = [{"manifest": raw_manifest(name=name), "files": TEXTS} for name in wanted]
    return parse(json.dumps({"format": 1, "workloads": workloads, **changes}))


def retired(*wanted: str, names: tuple[str, ...]) -> list[str]:
    return moved_away(HERE, request(*wanted, names=names))


def test_instances_that_belong_elsewhere_go() -> None:
    assert retired("writer-2", names=("writer",)) == ["writer-1"]
    assert retired(names=("writer",)) == ["writer-1", "writer-2"]


def test_what_stays_and_what_was_not_selected_stays() -> None:
    assert retired("writer-1", "writer-2", names=("writer",)) == []
    assert retired(names=("researcher",)) == []
    assert retired(names=("writer-1",)) == [], "an instance is no fleet key"
    assert retired(names=()) == []


def test_the_broker_is_no_agent() -> None:
    assert retired(names=("mosquitto",)) == []


def test_orphans_are_those_that_the_fleet_does_not_name() -> None:
    assert orphans(HERE, request(fleet=("editor", "researcher"))) == {
        "writer-1": "writer-agent-1",
        "writer-2": "writer-agent-2",
    }
    assert orphans(HERE, request(fleet=("editor", "writer"))) == {}


def test_without_a_fleet_nobody_is_an_orphan() -> None:
    assert orphans(HERE, request(fleet=())) == {}


@pytest.mark.parametrize(
    ("names", "removed"),
    [
        (("writer",), ["writer-1", "writer-2"]),
        (("writer-2",), ["writer-2"]),
        (("editor", "writer-1"), ["editor", "writer-1"]),
        (("mosquitto",), []),
        (("unknown",), []),
    ],
)
def test_a_removal_says_in_check_mode_what_it_would_remove(
    tmp_path: Path, names: tuple[str, ...], removed: list[str]
) -> None:
    layout = Layout(tmp_path)
    save(layout, HERE)
    before = layout.state.read_bytes()
    report = remove_agents(layout, request(phase="remove", names=names, check_mode=True))
    assert [one["name"] for one in report["removed"]] == removed
    assert layout.state.read_bytes() == before
    assert not layout.lock.exists()


def test_a_purge_takes_data_however_deep(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    save(layout, State({}))
    folder = tmp_path / "var/lib/private/agent-writer"
    folder.mkdir(parents=True)
    with nested(folder, "d", 1100):
        report = remove_agents(layout, request(phase="remove", names=("writer",), purge=True))
        assert report == {"removed": [], "purged": [str(folder)]}
        assert not folder.exists()
