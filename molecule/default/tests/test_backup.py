# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The worst day: all hosts are gone for good, and new ones come back from their backups."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fleet
import pytest
from mqtt import drained, listening
from paho.mqtt import publish

from demo.ask import Task, new_task
from dev import hosts
from dev.hosts import TEST

HELD = "writer-agent-1"
PASSPHRASE = "canary-passphrase-51c7"
NOTES = "canary-notes-0d3e"
DATA = "/var/lib/private/agent-researcher"
# Encrypted secrets on the newer host.
SEALED = {"hosts": "agent-1", "secrets_backend": "credentials"}
SERPER = "canary-of-that-day-88e1"


@dataclass(frozen=True)
class Day:
    """What was there before, and how the playbooks ended."""

    given: tuple[str, ...]
    folder: Path
    agents: dict[str, fleet.Agent]
    statuses: dict[str, bytes]
    task: Task
    backup: fleet.Outcome
    refused: dict[str, fleet.Outcome]
    restore: fleet.Outcome


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("backup")
    (folder / "more").mkdir()
    backups = folder / "backups"
    given = (
        fleet.changed_fleet(folder, researcher=SEALED),
        fleet.variables(
            folder / "more",
            backup_passphrase=PASSPHRASE,
            backup_folder=str(backups),
            agent_secrets={"SERPER_API_KEY": SERPER},
        ),
    )
    try:
        fleet.deploy(*given)
        agents = fleet.agents()
        fleet.machine("agent-1").check_output(f"muster hold {HELD} --note disk; echo {NOTES} > {DATA}/notes")
        task = new_task(agents[HELD].agent_id, "Are you back?")
        send(task)
        statuses = retained()
        backup = fleet.play("playbooks/backup.yml", "-vvv", *given)
        assert backup.code == 0, backup.output
        refused = {
            "on a host that runs": fleet.play("playbooks/restore.yml", "--limit", "agent-1", *given),
            "altered": play_altered(backups, folder / "altered", given),
        }
        destroy()
        restore = fleet.play("playbooks/restore.yml", *given)
        yield Day(given, backups, agents, statuses, task, backup, refused, restore)
    finally:
        hosts.up(TEST)
        fleet.deploy()


def send(task: Task) -> None:
    """The broker keeps it for an agent that is away."""
    user = fleet.broker()
    publish.single(
        task.topic,
        json.dumps(task.envelope()),
        qos=1,
        hostname=user.host,
        port=user.port,
        auth={"username": user.user, "password": user.password},
    )


def retained() -> dict[str, bytes]:
    with listening(fleet.broker(), "/control/agents/+/status") as heard:
        return dict(drained(heard, seconds=1))


def play_altered(backups: Path, folder: Path, given: tuple[str, ...]) -> fleet.Outcome:
    (whole,) = backups.glob("*/agent-1.backup")
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    altered = folder / "run" / whole.name
    altered.parent.mkdir(parents=True)
    altered.write_bytes(data)
    (folder / "more").mkdir()
    other = fleet.variables(folder / "more", backup_folder=str(folder), restore_replace=True)
    return fleet.play("playbooks/restore.yml", "--limit", "agent-1", *given, other)


def destroy() -> None:
    """No disk of any host is left, and there are new machines by the same names."""
    names = [TEST.container(host) for host in TEST.hosts()]
    subprocess.run(["docker", "rm", "--force", "--volumes", *names], check=True, capture_output=True)
    hosts.up(TEST)


def test_a_backup_is_encrypted_for_its_owner_only_and_in_no_log(day: Day) -> None:
    files = sorted(day.folder.glob("*/*"))
    assert [path.name for path in files] == ["agent-1.backup", "agent-2.backup", "broker-1.backup"]
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
    assert not {PASSPHRASE, SERPER, NOTES} & set(day.backup.output.split())
    # What went over the wire would be lines of megabytes.
    assert max(map(len, day.backup.output.splitlines())) < 100_000


def test_a_host_that_runs_and_a_backup_that_was_altered_are_refused(day: Day) -> None:
    for why, words in (
        ("on a host that runs", "here already; nothing was changed"),
        ("altered", "cut or altered"),
    ):
        assert day.refused[why].code == 2
        assert words in day.refused[why].output
    assert "altered/run/agent-1.backup" in day.refused["altered"].output


def test_every_agent_is_on_its_release_again_and_ready_and_the_held_one_is_held(day: Day) -> None:
    assert day.restore.code == 0, day.restore.output
    after = fleet.agents()
    assert {name: agent.release for name, agent in after.items()} == {
        name: agent.release for name, agent in day.agents.items()
    }
    assert {name for name, agent in after.items() if agent.ready} == set(after) - {HELD}
    assert "held since" in fleet.machine("agent-1").check_output("muster status")
    assert "disk" in fleet.machine("agent-1").check_output("muster status --json")


def test_what_the_agents_kept_is_theirs_again(day: Day) -> None:
    machine = fleet.machine("agent-1")
    assert machine.file(f"{DATA}/notes").content_string == f"{NOTES}\n"
    assert machine.file(f"{DATA}/notes").uid == machine.file(DATA).uid != 0


def test_secrets_are_those_of_the_inventory(day: Day) -> None:
    researcher = fleet.agents()["researcher"]
    assert researcher.environ()["SERPER_API_KEY"] == SERPER
    folder = "/etc/muster/secrets"
    assert researcher.machine.file(f"{folder}/researcher.creds/SERPER_API_KEY.cred").exists
    assert not researcher.machine.file(f"{folder}/researcher.env").exists


def test_retained_messages_are_there(day: Day) -> None:
    topic = f"/control/agents/{day.agents[HELD].agent_id}/status"
    after = retained()
    assert after[topic] == day.statuses[topic]
    assert set(after) == set(day.statuses)


def test_a_task_that_waited_is_answered(day: Day) -> None:
    with listening(fleet.broker(), day.task.answer_topic) as heard:
        fleet.machine("agent-1").check_output(f"muster unhold {HELD}")
        _topic, answer = heard.get(timeout=20)
    assert json.loads(answer)["task_id"] == day.task.task_id


def test_the_history_goes_on(day: Day) -> None:
    told = json.loads(fleet.machine("agent-2").check_output("muster history --json"))["entries"]
    assert (told[0]["via"], told[0]["result"]) == ("restore", "released")
    assert "deploy" in {one["via"] for one in told[1:]}


def test_a_deploy_has_nothing_to_do(day: Day) -> None:
    assert set(fleet.deploy(*day.given).changed().values()) == {0}
