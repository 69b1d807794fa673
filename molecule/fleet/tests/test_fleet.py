# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ten agents on three hosts: where they are, how a release goes over them, and what becomes of them when a host is lost.

The tests run in this order; each leaves the fleet as the next one wants it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import fleet
import pytest
import yaml
from mqtt import listening

from demo.ask import ask, new_task
from dev import hosts

HOSTS = {"agent-1", "agent-2", "agent-3"}
TEN = {
    *(f"researcher-{number}" for number in range(1, 5)),
    *(f"writer-{number}" for number in range(1, 4)),
    *("editor", "judge-1", "judge-2"),
}
LOST = "agent-3"
LOUD = {"writer_environment": {"LOG_LEVEL": "debug"}}
NEVER_READY = {"writer_environment": {"HEALTH_PORT": "1"}, "writer_deadline": 8}


def where(agents: dict[str, fleet.Agent]) -> dict[str, str]:
    return {name: agent.host for name, agent in agents.items()}


def pids(agents: dict[str, fleet.Agent]) -> dict[str, int]:
    return {name: agent.pid for name, agent in agents.items()}


def results(outcome: fleet.Outcome) -> Counter[str]:
    """How many of the writers had each result, by the deploy's summary."""
    return Counter(words[2] for name, words in outcome.rows().items() if name.startswith("writer"))


def writers_in_order() -> list[fleet.Agent]:
    """As their hosts stand in the inventory, which is the order in which they switch."""
    found = [agent for name, agent in fleet.agents().items() if name.startswith("writer")]
    return sorted(found, key=lambda agent: agent.host)


# --- where they are -------------------------------------------------------------------------------------------


def test_ten_agents_are_spread_over_three_hosts(agents: dict[str, fleet.Agent]) -> None:
    assert set(agents) == TEN
    assert all(agent.ready for agent in agents.values())
    assert (
        len({agent.agent_id for agent in agents.values()})
        == len({agent.port for agent in agents.values()})
        == 10
    )
    for kind, most in (("researcher", 2), ("writer", 1), ("judge", 1)):
        load = Counter(agent.host for name, agent in agents.items() if name.startswith(kind))
        assert max(load.values()) == most, f"the instances of {kind} do not keep apart: {load}"
    for agent in agents.values():
        assert ask(fleet.broker(), new_task(agent.agent_id, f"Who are you, {agent.name}?"))


def test_one_command_says_which_agents_run_where_since_when_and_whether_they_are_well(
    agents: dict[str, fleet.Agent],
) -> None:
    outcome = fleet.play("playbooks/status.yml")
    assert outcome.code == 0, outcome.output
    assert re.search(r"^AGENT +HOST +RELEASE +SINCE +STATE +UPTIME ", outcome.output, re.M)
    for name, agent in agents.items():
        line = next(line.split() for line in outcome.output.splitlines() if line.startswith(f"{name} "))
        assert (line[1], line[2], line[5]) == (agent.host, agent.release[:8], "ready")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", " ".join(line[3:5]))
    shown = fleet.play("playbooks/status.yml", "-e", "status_format=json").output
    document = json.loads(next(line for line in shown.splitlines() if line.startswith("{")))
    assert {one["name"]: (one["host"], one["release"], one["ready"]) for one in document["agents"]} == {
        name: (agent.host, agent.release, True) for name, agent in agents.items()
    }
    assert all(one["uptime_seconds"] > 0 for one in document["agents"])


def test_it_says_who_is_not_well_and_fails(agents: dict[str, fleet.Agent]) -> None:
    editor = agents["editor"]
    editor.machine.check_output("systemctl stop %s", editor.unit)
    try:
        outcome = fleet.play("playbooks/status.yml")
        assert outcome.code == 2
        line = next(line.split() for line in outcome.output.splitlines() if line.startswith("editor "))
        assert (line[1], line[5]) == (editor.host, "inactive")
        # The recap counts against the host that it is about, and against no other.
        assert [host for host, count in outcome.recap("failed").items() if count] == [editor.host]
    finally:
        editor.machine.check_output("systemctl start %s", editor.unit)
    fleet.until(lambda: editor.get("/ready")[0] == 200, 60, "the editor is not ready again")


# --- how a release goes over them -----------------------------------------------------------------------------


def test_a_bad_release_stops_at_the_canary(agents: dict[str, fleet.Agent], tmp_path: Path) -> None:
    canary, *others = writers_in_order()
    before = pids(agents)
    outcome = fleet.play("deploy.yml", fleet.variables(tmp_path, **NEVER_READY))
    assert outcome.code == 2
    assert outcome.rows()[canary.name][2] == "reverted"
    for agent in others:
        assert outcome.rows()[agent.name][2:4] == ["not", "tried"]
    assert "gate: not ready within 8 s" in outcome.output
    assert "0 changed, 7 unchanged, 1 reverted, 0 failed, 0 unreachable" in outcome.output
    after = fleet.agents()
    assert (after[canary.name].release, after[canary.name].ready) == (canary.release, True)
    assert {name for name, pid in pids(after).items() if pid != before[name]} == {canary.name}


