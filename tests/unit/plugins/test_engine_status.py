# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Status: what a person at 3 a.m. sees, and when the exit code says that they are needed."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import health_memory, hold, status
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.health import DEAF, Record, Track
from ansible_collections.muster.agents.plugins.module_utils.engine.health_memory import Memory
from ansible_collections.muster.agents.plugins.module_utils.engine.lock import locked
from ansible_collections.muster.agents.plugins.module_utils.engine.state import load, record, save
from tests.unit.plugins.builders import KEY, RUNNING, UNIT, UNIT_PATH, http_server, raw_manifest
from tests.unit.plugins.small_host import Host, host, version

__all__ = ["host"]


def agent(host: Host, port: int) -> str:
    gate = {**raw_manifest()["gate"], "port": port}
    host.release(version(1, gate=gate))
    return host.release(version(2, gate=gate))


def answers(agent_id: str = "writer-agent", ready: int = 200) -> dict[str, Any]:
    return {"/ready": (ready, "says canary-of-today"), "/health": (200, json.dumps({"agent_id": agent_id}))}


def test_a_healthy_agent_is_ready_and_nobody_is_needed(host: Host) -> None:
    with http_server(answers()) as (port, _):
        release = agent(host, port)
        record(
            host.layout,
            {"key": KEY, "name": "writer", "before": None, "after": release, "result": "released"},
        )
        found = status.document(host.layout)
    (entry,) = found["workloads"]
    assert status.healthy(found) and found["unfinished"] is None
    assert (entry["kind"], entry["name"], entry["ready"], entry["release"]) == (
        "agent",
        "writer",
        True,
        release,
    )
    assert (entry["held"], entry["drift"], entry["overrides"], entry["detail"]) == (None, [], [], "")
    assert entry["previous"] == load(host.layout).proven(KEY)[0]
    assert entry["since"] is not None
    lines = status.as_table(found, None).splitlines()
    assert lines[0].split() == ["AGENT", "RELEASE", "SINCE", "STATE", "UPTIME", "RESTARTS", "PORT"]
    assert lines[1].split()[:2] == ["writer", release[:8]] and len(lines) == 2


def test_one_that_is_not_ready_says_why_with_its_secrets_masked(host: Host) -> None:
    with http_server(answers(ready=503)) as (port, _):
        agent(host, port)
        found = status.document(host.layout)
    assert not status.healthy(found)
    assert "writer: /ready answered 503 says ********" in status.as_table(found, None)


@pytest.mark.parametrize(("since", "deaf"), [(0.0, False), (1e12, True)])
def test_who_says_that_it_is_ready_and_is_deaf_needs_somebody(host: Host, since: float, deaf: bool) -> None:
    """Only where that was found of the process that runs now."""
    memory = Memory(at=time.time(), every=5.0, tracks={KEY: Track(RUNNING.invocation)})
    memory.records[KEY] = Record(DEAF, since, "no sign of it")
    with http_server(answers()) as (port, _):
        agent(host, port)
        assert health_memory.keep(host.layout, memory) == ""
        found = status.document(host.layout)
    text = status.as_table(found, None)
    assert (not status.healthy(found), "  deaf  " in text, "writer: no sign of it" in text) == (deaf,) * 3


def test_a_port_that_another_agent_answers_is_not_ready(host: Host) -> None:
    with http_server(answers("editor-agent")) as (port, _):
        agent(host, port)
        (entry,) = status.status(host.layout)
    assert not entry["ready"] and "editor-agent" in entry["detail"]


def test_a_stopped_agent_is_not_asked(host: Host) -> None:
    with http_server(answers()) as (port, asked):
        agent(host, port)
        host.units[UNIT] = replace(RUNNING, active="inactive", sub="dead", pid=0)
        (entry,) = status.status(host.layout)
    assert (entry["ready"], entry["detail"], asked) == (False, "unit is inactive (dead)", [])


def test_a_held_agent_is_nothing_wrong(host: Host) -> None:
    agent(host, 1)
    host.units[UNIT] = replace(RUNNING, active="inactive", pid=0)
    hold.put(
        host.layout, KEY, {"since": "2026-01-02T03:04:05Z", "user": "admin", "host": "laptop", "note": "disk"}
    )
    found = status.document(host.layout)
    assert status.healthy(found)
    text = status.as_table(found, None)
    assert text.splitlines()[1].split()[3:5] == ["held", "-"]
    assert "by admin@laptop: disk" in text
    host.units[UNIT] = RUNNING
    assert "held, but not stopped" in status.as_table(status.document(host.layout), None)


def test_drift_needs_somebody_and_points_to_diff(host: Host) -> None:
    with http_server(answers()) as (port, _):
        agent(host, port)
        host.layout.on_host(UNIT_PATH).write_text("by hand")
        found = status.document(host.layout)
    assert found["workloads"][0]["ready"] and not status.healthy(found)
    assert "writer: drift: unit; `muster diff writer` shows it" in status.as_table(found, None)


def test_an_interrupted_release_is_told_from_one_under_way(host: Host) -> None:
    with http_server(answers()) as (port, _):
        agent(host, port)
        state = load(host.layout)
        state.transaction = {
            "began": 1000.0,
            "before": {KEY: None},
            "after": {KEY: state.release(KEY)},
            "touched": {},
        }
        save(host.layout, state)
        interrupted = status.document(host.layout)
        with locked(host.layout, {"user": "admin", "host": "laptop"}):
            under_way = status.document(host.layout)
    assert not status.healthy(interrupted) and interrupted["unfinished"]["by"] is None
    assert "`muster resume`" in status.as_table(interrupted, None)
    assert status.healthy(under_way) and under_way["unfinished"]["by"].startswith("admin@laptop (pid ")
    assert under_way["workloads"][0]["unfinished"]


def test_names_choose_and_unknown_ones_are_refused(host: Host) -> None:
    agent(host, 1)
    host.release(version(1, name="editor", base="editor", unit="agent-editor.service", install={}))
    assert [one["name"] for one in status.status(host.layout, ["editor"])] == ["editor"]
    with pytest.raises(
        EngineError, match="'writre' is not on this host; here are editor, writer; did you mean 'writer'"
    ):
        status.status(host.layout, ["writre"])


def test_an_empty_host_says_so(host: Host) -> None:
    assert status.as_table(status.document(host.layout), None) == "no agent runs on this host"


def test_one_release_that_cannot_be_read_leaves_the_others_told_of(host: Host) -> None:
    unit = "agent-editor.service"
    install = {f"/etc/systemd/system/{unit}": {"file": "unit", "mode": "0644"}}
    host.release(version(1, name="editor", base="editor", unit=unit, install=install))
    path = host.layout.release(KEY, host.release(version(1))) / "manifest.json"
    path.unlink()
    path.mkdir()
    entries = {one["name"]: one for one in status.document(host.layout)["workloads"]}
    assert entries["editor"]["drift"] == []
    assert entries["writer"]["drift"] == ["manifest.json"]
    assert entries["writer"]["detail"] == f"{path}: cannot be read (Is a directory)"
