# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engine remembers: trusted only when it is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import state
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout

WORKLOADS = {
    "agents/writer": {"release": "a" * 16, "proven": ["b" * 16, "a" * 16], "unit": "u", "base": "writer"}
}


def test_a_host_that_never_had_one_has_an_empty_state(tmp_path: Path) -> None:
    found = state.load(Layout(tmp_path))
    assert (found.workloads, found.transaction) == ({}, None)
    assert (found.release("agents/writer"), found.proven("agents/writer")) == (None, [])
    assert list(tmp_path.iterdir()) == []


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    state.save(layout, state.State(WORKLOADS, {"began": 1.5, "before": {}, "after": {}}))
    found = state.load(layout)
    assert found.workloads == WORKLOADS
    assert found.transaction == {"began": 1.5, "before": {}, "after": {}}
    assert (found.release("agents/writer"), found.proven("agents/writer")) == ("a" * 16, ["b" * 16, "a" * 16])
    assert layout.state.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read"),
        (b'{"format": 1, "work', "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"\0" * 512, "cannot be read"),
        (b"[]", "not a state file"),
        (b'{"format": 1}', "not a state file"),
        (b'{"format": 1, "workloads": []}', "not a state file"),
        (b'{"format": 2, "workloads": {}}', "format 2, this engine knows 1"),
        (b'{"workloads": {}}', "format None"),
    ],
)
def test_a_state_that_cannot_be_trusted_is_refused_by_its_name(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    layout.state.write_bytes(data)
    with pytest.raises(EngineError, match=reason) as refusal:
        state.load(layout)
    assert str(refusal.value).startswith(f"{layout.state}: ")
    assert layout.state.read_bytes() == data


def test_a_directory_in_its_place_is_refused_by_its_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.state.mkdir(parents=True)
    with pytest.raises(EngineError, match=r"state\.json: cannot be read"):
        state.load(layout)


def test_each_record_is_one_line_of_the_history(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    state.record(layout, {"key": "agents/writer", "reason": "two\nlines", "result": "reverted"})
    state.record(layout, {"key": "agents/writer", "result": "released"})
    entries = [json.loads(line) for line in layout.history.read_text().splitlines()]
    assert [entry["result"] for entry in entries] == ["reverted", "released"]
    assert entries[0]["reason"] == "two\nlines"
    assert all(entry["time"][:2] == "20" for entry in entries)
    assert layout.history.stat().st_mode & 0o777 == 0o600
