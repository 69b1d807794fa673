# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runtimes: the programs that run configs, each pinned by its digest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils import runtimes
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import Runtime, unbuilt
from tests.unit.plugins.builders import REPOSITORY, few, sha256
from tests.unit.plugins.test_engine_manifest import json_values

DIGEST = "a" * 64
GOOD: dict[str, Any] = {
    "kind": "binary",
    "version": "0.1.0",
    "artifacts": {"x86_64": {"url": "https://example.org/agent", "sha256": DIGEST}},
    "run": ["{program}", "--config", "{config}", "run"],
    "check": ["{program}", "--config", "{config}", "config"],
    "config_schema": "agent2389",
}


@pytest.fixture(autouse=True)
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built-in runtime, whether or not the real one is built."""
    path = tmp_path / "muster-agent.pyz"
    path.write_bytes(b"program")
    monkeypatch.setattr(runtimes, "_REFERENCE_FILE", path)
    return path


def read_runtimes(raw: object) -> dict[str, Runtime]:
    """Runtimes in which nothing is wrong."""
    found: list[Diagnostic] = []
    read = runtimes.read_runtimes(raw, found)
    assert found == []
    return read


def problems(raw: object) -> dict[str, str]:
    found: list[Diagnostic] = []
    runtimes.read_runtimes(raw, found)
    assert found
    return {one.path: f"{one.message} ({one.suggestion})" for one in found}


def test_the_example_of_the_design_is_read() -> None:
    runtime = read_runtimes({"agent2389": GOOD})["agent2389"]
    assert (runtime.name, runtime.version, runtime.run) == ("agent2389", "0.1.0", tuple(GOOD["run"]))
    assert runtime.artifacts["x86_64"].sha256 == DIGEST
    assert (runtime.ready, runtime.identity, runtime.notify, runtime.watchdog) == (
        "/ready",
        "/health",
        False,
        None,
    )


def test_everything_else_that_can_be_written_is_read() -> None:
    raw = {
        **GOOD,
        "artifacts": {"any": {"src": "agent.pyz", "sha256": DIGEST.upper()}},
        "environment": {"MODE": "prod", "LEVEL": 3},
        "health": {"ready": "/up", "identity": None},
        "notify": True,
        "watchdog": 30,
    }
    runtime = read_runtimes({"x": raw})["x"]
    assert (runtime.artifacts["any"].src, runtime.artifacts["any"].sha256) == ("agent.pyz", DIGEST)
    assert runtime.environment == {"MODE": "prod", "LEVEL": "3"}
    assert (runtime.ready, runtime.identity, runtime.notify, runtime.watchdog) == ("/up", None, True, 30)


def test_the_built_in_runtime_is_there_and_pinned_by_its_bytes(reference: Path) -> None:
    runtime = read_runtimes({})["reference"]
    assert runtime.artifacts["any"].sha256 == sha256(b"program")
    reference.write_bytes(b"PROGRAM")
    os.utime(reference, (1, 1))
    assert read_runtimes({})["reference"].artifacts["any"].sha256 == sha256(b"PROGRAM")


def test_a_runtime_of_that_name_replaces_the_built_in_one(reference: Path) -> None:
    reference.unlink()
    assert read_runtimes({"reference": GOOD})["reference"].version == "0.1.0"


def test_a_clone_in_which_it_is_not_built_says_how_to_build_it(reference: Path) -> None:
    reference.unlink()
    problem = unbuilt(read_runtimes({})["reference"])
    assert problem is not None
    message = f"{problem.path}: {problem.message}"
    command = message.partition("run `")[2].partition("`")[0]
    assert command
    if command.startswith("make "):
        makefile = (REPOSITORY / "Makefile").read_text("utf-8")
        assert f"\n{command.removeprefix('make ')}:" in makefile, f"`{command}` is nothing that can be made"
    else:
        assert (REPOSITORY / command.split()[-1]).is_file()


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"kind": "container"}, ".kind", "takes binary or python"),
        ({"knd": "binary"}, ".knd", "did you mean kind?"),
        ({"run": None}, ".run", "missing; write it like"),
        ({"run": []}, ".run", "missing; write it like"),
        ({"check": "{program} config"}, ".check", "no shell reads it"),
        ({"check": ["{program}", 3]}, ".check", "must be a list of words"),
        ({"artifacts": None}, ".artifacts", "missing; write"),
        ({"artifacts": {}}, ".artifacts", "missing; write"),
        ({"artifacts": "https://example.org"}, ".artifacts", "missing; write"),
        ({"artifacts": {"any": {"src": "x"}}}, ".artifacts.any.sha256", "not 64 hex digits"),
        ({"artifacts": {"any": {"src": "x", "sha256": "abc"}}}, ".artifacts.any.sha256", "not 64 hex digits"),
        (
            {"artifacts": {"any": {"src": "x", "sha256": "g" * 64}}},
            ".artifacts.any.sha256",
            "not 64 hex digits",
        ),
        ({"artifacts": {"any": {"sha256": DIGEST}}}, ".artifacts.any", "needs either `src`"),
        (
            {"artifacts": {"any": {"sha256": DIGEST, "src": "x", "url": "y"}}},
            ".artifacts.any",
            "needs either",
        ),
        ({"health": "/ready"}, ".health", "must be a mapping"),
        ({"health": {"raedy": "/up"}}, ".health.raedy", "unknown; known are ready, identity"),
        ({"health": {"ready": 5}}, ".health.ready", "must be a path such as /ready, or null"),
        (
            {"artifacts": {"any": {"src": ["x"], "sha256": DIGEST}}},
            ".artifacts.any.src",
            "must be text",
        ),
        ({"artifacts": {"any": {"url": 5, "sha256": DIGEST}}}, ".artifacts.any.url", "must be text"),
        ({"environment": ["A=1"]}, ".environment", "must be a mapping"),
        ({"watchdog": "soon"}, ".watchdog", "seconds"),
        ({"metrics": "metrics"}, ".metrics", "path"),
        ({"metrics": 9090}, ".metrics", "path"),
    ],
)
def test_a_mistake_is_placed_and_says_what_to_write(changes: dict[str, Any], where: str, words: str) -> None:
    found = problems({"x": {**GOOD, **changes}})
    assert list(found) == [f"agent_runtimes.x{where}"]
    assert words in found[f"agent_runtimes.x{where}"]


def test_a_command_that_is_one_string_is_said_to_be_none() -> None:
    found = problems({"x": {**GOOD, "run": "{program} run"}})
    assert found["agent_runtimes.x.run"]


@pytest.mark.parametrize("raw", [None, [], "x", 3])
def test_runtimes_are_a_mapping(raw: object) -> None:
    assert "must be a mapping" in problems(raw)["agent_runtimes"]


def test_all_mistakes_are_told_at_once() -> None:
    found = problems({"x": {"kind": "jar"}, "y": 3, "good": GOOD})
    assert sorted(found) == [
        "agent_runtimes.x.artifacts",
        "agent_runtimes.x.kind",
        "agent_runtimes.x.run",
        "agent_runtimes.y",
        "agent_runtimes.y.artifacts",
        "agent_runtimes.y.run",
    ]


@few
@given(
    st.sampled_from(["artifacts", "check", "environment", "health", "kind", "run", "version"]), json_values
)
def test_anything_else_gives_a_runtime_or_problems(key: str, value: object) -> None:
    found: list[Diagnostic] = []
    assert "x" in runtimes.read_runtimes({"x": {**GOOD, key: value}}, found)
    assert all(one.path.startswith("agent_runtimes.x") and one.message for one in found)
