# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engine remembers: trusted only when it is whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import VERSION, files, state
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from tests.unit.plugins.builders import fill, small_disk, with_collection

# Saves another state, and is killed at the nth of some call.
KILLED = """
import os, signal, sys
from pathlib import Path
from ansible_collections.muster.agents.plugins.module_utils.engine import state
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout

calls = 0
real = os.{call}


def counted(*arguments, **options):
    global calls
    calls += 1
    if calls == {nth}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)


os.{call} = counted
state.save(Layout(Path(sys.argv[1])), state.State({{}}))
"""

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
        (b'{"workloads": {}}', "its format is None"),
        (b'{"format": true, "workloads": {}}', "its format is True"),
        (b'{"format": 2, "workloads": {"agents/a": 5}}', "the entry of agents/a is not one"),
        (b'{"format": 2, "workloads": {"agents/a": {}}}', "names a release that is none"),
        (b'{"format": 2, "workloads": {"agents/a": {"release": "../../x"}}}', "names a release that is none"),
        (
            b'{"format": 2, "workloads": {"agents/a": {"release": "0123456789abcdef"}}}',
            "agents/a names no unit",
        ),
        (b'{"format": 2, "workloads": {}, "salt": 5}', "salt"),
        (
            b'{"format": 2, "workloads": {}, "transaction": {"before": {}, "after": {}, "touched": null}}',
            "touched",
        ),
        (
            b'{"format": 2, "workloads": {}, "transaction": {"before": {}, "after": {}, "touched": []}}',
            "touched",
        ),
        (b'{"format": 2, "workloads": {}, "transaction": 5}', "`transaction` is not one"),
        (
            b'{"format": 2, "workloads": {}, "transaction": {"before": {}, "after": {"agents/a": "b"}}}',
            "same agents before and after",
        ),
        (
            b'{"format": 2, "workloads": {}, "transaction": {"before": {}, "after": {}, "touched": {"a": 1}}}',
            "touched",
        ),
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
    assert "Nothing was changed. Move it away and deploy again" in str(refusal.value)
    assert layout.state.read_bytes() == data


def test_an_older_engine_refuses_newer_state_with_both_versions(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    layout.state.write_text('{"format": 9, "engine": "7.1.0", "workloads": "in another way"}')
    with pytest.raises(EngineError) as refusal:
        state.load(layout)
    assert f"written by muster 7.1.0 in format 9; this is muster {VERSION}, which knows format 2" in str(
        refusal.value
    )


def test_the_state_of_an_older_engine_is_read(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    layout.state.write_text(json.dumps({"format": 1, "workloads": WORKLOADS, "transaction": None}))
    assert state.load(layout).workloads == WORKLOADS


# --- saving, also on a full disk ------------------------------------------------------------------------------


def test_it_says_which_engine_wrote_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    state.save(layout, state.State(WORKLOADS))
    assert json.loads(layout.state.read_text())["engine"] == VERSION


def test_once_it_is_ready_it_is_saved_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=2m,nr_inodes=60"):
        layout = Layout(tmp_path / "disk")
        begun = {"began": 1.0, "before": {}, "after": {}, "touched": {}}
        many = {f"agents/a{number}": WORKLOADS["agents/writer"] for number in range(300)}
        state.save(layout, state.State(WORKLOADS))
        state.make_ready(layout, state.State(many, begun))
        fill(layout.root)
        for transaction in (begun, None, begun, None):
            state.save(layout, state.State(many, transaction))
            found = state.load(layout)
            assert (found.workloads, found.transaction) == (many, transaction)


def test_without_room_it_is_not_ready_and_what_was_saved_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=256k"):
        layout = Layout(tmp_path / "disk")
        state.save(layout, state.State(WORKLOADS))
        fill(layout.root)
        many = {f"agents/a{number}": WORKLOADS["agents/writer"] for number in range(3000)}
        with pytest.raises(OSError, match="No space left"):
            state.make_ready(layout, state.State(many))
        assert state.load(layout).workloads == WORKLOADS
        assert files.our_leftovers(layout.lib) == []


@pytest.mark.parametrize("call", ["link", "replace", "fsync"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_kill_while_it_is_saved_leaves_the_old_one_or_the_new_one(
    tmp_path: Path, call: str, nth: int
) -> None:
    layout = Layout(tmp_path)
    state.save(layout, state.State(WORKLOADS))
    state.save(layout, state.State(WORKLOADS))
    script = KILLED.format(call=call, nth=nth)
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=with_collection(), check=False)
    assert state.load(layout).workloads in (WORKLOADS, {})
    for workloads in (WORKLOADS, {}, WORKLOADS):
        state.save(layout, state.State(workloads))
        assert state.load(layout).workloads == workloads


def test_a_salt_stays_what_it_was(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = state.State(WORKLOADS)
    state.save(layout, first)
    found = state.load(layout)
    assert found.digest("A=1") == first.digest("A=1") != state.State().digest("A=1")
    assert found.digest(None) == ""
    assert found.digest("") != ""
    assert "A=1" not in found.digest("A=1")


# --- the history ----------------------------------------------------------------------------------------------


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
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["time"]) for entry in entries)
    assert layout.history.stat().st_mode & 0o777 == 0o600


def test_a_history_that_cannot_be_written_is_a_warning_and_keeps_whole_lines(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k"):
        layout = Layout(tmp_path / "disk")
        layout.lib.mkdir(parents=True)
        assert state.record(layout, {"name": "writer"}) == ""
        before = layout.history.read_bytes()
        fill(layout.root)
        warning = state.record(layout, {"name": "writer", "log": "#" * 8192})
        assert warning.startswith(f"{layout.history}: not written (No space left on device)")
        assert layout.history.read_bytes() == before


def test_a_line_that_a_power_loss_tore_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    layout.history.write_text('{"key": "agents/wri')
    state.record(layout, {"name": "writer"})
    assert json.loads(layout.history.read_text().splitlines()[1])["name"] == "writer"


def test_the_history_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_HISTORY_BYTES", 4096)
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    for number in range(200):
        assert state.record(layout, {"number": number}) == ""
    parts = [layout.history.with_name("history.jsonl.1"), layout.history]
    assert sum(path.stat().st_size for path in parts) < 3 * 4096
    lines = [line for path in parts for line in path.read_text().splitlines()]
    assert [json.loads(line)["number"] for line in lines] == list(range(200))[-len(lines) :]


def test_what_was_proven_is_known_from_the_history(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    for key, result, after in (
        ("agents/writer", "released", "a" * 16),
        ("agents/writer", "released", "b" * 16),
        ("agents/writer", "reverted", "a" * 16),
        ("agents/writer", "failed", "c" * 16),
        ("agents/other", "released", "d" * 16),
        ("agents/writer", "released", "../../etc"),
    ):
        state.record(layout, {"key": key, "result": result, "after": after})
    with layout.history.open("a") as stream:
        stream.write("torn")
    assert state.released_before(layout, "agents/writer") == ["b" * 16, "a" * 16]
    assert state.released_before(Layout(tmp_path / "absent"), "agents/writer") == []