def test_what_was_switched_goes_back_with_those_that_failed(
    agents: dict[str, fleet.Agent], tmp_path: Path
) -> None:
    # The same release is good on the first two hosts, and refused by a hook on the third.
    *good, bad = writers_in_order()
    refuse = f'test "$MUSTER_AGENT" != {bad.name} || {{ echo not here; exit 3; }}'
    changed = {**LOUD, "writer_hooks": {"pre_release": {"run": ["sh", "-c", refuse]}}}
    policy = {"canary": 1, "then": [1], "revert_switched": True}
    outcome = fleet.play("deploy.yml", fleet.variables(tmp_path, **changed, fleet_rollout=policy))
    assert outcome.code == 2
    assert "not here" in outcome.output
    assert [outcome.rows()[agent.name][2] for agent in good] == ["reverted", "reverted"]
    assert outcome.rows()[bad.name][2] == "failed"
    after = fleet.agents()
    assert {name: (one.release, one.ready) for name, one in after.items()} == {
        name: (one.release, True) for name, one in agents.items()
    }


def test_a_release_goes_in_waves_and_touches_nobody_else(
    agents: dict[str, fleet.Agent], tmp_path: Path
) -> None:
    before = pids(agents)
    policy = {"canary": 1, "then": [1], "pause": 2}
    outcome = fleet.deploy(fleet.variables(tmp_path, **LOUD, fleet_rollout=policy))
    assert "in 3 waves, of 1, 1, 1 hosts" in outcome.output
    assert results(outcome) == {"changed": 3}
    after = writers_in_order()
    began = [float(agent.show("ExecMainStartTimestampMonotonic")) / 1e6 for agent in after]
    assert all(later - earlier >= 2 for earlier, later in zip(began, began[1:])), began
    assert {agent.environ()["LOG_LEVEL"] for agent in after} == {"debug"}
    assert {name for name, pid in pids(fleet.agents()).items() if pid != before[name]} == {
        agent.name for agent in after
    }
    assert fleet.play("rollback.yml", "-e", "agent=writer").code == 0
    assert {name: one.release for name, one in fleet.agents().items()} == {
        name: one.release for name, one in agents.items()
    }
    assert set(fleet.deploy().changed().values()) == {0}


# --- a host is lost -------------------------------------------------------------------------------------------


@pytest.fixture
def smaller(tmp_path: Path) -> Path:
    """The inventory without the lost host, as its owner would have it then."""
    copy = tmp_path / "inventory"
    shutil.copytree(fleet.LAB.inventory, copy)
    tree = yaml.safe_load((copy / "hosts.yml").read_text())
    machines = tree["all"]["children"]["machines"]
    del machines["children"]["agents"]["hosts"][LOST]
    machines["vars"]["ansible_ssh_private_key_file"] = str(fleet.LAB.key)
    machines["vars"]["ansible_ssh_common_args"] = f"-o UserKnownHostsFile={fleet.LAB.known_hosts}"
    (copy / "hosts.yml").write_text(yaml.safe_dump(tree))
    return copy


def test_a_lost_host_is_told_of_its_agents_move_and_no_others(
    agents: dict[str, fleet.Agent], tmp_path: Path, smaller: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homeless = {name for name, host in where(agents).items() if host == LOST}
    assert homeless
    staying = {name: agent.pid for name, agent in agents.items() if name not in homeless}
    container = f"{fleet.LAB.name}-{LOST}"
    subprocess.run(["docker", "kill", container], check=True, capture_output=True)
    monkeypatch.setattr(fleet, "AGENT_HOSTS", tuple(sorted(HOSTS - {LOST})))
    _wait_for_last_wills({agents[name].agent_id for name in homeless})

    # Still in the inventory: it is listed as what it is, the others are deployed, and nobody moves without being told to.
    report = tmp_path / "report.json"
    changed = fleet.variables(tmp_path, **LOUD)
    outcome = fleet.play("deploy.yml", changed, "-e", f"fleet_report={report}")
    assert outcome.code == 4
    assert "unreachable=1" in outcome.output
    told = json.loads(report.read_text())
    assert told["counts"]["unreachable"] == 1
    assert told["problems"][LOST]["kind"] == "unreachable"
    reached = {name for name in set(agents) - homeless if name.startswith("writer")}
    assert {one["name"] for one in told["outcomes"] if one["result"] == "released"} == reached
    assert where(fleet.agents()) == {name: agents[name].host for name in staying}
    status = fleet.play("playbooks/status.yml")
    assert status.code == 4
    assert [host for host, count in status.recap("unreachable").items() if count] == [LOST]

    # Taken out of it: they are back on the hosts that are left.
    staying = {name: agent.pid for name, agent in fleet.agents().items()}
    outcome = fleet.deploy(changed, inventory=smaller)
    moved = fleet.agents()
    assert set(moved) == TEN
    assert all(agent.ready for agent in moved.values())
    assert {name: moved[name].pid for name in staying} == staying
    for name in homeless:
        assert moved[name].agent_id == agents[name].agent_id
        assert ask(fleet.broker(), new_task(moved[name].agent_id, "Where are you now?"))
    assert set(fleet.deploy(changed, inventory=smaller).changed().values()) == {0}


def test_a_new_machine_under_the_old_name_gets_them_back() -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", f"{fleet.LAB.name}-{LOST}"], check=True)
    hosts.up(fleet.LAB)
    fleet.deploy()
    after = fleet.agents()
    assert set(after) == TEN
    assert all(agent.ready for agent in after.values())
    assert set(where(after).values()) == HOSTS
    assert set(fleet.deploy().changed().values()) == {0}


def _wait_for_last_wills(ids: set[str]) -> None:
    """Until the broker has noticed that these agents are gone."""
    with listening(fleet.broker(), "/control/agents/+/status") as heard:
        while ids:
            topic, payload = heard.get(timeout=90)
            if json.loads(payload)["status"] == "unavailable":
                ids.discard(topic.split("/")[3])
