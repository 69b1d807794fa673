# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd prints, read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine.systemd import _unit, journal_lines
from tests.unit.plugins.builders import RUNNING


def line(message: object, seconds: float = 100.0) -> str:
    return json.dumps({"MESSAGE": message, "__MONOTONIC_TIMESTAMP": str(int(seconds * 1e6))})


def test_messages_are_read_line_by_line() -> None:
    text = "\n".join(
        [line("Started."), line("first\n\nsecond"), line(""), line(None), "torn {", line([104, 105, 255])]
    )
    assert journal_lines(text, 0.0) == ["Started.", "first", "second", "hi\ufffd"]
    assert journal_lines("", 0.0) == []


def test_older_lines_are_left_out_by_the_clock_that_does_not_jump() -> None:
    text = "\n".join([line("before", 9.9), line("after", 10.1)])
    assert journal_lines(text, 10.0) == ["after"]


@pytest.mark.parametrize(("said", "job"), [({}, 0), ({"Job": ""}, 0), ({"Job": "1234"}, 1234)])
def test_a_queued_job_is_known(said: dict[str, str], job: int) -> None:
    assert _unit("a.service", said).job == job


def test_drop_ins_are_listed() -> None:
    said = {
        "DropInPaths": "/etc/systemd/system/a.service.d/one.conf /run/systemd/system/a.service.d/two.conf"
    }
    assert len(_unit("a.service", said).drop_ins) == 2
    assert _unit("a.service", {}).drop_ins == ()


@pytest.mark.parametrize(
    ("load", "file_state", "masked"),
    [
        ("masked", "masked", True),
        ("masked", "", True),
        ("loaded", "masked-runtime", True),
        ("loaded", "enabled", False),
        ("not-found", "", False),
    ],
)
def test_a_masked_unit_is_known_by_either_word(load: str, file_state: str, masked: bool) -> None:
    assert replace(RUNNING, load=load, file_state=file_state).masked is masked
