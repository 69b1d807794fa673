# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each Debian that is supported: deployed, sandboxed, reverted, rolled back, rotated and told of, one like the other.

The tests run in this order; each leaves the fleet as the next one wants it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import fleet
import pytest

from demo.ask import ask, new_task

SYSTEMD = {"bullseye-1": 247, "bookworm-1": 252, "trixie-1": 257}
ENCRYPTING = ("bookworm-1", "trixie-1")
EVERY_AGENT = {
    *(f"researcher-{host}" for host in SYSTEMD),
    *(f"writer-{host}" for host in ENCRYPTING),
}
MARKS = ("canary-debian-81f2", "canary-fleet-5d20", "canary-rotated-30c5")
LOUD = {"researcher_environment": {"LOG_LEVEL": "debug"}}
NEVER_READY = {"researcher_environment": {"HEALTH_PORT": "1"}, "researcher_deadline": 8}

each_debian = pytest.mark.parametrize("host", SYSTEMD)


def researchers() -> dict[str, fleet.Agent]:
    """Host → its researcher, as it runs now."""
    return {agent.host: agent for agent in fleet.agents().values() if agent.name.startswith("researcher")}


def releases() -> dict[str, tuple[str, bool]]:
    """Host → the researcher's release, and whether it is ready."""
    return {host: (agent.release, agent.ready) for host, agent in researchers().items()}


def test_every_agent_of_the_fleet_is_ready_on_the_debian_that_it_claims(
    agents: dict[str, fleet.Agent],
) -> None:
    assert set(agents) == EVERY_AGENT
    assert all(agent.ready for agent in agents.values())
    for host, version in SYSTEMD.items():
        assert fleet.machine(host).check_output("systemctl --version").split()[1] == str(version)


@each_debian
def test_the_unit_is_sandboxed_and_starts_at_boot(host: str) -> None:
    agent = researchers()[host]
    verdict = agent.machine.check_output("systemd-analyze security --no-pager %s", agent.unit)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", verdict)
    assert exposure and float(exposure[1]) <= 2.0, verdict
    service = agent.machine.service(agent.unit)
    assert service.is_running and service.is_enabled
    assert "0" not in agent.machine.check_output(f"grep ^Uid: /proc/{agent.pid}/status").split()[1:]


@each_debian
def test_it_answers_over_tls_and_verifies_the_broker(host: str) -> None:
    agent = researchers()[host]
    config = agent.machine.check_output("cat /run/credentials/%s/agent.toml", agent.unit)
    assert 'broker_url = "mqtts://broker-1:8883"' in config
    assert host in ask(fleet.broker(), new_task(agent.agent_id, f"Are you the one on {host}?"))
    # Without our CA there is no way in: the answer above came over a connection that was verified.
    refused = agent.machine.run(
        "curl -sS --max-time 5 --capath /etc/ssl/certs https://broker-1:8883/ 2>&1"
    ).stdout
    assert "certificate" in refused


@each_debian
def test_secrets_arrive_whole_and_lie_where_they_belong(host: str) -> None:
    agent = researchers()[host]
    assert agent.environ()["SERPER_API_KEY"] == fleet.SECRETS["agent_secrets"]["SERPER_API_KEY"]
    file = agent.machine.file(f"/etc/muster/secrets/{agent.name}.env")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)
    looked_for = " ".join(f"-e {mark}" for mark in MARKS)
    readable = agent.machine.run(
        f"find / -xdev -type f -perm -o=r -not -path '/proc/*' -exec grep -l -F {looked_for} {{}} +"
    )
    assert readable.stdout.splitlines() == []
    assert agent.machine.run(f"journalctl --no-pager -o export | grep -c -F {looked_for}").stdout == "0\n"


@pytest.mark.parametrize("host", ENCRYPTING)
def test_encrypted_secrets_open_the_broker(host: str) -> None:
    agent = fleet.agents()[f"writer-{host}"]
    assert not agent.machine.file(f"/etc/muster/secrets/{agent.name}.env").exists
    assert "MQTT_PASSWORD.cred" in agent.machine.check_output(f"ls /etc/muster/secrets/{agent.name}.creds")
    assert ask(fleet.broker(), new_task(agent.agent_id, "Who are you?"))


def test_a_second_deploy_changes_nothing(agents: dict[str, fleet.Agent]) -> None:
    before = {name: agent.pid for name, agent in agents.items()}
    assert set(fleet.deploy().changed().values()) == {0}
    assert {name: agent.pid for name, agent in fleet.agents().items()} == before


def test_a_release_that_never_gets_ready_is_reverted(tmp_path: Path) -> None:
    before = releases()
    outcome = fleet.play("deploy.yml", fleet.variables(tmp_path, **NEVER_READY))
    assert outcome.code == 2
    assert "2 unchanged, 3 reverted, 0 failed, 0 unreachable" in outcome.output
    assert outcome.output.count("gate: not ready within 8 s") >= len(SYSTEMD)
    assert releases() == before
    assert {ready for _release, ready in before.values()} == {True}


def test_a_good_release_comes_and_the_one_before_comes_back(tmp_path: Path) -> None:
    before = releases()
    outcome = fleet.deploy(fleet.variables(tmp_path, **LOUD))
    assert "3 changed, 2 unchanged, 0 reverted" in outcome.output
    louder = researchers()
    for host, agent in louder.items():
        assert agent.release != before[host][0]
        assert agent.environ()["LOG_LEVEL"] == "debug"
    rolled = fleet.play("rollback.yml", "-e", "agent=researcher")
    assert rolled.code == 0, rolled.output
    assert releases() == before
    for host, agent in louder.items():
        told = json.loads(agent.machine.check_output("tail -n 1 /var/lib/muster/history.jsonl"))
        assert (told["via"], told["before"], told["after"]) == ("rollback", agent.release, before[host][0])


def test_a_rotation_is_live_and_takes_nothing_else_with_it(tmp_path: Path) -> None:
    before = fleet.agents()
    pids = {name: agent.pid for name, agent in before.items()}
    given = fleet.variables(tmp_path, agent_secrets={"SERPER_API_KEY": "canary-rotated-30c5"})
    outcome = fleet.play("playbooks/rotate_secrets.yml", "-e", "secret=SERPER_API_KEY", given)
    assert outcome.code == 0, outcome.output
    assert "canary" not in outcome.output
    after = fleet.agents()
    for name, agent in after.items():
        assert (agent.release, agent.ready) == (before[name].release, True)
        uses_it = name.startswith("researcher")
        assert (agent.pid != pids[name]) == uses_it
        if uses_it:
            assert agent.environ()["SERPER_API_KEY"] == "canary-rotated-30c5"
            left = agent.machine.run("grep -rl canary-debian-81f2 /etc/muster /var/lib/muster /run/muster")
            assert left.stdout == ""


@each_debian
def test_health_and_metrics_tell_the_same(host: str) -> None:
    machine = fleet.machine(host)
    fleet.until(lambda: machine.run("muster health").rc == 0, 60, f"{host} is not well")
    assert f'muster_agent_ready{{agent="researcher-{host}"}} 1' in machine.check_output("muster metrics")


def test_one_table_tells_of_all(agents: dict[str, fleet.Agent]) -> None:
    outcome = fleet.play("playbooks/status.yml")
    assert outcome.code == 0, outcome.output
    for agent in agents.values():
        line = next(line for line in outcome.output.splitlines() if line.startswith(f"{agent.name} "))
        assert {agent.host, agent.release[:8], "ready"} <= set(line.split())
