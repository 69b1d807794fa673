# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The history read back: newest first, whatever version wrote it, and whatever a power loss left of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import history
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.logs import period

A, B = "a" * 16, "b" * 16
KEY = "agents/writer"


def line(**changes: Any) -> dict[str, Any]:
    return {
        "time": "2026-01-02T03:04:05Z",
        "key": KEY,
        "name": "writer",
        "via": "deploy",
        "who": {"user": "admin", "host": "laptop", "commit": "0123456789abcdef", "dirty": True},
        "before": A,
        "after": B,
        "result": "released",
        "phase": "",
        "reason": "",
        "log": [],
        "seconds": {"switch": 0.25, "gate": 3.5},
        **changes,
    }


def written(tmp_path: Path, *lines: dict[str, Any], torn: str = "") -> list[dict[str, Any]]:
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True, exist_ok=True)
    layout.history.write_text("".join(json.dumps(one) + "\n" for one in lines) + torn)
    return history.read(layout)


def test_the_newest_comes_first_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    found = written(tmp_path, line(), line(before=B, after=A, via="rollback"), torn='{"time": "2026-0')
    assert [one["via"] for one in found] == ["rollback", "deploy"]
    assert found[1]["total"] == 3.75
    assert (found[1]["user"], found[1]["host"], found[1]["dirty"]) == ("admin", "laptop", True)


@pytest.mark.parametrize(
    "damage",
    [
        {"key": None},
        {"key": 5},
        {"seconds": 5},
        {"seconds": {"gate": "long"}},
        {"who": "admin"},
        {"who": {"commit": 5}},
        {"log": "line"},
        {"before": ["a"]},
        {"via": {}, "time": 5},
    ],
)
def test_a_damaged_line_is_passed_over(tmp_path: Path, damage: dict[str, Any]) -> None:
    found = written(tmp_path, line(name="whole"), line(**damage))
    assert [one["name"] for one in found] == ["whole"]
    assert history.as_table(found, None)
    assert history.in_detail(found)


def test_older_lines_get_the_same_keys(tmp_path: Path) -> None:
    old = {
        "time": "2025-01-01T00:00:00+0000",
        "key": KEY,
        "name": "writer",
        "who": {"user": "u", "host": "h"},
    }
    found = written(
        tmp_path,
        {
            **old,
            "before": A,
            "after": A,
            "result": "reverted",
            "recovery": True,
            "reason": "r",
            "log": [],
            "seconds": {},
        },
        {**old, "result": "retired"},
        {**old, "result": "removed"},
        line(),
    )
    assert [one["via"] for one in found] == ["deploy", "remove", "retire", "recovery"]
    assert len({tuple(one) for one in found}) == 1, "every entry has the same keys"


def test_a_history_that_was_rotated_is_read_whole(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    layout.history.with_name("history.jsonl.1").write_text(json.dumps(line(name="older")) + "\n")
    assert [one["name"] for one in written(tmp_path, line())] == ["writer", "older"]
    assert history.read(Layout(tmp_path / "nowhere")) == []


def test_since_is_when_the_current_release_became_so(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        line(time="2026-01-01T00:00:00Z", before=None, after=A),
        line(time="2026-01-02T00:00:00Z"),
        line(time="2026-01-03T00:00:00Z", before=B, after=B, result="reverted"),
    )
    assert history.since(found, KEY, B) == "2026-01-02T00:00:00Z"
    assert history.since(found, KEY, A) is None, "the history does not know of a change to it"
    assert history.since(found, "agents/editor", B) is None


def test_the_table_and_the_details_say_who_what_and_why(tmp_path: Path) -> None:
    found = written(tmp_path, line(result="reverted", after=A, phase="gate", reason="exited", log=["no key"]))
    assert history.as_table(found, None).splitlines()[1].split() == [
        *("2026-01-02", history.moment(found[0]["time"])[11:]),
        *("writer", "deploy", A[:8], A[:8], "reverted", "gate", "3s", "admin@laptop", "01234567+"),
    ]
    detail = history.in_detail(found)
    for words in (
        f"{A} -> {A}",
        "phase:",
        "gate",
        "reason:  exited",
        "switch 0.2 s, gate 3.5 s",
        "    | no key",
    ):
        assert words in detail


def test_a_release_s_time_is_found_in_the_history(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        line(time="1970-01-01T00:10:00Z", before=None, after=A, seconds={"gate": 9.0}),
        line(time="1970-01-01T00:20:00Z", seconds={}),
        line(time="1970-01-01T00:30:00Z", via="rotation", before=B, seconds={}),
    )
    assert period(found, KEY, A) == (590.0, 1200.0)
    assert period(found, KEY, B) == (1199.0, None)
