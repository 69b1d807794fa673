# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hooks around a release: read from the fleet, and run on the controller."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic
from ansible_collections.muster.agents.plugins.plugin_utils.hooks import Hook, read_hooks, run_here


def test_hooks_are_read() -> None:
    problems: list[Diagnostic] = []
    raw = {
        "pre_release": {"run": ["drain", 5]},
        "post_release": {"run": ["tell"], "where": "controller", "timeout": 5},
    }
    assert read_hooks(raw, "fleet.writer.hooks", problems, "writer") == {
        "pre_release": Hook("host", ("drain", "5"), 60.0),
        "post_release": Hook("controller", ("tell",), 5.0),
    }
    assert read_hooks(None, "fleet.writer.hooks", problems, "writer") == {}
    assert not problems


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (["drain"], "must be a mapping"),
        (
            {"pre_relase": {"run": ["x"]}},
            "known are pre_release and post_release (did you mean pre_release?)",
        ),
        ({"pre_release": "drain"}, "must be a mapping such as"),
        ({"pre_release": {"run": ["x"], "user": "me"}}, "must be a mapping such as"),
        ({"pre_release": {"run": "drain --now"}}, "run must be a list of words"),
        ({"pre_release": {"run": []}}, "run must be a list of words"),
        ({"pre_release": {"run": ["x"], "where": "broker"}}, "where must be host or controller"),
        ({"pre_release": {"run": ["x"], "timeout": 0}}, "timeout must be a number of seconds from 1 to 3600"),
    ],
)
def test_a_mistake_in_a_hook_is_told(raw: object, said: str) -> None:
    problems: list[Diagnostic] = []
    assert read_hooks(raw, "fleet.writer.hooks", problems, "writer") == {}
    assert said in str(problems[0])
    assert problems[0].agent == "writer"


def test_a_hook_knows_what_it_runs_for(tmp_path: Path) -> None:
    told = tmp_path / "told"
    assert run_here(["sh", "-c", f'echo "$MUSTER_AGENT" > {told}'], 10, {"MUSTER_AGENT": "writer"}) == ""
    assert told.read_text() == "writer\n"


def test_a_hook_that_fails_is_told_with_its_last_words() -> None:
    said = run_here(["sh", "-c", "echo queue is not empty; exit 3"], 10, {})
    assert said == "sh ended with status 3\n    | queue is not empty"


def test_a_hook_that_is_not_there_is_told() -> None:
    assert run_here(["/nowhere/drain"], 10, {}) == "/nowhere/drain: No such file or directory"


def test_a_hook_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    began = time.monotonic()
    said = run_here(["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"], 1, {})
    assert said == "sh did not end within 1 s"
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # init may take a moment to collect it
            os.kill(int(pid.read_text()), 0)
            time.sleep(0.05)
