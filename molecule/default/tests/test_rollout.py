# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Over the hosts of a fleet: waves, a failure that stops them, going back together, and what the summary tells."""

from __future__ import annotations

import json
from pathlib import Path

import fleet

FIRST, SECOND = "writer-agent-1", "writer-agent-2"
NEVER_READY = {"environment": {"HEALTH_PORT": "1"}, "deadline": 8}


def rows(outcome: fleet.Outcome) -> dict[str, list[str]]:
    """The summary's lines by agent."""
    lines = outcome.output.partition("RESULT")[2].splitlines()[1:]
    return {words[1]: words for words in (line.split() for line in lines) if len(words) > 2}


def test_a_bad_release_stops_at_the_canary(
    agents: dict[str, fleet.Agent], tmp_path: Path, restored: None
) -> None:
    untouched = agents[SECOND].pid
    outcome = fleet.play("deploy.yml", fleet.changed_fleet(tmp_path, writer=NEVER_READY))
    assert outcome.code == 2
    assert rows(outcome)[FIRST][2] == "reverted"
    assert rows(outcome)[SECOND][2:4] == ["not", "tried"]
    assert "gate: not ready within 8 s" in outcome.output
    assert "0 changed, 1 unchanged, 1 reverted, 0 failed, 0 unreachable" in outcome.output
    after = fleet.agents()
    assert (after[FIRST].release, after[FIRST].ready) == (agents[FIRST].release, True)
    assert after[SECOND].pid == untouched


def test_what_was_switched_goes_back_with_those_that_failed(
    agents: dict[str, fleet.Agent], tmp_path: Path, restored: None
) -> None:
    # The same release is good on the first host, and refused by a hook on the second.
    only_first = {"run": ["sh", "-c", f'test "$MUSTER_AGENT" = {FIRST} || {{ echo not here; exit 3; }}']}
    changed = {"environment": {"LOG_LEVEL": "debug"}, "hooks": {"pre_release": only_first}}
    outcome = fleet.play(
        "deploy.yml", fleet.changed_fleet(tmp_path, writer=changed, rollout={"revert_switched": True})
    )
    assert outcome.code == 2
    assert rows(outcome)[FIRST][2] == "reverted"
    assert rows(outcome)[SECOND][2] == "failed"
    assert "not here" in outcome.output
    after = fleet.agents()
    assert {name: (after[name].release, after[name].ready) for name in (FIRST, SECOND)} == {
        name: (agents[name].release, True) for name in (FIRST, SECOND)
    }


def test_an_unreachable_host_is_listed_and_the_others_are_deployed(
    agents: dict[str, fleet.Agent], tmp_path: Path, restored: None
) -> None:
    lost = tmp_path / "lost.yml"
    lost.write_text("agents: {hosts: {agent-3: {ansible_host: 127.0.0.1, ansible_port: 9}}}\n")
    report = tmp_path / "report.json"
    changed = fleet.changed_fleet(tmp_path, writer={"environment": {"LOG_LEVEL": "debug"}})
    outcome = fleet.play("deploy.yml", "--inventory", str(lost), changed, "-e", f"fleet_report={report}")
    assert outcome.code == 4
    assert "unreachable=1" in outcome.output
    assert rows(outcome)[FIRST][2] == rows(outcome)[SECOND][2] == "changed"
    told = json.loads(report.read_text())
    assert told["counts"]["unreachable"] == 1
    assert told["problems"]["agent-3"]["kind"] == "unreachable"
    assert {one["name"]: one["result"] for one in told["outcomes"] if one["name"] in (FIRST, SECOND)} == {
        FIRST: "released",
        SECOND: "released",
    }


def test_hooks_run_where_they_belong(agents: dict[str, fleet.Agent], tmp_path: Path, restored: None) -> None:
    here, there = tmp_path / "here", "/run/hook-told"
    hooks = {
        "pre_release": {
            "run": ["sh", "-c", f"id -un > {there}; env | grep -c SERPER >> {there} || true"],
            "where": "host",
        },
        "post_release": {
            "run": ["sh", "-c", f'echo "$MUSTER_AGENT $MUSTER_HOST" >> {here}'],
            "where": "controller",
        },
    }
    changed = {"environment": {"LOG_LEVEL": "debug"}, "hooks": hooks}
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher=changed))
    host = agents["researcher"].host
    assert here.read_text() == f"researcher {host}\n"
    assert fleet.machine(host).file(there).content_string == "root\n0\n"


def test_a_gate_that_changes_restarts_nothing(
    agents: dict[str, fleet.Agent], tmp_path: Path, restored: None
) -> None:
    before = agents["researcher"]
    pid = before.pid
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"min_healthy_time": 2}))
    after = fleet.agents()["researcher"]
    assert after.release != before.release
    assert after.pid == pid


def test_a_config_that_changes_makes_systemd_read_no_unit_anew(
    agents: dict[str, fleet.Agent], tmp_path: Path, restored: None
) -> None:
    before = agents["researcher"]
    reloads = "journalctl --quiet --boot --grep '^Reloading' _PID=1 | wc -l"
    known = before.machine.check_output(reloads)
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"environment": {"ONLY_HERE": "config"}}))
    assert fleet.agents()["researcher"].release != before.release
    assert before.machine.check_output(reloads) == known


def test_the_history_tells_who_when_and_how_long(
    researcher: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    # A release that no other test can have left staged: one that is there already is not checked again.
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"environment": {"ONLY_HERE": "history"}}))
    last = json.loads(researcher.machine.check_output("tail -n 1 /var/lib/muster/history.jsonl"))
    assert (last["name"], last["result"], last["before"]) == ("researcher", "released", researcher.release)
    assert last["who"]["user"]
    assert len(last["who"]["commit"]) == 40
    assert {"lock", "stage", "check", "switch", "gate"} <= set(last["seconds"])
