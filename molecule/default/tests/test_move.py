# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An agent that moves to another host runs on one of the two when the deploy is over, whatever happens to it there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import fleet

NEVER_READY = {"environment": {"HEALTH_PORT": "1"}, "deadline": 8}
HOSTS = {"agent-1", "agent-2"}


def test_an_agent_goes_on_where_it_was_until_its_new_host_has_brought_it_up(
    researcher: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    (elsewhere,) = HOSTS - {researcher.host}
    outcome = fleet.play(
        "deploy.yml", fleet.changed_fleet(tmp_path, researcher={"hosts": elsewhere, **NEVER_READY})
    )
    assert outcome.code == 2
    assert "gate: not ready within 8 s" in outcome.output
    assert "could not move; healthy here again" in outcome.output
    stayed = fleet.agents()["researcher"]
    assert (stayed.host, stayed.release, stayed.ready) == (researcher.host, researcher.release, True)

    outcome = fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"hosts": elsewhere}))
    assert f"researcher stopped, it moves to {elsewhere}" in outcome.output
    moved = fleet.agents()["researcher"]
    assert (moved.host, moved.ready) == (elsewhere, True)
    for left in (f"/etc/systemd/system/{researcher.unit}", "/var/lib/muster/agents/researcher"):
        assert not researcher.machine.file(left).exists


def test_a_move_that_nobody_finished_is_told_and_undone(
    researcher: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    """The controller dies between the two hosts: the agent is held on the old one, and the new one has nothing of it."""
    (elsewhere,) = HOSTS - {researcher.host}
    reached = tmp_path / "reached"
    # Ansible's worker outlives the controller: the hook that it waits for must not let it go on.
    hook = {"run": ["sh", "-c", f"touch {reached}; sleep 20; exit 1"], "where": "controller"}
    changes = {"hosts": elsewhere, "hooks": {"pre_release": hook}}
    running = fleet.start("deploy.yml", fleet.changed_fleet(tmp_path, researcher=changes))
    fleet.until(reached.exists, 60, "the hook was not reached")
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    status = researcher.machine.run("muster status")
    assert status.rc == 1
    assert f"moves to {elsewhere}" in status.stdout
    outcome = fleet.play("playbooks/status.yml")
    assert outcome.code == 2
    assert "stopped in the middle of a move: researcher" in outcome.output
    assert "was to move" in fleet.deploy().output
    back = fleet.agents()["researcher"]
    assert (back.host, back.release, back.ready) == (researcher.host, researcher.release, True)
