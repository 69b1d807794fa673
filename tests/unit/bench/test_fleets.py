# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that the benchmark writes for its fleets, and that its cases fit on its hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import cases, deploy, fleets
from bench.fleets import Fleet
from dev.hosts import BENCH


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "FOLDER", tmp_path)


def inventory(fleet: Fleet) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(fleet.inventory.read_text())["all"]
    return tree


def test_one_setting_of_one_agent_is_all_that_a_change_changes() -> None:
    fleet = Fleet("twenty", "bench-3", ("bench-4",), 20)
    fleets.write(fleet)
    before = inventory(fleet)
    fleets.write(fleet, {"agent-001": 0.123})
    after = inventory(fleet)
    assert after["vars"]["fleet"].pop("agent-001") == {"overrides": {"llm": {"temperature": 0.123}}}
    assert before["vars"]["fleet"].pop("agent-001") == {}
    assert before == after


def test_every_agent_has_a_config_of_its_own() -> None:
    fleet = Fleet("twenty", "bench-3", ("bench-4",), 3)
    fleets.write(fleet)
    texts = {path.read_text() for path in (fleet.folder / "agents").iterdir()}
    assert len(texts) == 3
    assert all('broker_url = "${MQTT_BROKER_URL}"' in text for text in texts)


def test_peers_get_the_broker_files_that_the_collection_makes() -> None:
    fleet = Fleet("peers", "bench-7", ("bench-8",), 2)
    fleets.write(fleet, peers=True)
    folder = fleet.folder / "broker"
    names = {one["name"] for one in inventory(fleet)["vars"]["broker_install"]}
    assert names == {path.name for path in folder.iterdir()}
    users = [line.partition(":")[0] for line in (folder / "passwords").read_text().splitlines()]
    assert users == ["agent-001", "agent-002"]


def test_the_hosts_of_all_cases_are_those_of_the_lab_and_no_fleet_shares_one() -> None:
    half = cases.OneHost(cases.FULL)
    machines = [half.one, half.twenty, half.two_hundred, half.peers, half.fresh]
    used = [name for fleet in machines for name in fleet.machines]
    known = [host.name for host in BENCH.hosts()]
    assert sorted(used) == sorted(known)
    assert len(cases.Growing(cases.FULL, 10).fleet.machines) == 10 == len(known)


def test_what_a_case_is_called_is_its_own() -> None:
    halves = [cases.OneHost(cases.FULL), *(cases.Growing(cases.FULL, size) for size in cases.FULL.hosts)]
    names = [case.name for half in halves for case in half.cases()]
    assert len(names) == len(set(names))
    assert {case.floor for half in halves for case in half.cases()} <= set(names)


def test_a_case_that_there_is_not_is_said_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "tools", lambda: None)
    assert deploy.main(["--only", "pong"]) == 1
    told = capsys.readouterr().err
    assert "no case pong" in told
    assert "nothing-200" in told
