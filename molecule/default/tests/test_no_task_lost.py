# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tasks keep coming while their agent is released, rolled back, badly released and killed: each gets its answer."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fleet
import pytest
from stream import Account, streaming

TASKS = 1000
PER_SECOND = 14
# Environment, config, unit, and all of them: each is another release, and none changes what the agent answers.
HARMLESS = (
    {"environment": {"LOG_LEVEL": "debug"}},
    {"overrides": {"llm": {**fleet.OFFLINE["llm"], "system_prompt": "You have been released."}}},
    {"resources": {"memory": "300Mi"}},
    {"overrides": {**fleet.OFFLINE, "mqtt": {"heartbeat_interval_secs": 30}}},
    {"environment": {"LOG_LEVEL": "debug"}, "resources": {"cpu": "900m"}},
)
# What a release may cost its clients, where the machine is busy with other things too.
SILENCE_SECONDS = 60

BAD_DEADLINE = 8
MUTE_PORT = 9471
MUTE = f"import socket, time; s = socket.create_server(('127.0.0.1', {MUTE_PORT})); time.sleep(3600)"

KILLS = 3
# Enough for a queue that keeps the agent at work, whenever a kill hits.
PER_SECOND_BUSY = 50


@dataclass(frozen=True)
class Redelivered:
    """How many tasks the agent got again, by its own log."""

    begun: int  # once more
    dropped: int  # as answered before


Tell = Callable[[Account, fleet.Agent], Redelivered]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Shows the figures of a stream, passed or failed, with what the agent's log adds to them since the test began."""
    began = time.time()

    def told(account: Account, agent: fleet.Agent) -> Redelivered:
        found = redelivered(agent, began)
        with capsys.disabled():
            print(f"\n  {account}; to the agent again: {found.begun} begun, {found.dropped} dropped")
        return found

    return told


def redelivered(agent: fleet.Agent, since: float) -> Redelivered:
    command = "journalctl --unit=%s --output=cat --since=@%s"
    lines = agent.machine.check_output(command, agent.unit, f"{since:.0f}").splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    begun = Counter(event["task_id"] for event in events if event["event"] == "task_started")
    dropped = [event for event in events if event.get("reason") == "duplicate"]
    return Redelivered(begun=begun.total() - len(begun), dropped=len(dropped))


def test_five_releases_and_a_rollback(
    researcher: fleet.Agent, tell: Tell, tmp_path: Path, restored: None
) -> None:
    def deploy(change: dict[str, Any]) -> None:
        fleet.deploy("-e", "agent=researcher", fleet.changed_fleet(tmp_path, researcher=change))

    def roll_back() -> None:
        outcome = fleet.play("rollback.yml", "-e", "agent=researcher")
        assert outcome.code == 0, outcome.output

    deeds = [*(lambda change=change: deploy(change) for change in HARMLESS), roll_back]
    releases = [researcher.release]
    with streaming(fleet.broker(), researcher.agent_id, PER_SECOND) as stream:
        for number, deed in enumerate(deeds, start=1):
            stream.wait_for(TASKS * number // (len(deeds) + 1))
            deed()
            releases.append(fleet.agents()["researcher"].release)
        stream.wait_for(TASKS)
        account = stream.settle()
    tell(account, researcher)
    assert len(set(releases)) == 1 + len(HARMLESS)
    assert releases[-1] == releases[-3]
    assert (account.lost, account.wrong, account.repeated) == ([], [], 0)
    assert account.silence < SILENCE_SECONDS


def test_a_release_that_takes_tasks_and_never_gets_ready(
    researcher: fleet.Agent, tell: Tell, tmp_path: Path, restored: None
) -> None:
    # It has connected and subscribed when it asks its model, which takes the question and never answers.
    bad = {
        "overrides": {"llm": {"provider": "openai", "api_key_env": "SERPER_API_KEY"}},
        "environment": {"OPENAI_BASE_URL": f"http://127.0.0.1:{MUTE_PORT}"},
        "deadline": BAD_DEADLINE,
    }
    researcher.machine.check_output("systemd-run --unit=mute /usr/bin/python3 -c %s", MUTE)
    try:
        with streaming(fleet.broker(), researcher.agent_id, PER_SECOND) as stream:
            outcome = fleet.play(
                "deploy.yml", "-e", "agent=researcher", fleet.changed_fleet(tmp_path, researcher=bad)
            )
            account = stream.settle()
    finally:
        researcher.machine.check_output("systemctl stop mute")
    tell(account, researcher)
    assert "was reverted" in outcome.output, outcome.output
    assert (account.lost, account.wrong, account.repeated) == ([], [], 0)
    assert BAD_DEADLINE < account.silence < BAD_DEADLINE + SILENCE_SECONDS


def test_kills_in_the_middle_of_a_task(researcher: fleet.Agent, tell: Tell) -> None:
    with streaming(fleet.broker(), researcher.agent_id, PER_SECOND_BUSY) as stream:
        for kill in range(1, KILLS + 1):
            pid = researcher.pid
            # Frozen until tasks have queued, so that it is at work when it is killed a moment after.
            researcher.machine.check_output(
                f"kill -STOP {pid}; sleep 2; kill -CONT {pid}; sleep {0.02 * kill}; kill -KILL {pid}"
            )
            fleet.until(lambda: researcher.get("/ready")[0] == 200, 30, "the agent is not ready again")
        account = stream.settle()
    found = tell(account, researcher)
    assert (account.lost, account.wrong) == ([], [])
    # An answer that was sent, but not yet noted as sent, is sent again: at most the one in hand, and the same.
    assert account.repeated <= found.begun <= KILLS
    assert found.begun + found.dropped > 0, "no kill hit a task"
