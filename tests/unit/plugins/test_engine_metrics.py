# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`muster metrics`, read by Prometheus' own client library."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.muster.agents.plugins.module_utils.engine import cli, hold, metrics
from ansible_collections.muster.agents.plugins.module_utils.engine.lock import locked
from ansible_collections.muster.agents.plugins.module_utils.engine.state import load, record, save
from tests.unit.plugins.builders import KEY, RUNNING, UNIT, UNIT_PATH, http_server, raw_manifest
from tests.unit.plugins.small_host import RUNTIME, Host, host, version

__all__ = ["host"]
AGENT = {"agent": "writer"}


def answers() -> dict[str, Any]:
    return {"/ready": (200, ""), "/health": (200, json.dumps({"agent_id": "writer-agent"}))}


def read(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Metric → its samples; a family that has none, or a type that is not true, is an error here."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.samples, family
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def taken(host: Host) -> dict[str, list[tuple[dict[str, str], float]]]:
    return read(metrics.text(metrics.samples(host.layout)))


def happened(host: Host, result: str, **about: Any) -> None:
    record(host.layout, {"via": "deploy", "key": KEY, "name": "writer", "result": result, **about})


def test_a_healthy_agent_and_its_release(host: Host) -> None:
    with http_server(answers()) as (port, _):
        gate = {**raw_manifest()["gate"], "port": port}
        host.release(version(1, gate=gate))
        release = host.release(version(2, gate=gate, certificate_ends=2_000_000_000))
        happened(host, "released", before=None, after=release)
        host.units[UNIT] = replace(RUNNING, restarts=4)
        found = taken(host)
    about = {
        "kind": "agent",
        "base": "writer",
        "agent_id": "writer-agent",
        "release": release,
        "version": "1.2",
        "runtime": f"{RUNTIME['name']} {RUNTIME['version']}",
    }
    assert found["muster_agent_info"] == [({**AGENT, **about}, 1)]
    values = {"ready": 1, "active": 1, "held": 0, "drift": 0, "restarts_total": 4, "releases": 2}
    for name, value in values.items():
        assert found[f"muster_agent_{name}"] == [(AGENT, value)], name
    for name in ("release", "proven", "last_deploy"):
        ((labels, at),) = found[f"muster_agent_{name}_timestamp_seconds"]
        assert labels == AGENT and abs(at - time.time()) < 60
    results = {labels["result"]: value for labels, value in found["muster_agent_last_deploy_result"]}
    assert results == {"released": 1, "reverted": 0, "removed": 0, "failed": 0, "refused": 0}
    assert found["muster_agent_releases_bytes"][0][1] > 500
    assert found["muster_agent_ill"] == [({**AGENT, "state": state}, 0) for state in ("stuck", "deaf")]
    assert found["muster_agent_certificate_end_timestamp_seconds"] == [(AGENT, 2_000_000_000)]
    assert found["muster_runtimes_bytes"] == [({}, len("the runtime's program"))]
    assert found["muster_transaction_unfinished"] == found["muster_transaction_under_way"] == [({}, 0)]
    assert set(found) == set(metrics.METRICS), "each metric that is promised is there"


def test_what_is_wrong_shows(host: Host) -> None:
    first, second = host.release(version(1)), host.release(version(2))
    happened(host, "released", before=first, after=second)
    happened(host, "reverted", before=second, after=second, tried="f" * 16)
    happened(host, "held", via="hold", before=second, after=second)
    hold.put(host.layout, KEY, {"since": "", "user": "", "host": "", "note": ""})
    host.units[UNIT] = replace(RUNNING, active="failed", pid=0)
    host.layout.on_host(UNIT_PATH).write_text("by hand")
    found = taken(host)
    for name, value in {"ready": 0, "active": 0, "held": 1, "drift": 1}.items():
        assert found[f"muster_agent_{name}"] == [(AGENT, value)], name
    true = [labels["result"] for labels, value in found["muster_agent_last_deploy_result"] if value]
    assert true == ["reverted"], "a hold is no deploy"


def test_a_release_that_was_interrupted_is_told_from_one_under_way(host: Host) -> None:
    host.release(version(1))
    state = load(host.layout)
    state.transaction = {
        "began": 1.0,
        "before": {KEY: None},
        "after": {KEY: state.release(KEY)},
        "touched": {},
    }
    save(host.layout, state)
    names = ("muster_transaction_unfinished", "muster_transaction_under_way")
    assert [taken(host)[name] for name in names] == [[({}, 1)], [({}, 0)]]
    with locked(host.layout, {"user": "admin", "host": "laptop"}):
        assert [taken(host)[name] for name in names] == [[({}, 0)], [({}, 1)]]


def test_labels_may_hold_anything(host: Host) -> None:
    host.release(version(1, version='a"b\\c\nd'))
    ((labels, _),) = taken(host)["muster_agent_info"]
    assert labels["version"] == 'a"b\\c\nd'


def test_a_damaged_release_is_still_told_of(host: Host) -> None:
    release = host.release(version(1))
    (host.layout.release(KEY, release) / "manifest.json").write_text("{}")
    found = taken(host)
    ((labels, _),) = found["muster_agent_info"]
    assert (labels["release"], labels["runtime"]) == (release, "")
    assert found["muster_agent_ready"] == [(AGENT, 0)] and found["muster_agent_drift"] == [(AGENT, 1)]


def test_the_file_is_replaced_whole_and_new_each_time(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host.release(version(1))
    folder = tmp_path / "collector"
    folder.mkdir()
    path = folder / "muster.prom"
    words = ["metrics", "--output", str(path)]
    assert cli.main(words, host.layout) == 0
    first = path.stat()
    assert capsys.readouterr().out == ""
    assert read(path.read_text())["muster_info"] and oct(first.st_mode) == "0o100644"
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 60)
    assert cli.main(words, host.layout) == 0
    assert path.stat().st_ino != first.st_ino, "node_exporter tells a stale file by its time"
    assert list(folder.iterdir()) == [path]


def test_no_folder_is_said_in_a_sentence(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["metrics", "--output", str(tmp_path / "absent" / "muster.prom")], host.layout) == 1
    assert capsys.readouterr().err.startswith(f"muster: {tmp_path}/absent is not a folder; ")


def test_no_secret_is_in_it(host: Host) -> None:
    host.release(version(1))
    assert "canary" not in metrics.text(metrics.samples(host.layout))


def test_a_state_that_cannot_be_read_leaves_the_file_as_it_was(host: Host, tmp_path: Path) -> None:
    host.release(version(1))
    path = tmp_path / "muster.prom"
    path.write_text("old\n")
    host.layout.state.write_text("{")
    assert cli.main(["metrics", "--output", str(path)], host.layout) == 1
    assert path.read_text() == "old\n"
