# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maintenance switch: what holds an agent, what lets it go, and what is left of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import compare, hold, maintenance
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Request, parse
from ansible_collections.muster.agents.plugins.module_utils.engine.retire import retire
from tests.unit.plugins.builders import KEY, RUNNING, UNIT
from tests.unit.plugins.small_host import Host, host, version

__all__ = ["host"]
WHO = {"user": "admin", "host": "laptop"}


def request(phase: str, **changes: Any) -> Request:
    return parse(json.dumps({"format": 1, "phase": phase, "who": WHO, "names": ["writer"], **changes}))


@pytest.fixture
def writer(host: Host) -> Host:
    host.release(version(1))
    return host


def test_a_held_agent_is_stopped_and_kept_from_starting(writer: Host) -> None:
    report = maintenance.hold_agents(writer.layout, request("hold", note="new disk"))
    assert report == {"held": ["writer"], "unheld": [], "unchanged": [], "outcomes": []}
    note = writer.layout.workload(KEY) / "hold.json"
    drop_in = writer.layout.on_host(f"/etc/systemd/system/{UNIT}.d/50-muster-hold.conf")
    assert f"ConditionPathExists=!{note}\n" in drop_in.read_text()
    found = hold.held(writer.layout, KEY)
    assert found is not None and {**found, "since": ""} == {
        **WHO,
        "since": "",
        "note": "new disk",
        "moves_to": "",
    }
    assert writer.calls == [("daemon-reload",), ("stop", "--", UNIT)]
    (line,) = writer.layout.history.read_text().splitlines()
    told = json.loads(line)
    assert (told["via"], told["result"], told["reason"], told["who"]) == ("hold", "held", "new disk", WHO)


def test_a_crash_at_any_point_leaves_it_held_in_every_respect_or_in_none(
    writer: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*words: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(maintenance.systemd, "systemctl", crash)
    with pytest.raises(KeyboardInterrupt):  # at the reload: the drop-in is there and does nothing
        maintenance.hold_agents(writer.layout, request("hold"))
    assert hold.held(writer.layout, KEY) is None
    monkeypatch.setattr(maintenance.systemd, "daemon_reload", lambda: None)
    with pytest.raises(KeyboardInterrupt):  # at the stop: it is held, and `muster hold` will stop it
        maintenance.hold_agents(writer.layout, request("hold"))
    assert hold.held(writer.layout, KEY) is not None
    assert maintenance.hold_agents(writer.layout, request("hold", check_mode=True))["held"] == ["writer"]


def test_a_second_hold_changes_nothing(writer: Host) -> None:
    maintenance.hold_agents(writer.layout, request("hold", note="first"))
    writer.units[UNIT] = replace(RUNNING, active="inactive")
    before = writer.bytes()
    report = maintenance.hold_agents(writer.layout, request("hold", note="second"))
    assert (report["held"], report["unchanged"]) == ([], ["writer"])
    assert writer.bytes() == before


@pytest.mark.parametrize("phase", ["hold", "unhold"])
def test_check_mode_only_predicts(writer: Host, phase: str) -> None:
    if phase == "unhold":
        maintenance.hold_agents(writer.layout, request("hold"))
    before, call = writer.bytes(), getattr(maintenance, f"{phase}_agents")
    report = call(writer.layout, request(phase, check_mode=True))
    assert report["held" if phase == "hold" else "unheld"] == ["writer"]
    assert writer.bytes() == before


def test_a_hold_that_cannot_be_read_holds(writer: Host) -> None:
    hold.note_file(writer.layout, KEY).write_text("{torn")
    found = hold.held(writer.layout, KEY)
    assert found is not None and "cannot be read" in found["note"]


def test_letting_go_leaves_other_peoples_drop_ins(writer: Host) -> None:
    hold.prepare(writer.layout, KEY, UNIT)
    hold.put(writer.layout, KEY, {})
    theirs = hold.drop_in(writer.layout, UNIT).with_name("override.conf")
    theirs.write_text("[Service]\n")
    assert hold.forget(writer.layout, KEY, UNIT)
    assert hold.held(writer.layout, KEY) is None
    assert [path.name for path in theirs.parent.iterdir()] == ["override.conf"]
    theirs.unlink()
    hold.prepare(writer.layout, KEY, UNIT)
    assert hold.forget(writer.layout, KEY, UNIT)
    assert not theirs.parent.exists()
    assert not hold.forget(writer.layout, KEY, UNIT)


def test_an_agent_that_does_not_come_up_is_let_go_all_the_same(
    writer: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    maintenance.hold_agents(writer.layout, request("hold"))

    def crash(watches: Any, parallel: int) -> None:
        for watch in watches:
            watch.verdict, watch.log = "exited with status 3 after 0.1 s", ["bad key canary-of-today"]

    monkeypatch.setattr(maintenance, "start_and_gate", crash)
    report = maintenance.unhold_agents(writer.layout, request("unhold"))
    assert report["unheld"] == ["writer"]
    assert report["outcomes"] == [
        {
            "name": "writer",
            "ready": False,
            "reason": "exited with status 3 after 0.1 s",
            "log": ["bad key ********"],
            "seconds": {"gate": 0.0},
        }
    ]
    assert hold.held(writer.layout, KEY) is None
    assert "does not become ready" in maintenance.as_text(report)
    assert json.loads(writer.layout.history.read_text().splitlines()[-1])["result"] == "failed"


def test_an_agent_that_is_about_to_move_is_kept_and_can_come_back(
    writer: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = retire(writer.layout, request("retire", retire=["writer"], moves={"writer": "h2"}))
    assert report == {"retired": [], "moving": ["writer"]}
    found = hold.held(writer.layout, KEY)
    assert found is not None and (found["moves_to"], found["note"]) == ("h2", "moves to h2")
    assert writer.layout.current(KEY).exists()
    monkeypatch.setattr(maintenance, "start_and_gate", lambda watches, parallel: None)
    assert maintenance.unhold_agents(writer.layout, request("come_back"))["unheld"] == ["writer"]
    assert hold.held(writer.layout, KEY) is None


def test_what_a_person_holds_stays_held_when_it_was_to_move(writer: Host) -> None:
    maintenance.hold_agents(writer.layout, request("hold", note="new disk"))
    retire(writer.layout, request("retire", retire=["writer"], moves={"writer": "h2"}))
    assert maintenance.unhold_agents(writer.layout, request("come_back"))["unheld"] == []
    found = hold.held(writer.layout, KEY)
    assert found is not None and found["note"] == "new disk"


def test_an_agent_that_was_to_move_and_stays_is_released_again(writer: Host) -> None:
    retire(writer.layout, request("retire", retire=["writer"], moves={"writer": "h2"}))
    (change,) = compare.compare(writer.layout, {KEY: version(1)})
    assert change.held is None
    assert (change.action, change.reasons) == ("restart", ["was to move to h2"])
