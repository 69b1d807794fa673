# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Health checks on real hosts: who is restarted, who is left alone, and what people are told."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fleet
import pytest
from mqtt import subscribed

from dev import ROOT

TOLD = "/var/tmp/told"
PROBE = {"delay": 1, "period": 1, "timeout": 1, "threshold": 2}
QUICK = {
    "health": {
        "liveness": PROBE,
        "readiness": {**PROBE, "threshold": 5},  # who is stuck is not called not ready first
        # An agent takes up to ten seconds to come back to its broker.
        "broker": {"period": 1, "timeout": 2, "threshold": 13},
        "restart": {"wait": 2, "most": 10},
    },
    "notify": {"run": ["/bin/sh", "-c", f"cat >> {TOLD}"], "timeout": 10},
}
SOON = 90  # on a busy machine
MACHINES = ("agent-1", "agent-2")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, fleet.Agent]]:
    """All agents, looked after every second; only how they are looked after changed, so nobody was restarted for it."""
    before = {name: agent.pid for name, agent in fleet.agents().items()}
    fleet.deploy(fleet.changed_fleet(tmp_path_factory.mktemp("fleet"), researcher=QUICK, writer=QUICK))
    agents = fleet.agents()
    assert {name: agent.pid for name, agent in agents.items()} == before
    yield agents
    fleet.deploy()


@pytest.fixture
def writers(watched: dict[str, fleet.Agent]) -> list[fleet.Agent]:
    """One on each of the two oldest Debians that are supported here; all are well, and nothing was told yet."""
    for host in MACHINES:
        machine = fleet.machine(host)
        # As if nobody had ever been restarted: an earlier test's restarts would make this one wait.
        remembered = "/run/muster/health.json /var/lib/muster/health.json"
        machine.check_output(
            f"systemctl stop muster-health.service; rm -f {remembered} {TOLD}; systemctl start muster-health.service"
        )
        fleet.until(lambda machine=machine: machine.run("muster health").rc == 0, SOON, f"{host} is not well")
    return [agent for agent in watched.values() if agent.name.startswith("writer")]


def told(agent: fleet.Agent, about: str = "agent") -> list[str]:
    """The states that people on an agent's host were told of, for it or for its broker."""
    lines = agent.machine.run("cat %s", TOLD).stdout.splitlines()
    found: list[dict[str, str]] = [json.loads(line) for line in lines]
    return [
        one["state"]
        for one in found
        if (about == "broker") == ("broker" in one) and one.get("agent") in (agent.name, None)
    ]


def health(agent: fleet.Agent) -> dict[str, Any]:
    document = json.loads(agent.machine.run("muster health %s --json", agent.name).stdout)
    return dict(document["agents"][0])


def until_told(agents: list[fleet.Agent], states: list[str], about: str = "agent") -> None:
    for agent in agents:
        fleet.until(lambda agent=agent: told(agent, about) == states, SOON, f"{agent.name}: not {states}")


def test_who_is_stuck_is_restarted_and_people_are_told(writers: list[fleet.Agent]) -> None:
    pids = {agent.name: agent.pid for agent in writers}
    for agent in writers:
        agent.machine.check_output("kill -STOP %s", str(agent.pid))
    until_told(writers, ["stuck", "healthy"])
    for agent in writers:
        assert agent.pid not in (0, pids[agent.name])
        assert agent.get("/ready")[0] == 200
        assert agent.machine.file(TOLD).user == "nobody"
        newest = json.loads(agent.machine.check_output("muster history %s -n 1 --json", agent.name))[
            "entries"
        ][0]
        assert (newest["via"], newest["result"], newest["after"]) == ("health", "restarted", agent.release)
        said = agent.machine.check_output("journalctl -t muster-health -o cat")
        assert f"{agent.name} is stuck: /live answered nothing" in said
        assert f"{agent.name} is healthy again" in said


def test_whom_the_broker_calls_unavailable_is_restarted(writers: list[fleet.Agent]) -> None:
    """Every second round it is said once more, as nobody knows when the agent's own word comes."""
    pids = {agent.name: agent.pid for agent in writers}
    status = json.dumps({"status": "unavailable", "timestamp": "2026-01-01T00:00:00Z"})
    for agent in writers:
        topic = f"/control/agents/{agent.agent_id}/status"
        with subscribed(fleet.broker(agent.agent_id), topic, lambda *_: None) as client:
            client.publish(topic, status, qos=1, retain=True).wait_for_publish(10)
    until_told(writers, ["deaf", "healthy"])
    for agent in writers:
        assert agent.pid not in (0, pids[agent.name])
        assert len(health(agent)["restarts"]) >= 1


def test_who_crashes_too_often_is_told_once(writers: list[fleet.Agent]) -> None:
    agent = writers[0]
    folder = f"/run/systemd/system/{agent.unit}.d"
    broken = "[Unit]\\nStartLimitBurst=1\\n[Service]\\nExecStartPre=/bin/false\\n"
    agent.machine.check_output(f"mkdir -p {folder} && printf '{broken}' > {folder}/broken.conf")
    agent.machine.check_output("systemctl daemon-reload")
    try:
        agent.machine.check_output("kill -KILL %s", str(agent.pid))
        until_told([agent], ["gave up"])
        fleet.until(lambda: len(health(agent)["restarts"]) >= 2, SOON, "it is not tried again")
        assert told(agent) == ["gave up"]
        shown = agent.machine.run("muster health %s", agent.name)
        assert shown.rc == 1
        assert "gave up" in shown.stdout
    finally:
        agent.machine.check_output(f"rm -r {folder}; systemctl daemon-reload")
    until_told([agent], ["gave up", "healthy"])


def test_who_is_held_is_left_alone(writers: list[fleet.Agent]) -> None:
    agent = writers[0]
    agent.machine.check_output("muster hold %s", agent.name)
    try:
        began = health(agent)["since"]
        time.sleep(4)
        assert (agent.pid, told(agent)) == (0, [])
        assert (health(agent)["state"], health(agent)["since"]) == ("held", began)
        assert agent.machine.run("muster health").rc == 0
    finally:
        agent.machine.check_output("muster unhold %s", agent.name)


def test_while_the_broker_is_away_nobody_is_restarted(writers: list[fleet.Agent]) -> None:
    broker, stuck = fleet.machine("broker-1"), writers[0]
    pids = {agent.name: agent.pid for agent in writers}
    broker.check_output("systemctl stop mosquitto")
    try:
        stuck.machine.check_output("kill -STOP %s", str(stuck.pid))
        until_told(writers, ["away"], about="broker")
        fleet.until(lambda: writers[1].get("/ready")[0] == 503, SOON, "it does not notice")
        time.sleep(4)
        assert {agent.name: agent.pid for agent in writers} == pids
        assert [told(agent) for agent in writers] == [[], []]
        assert "restarts would not help" in stuck.machine.run("muster health").stdout
    finally:
        broker.check_output("systemctl start mosquitto")
    until_told(writers, ["away", "healthy"], about="broker")
    fleet.until(lambda: stuck.pid not in (0, pids[stuck.name]), SOON, "who is stuck stays so")
    assert writers[1].pid == pids[writers[1].name]


def test_the_journal_is_not_filled(writers: list[fleet.Agent]) -> None:
    """A round each second leaves no line where nothing changes, nor does Python start for each."""
    for agent in writers:
        since = agent.machine.check_output("date +%s")
        time.sleep(3)
        units = "-u muster-health.service -u muster-health.timer"
        said = agent.machine.check_output(f"journalctl {units} -q -o cat --since @{since}")
        # systemd 247 tells when the rounds end and begin anew, which they do every ten minutes.
        assert len(said.splitlines()) <= 3
        assert agent.machine.service("muster-health.timer").is_enabled


def test_who_is_deaf_after_a_restart_of_the_broker_is_restarted(
    watched: dict[str, fleet.Agent], tmp_path: Path
) -> None:
    """It says that it is well, as agent2389 does: only that the broker is the younger one gives it away. Whose runtime is known
    to subscribe again is left alone."""
    reference = ROOT / "roles/agent/files/muster-agent.pyz"
    program = ["/usr/bin/python3", "{program}", "--config", "{config}"]
    forgetful = {
        "artifacts": {
            "any": {"src": str(reference), "sha256": hashlib.sha256(reference.read_bytes()).hexdigest()}
        },
        "run": [*program, "run"],
        "check": [*program, "config"],
        "notify": True,
        "config_schema": "reference",
        "resubscribes": False,
    }
    entries = {
        "researcher": {**QUICK, "overrides": fleet.OFFLINE, "runtime": "forgetful"},
        "writer": {**QUICK, "instances": "each", "overrides": fleet.OFFLINE},
    }
    fleet.deploy(fleet.variables(tmp_path, fleet=entries, agent_runtimes={"forgetful": forgetful}))
    agents = fleet.agents()
    pids = {name: agent.pid for name, agent in agents.items()}
    deaf = agents["researcher"]
    deaf.machine.check_output(f"rm -f {TOLD}")
    fleet.machine("broker-1").check_output("systemctl restart mosquitto")
    until_told([deaf], ["deaf", "healthy"])
    assert deaf.pid not in (0, pids["researcher"])
    assert {name for name, pid in pids.items() if agents[name].pid == pid} == {
        "writer-agent-1",
        "writer-agent-2",
    }
